# Targets: install run test lint format bench images proto lock clean. Each makes the virtual environment that it needs.
VENV := .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := $(VENV)/bin
ARGS ?=

.PHONY: install run test lint format bench images proto lock clean
.DEFAULT_GOAL := install

install: $(VENV)/.run

$(VENV)/.run: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[tensorrt-rtx]'
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[tensorrt-rtx,dev]'
	touch $@

# The whole flow on this machine: make run ARGS="--profile laptop --real my-images"
run: $(VENV)/.run
	$(BIN)/aerodet run $(ARGS)

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

# mypy does not see an editable install's mapped folders, so it gets them as links.
lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint images/*/Dockerfile
	rm -rf build/types && mkdir -p build/types/aerodet
	ln -s $(CURDIR)/src/aerodet/* $(CURDIR)/components $(CURDIR)/pipelines build/types/aerodet/
	MYPYPATH=build/types $(BIN)/mypy -p aerodet

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python tests/bench/bench_train.py $(ARGS)

# The image for a cluster, pushed where REGISTRY says, tagged with the commit: make images REGISTRY=… VARIANT=cuda
images:
	REGISTRY="$(REGISTRY)" images/build aerodet

# The experiment schema's Python module, from experiment.proto.
proto: $(VENV)/.dev
	$(BIN)/python -m grpc_tools.protoc -Iaerodet/detectnet/_experiment.proto=src/aerodet/detectnet/experiment.proto \
	    --python_out=src --pyi_out=src aerodet/detectnet/_experiment.proto
	sed -i '1i # mypy: ignore-errors' src/aerodet/detectnet/_experiment_pb2.pyi

# Run it after raising a bound in pyproject.toml and passing the tests.
lock: $(VENV)/.dev
	(sed -n 1p constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//') > constraints.txt.new
	mv constraints.txt.new constraints.txt

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
