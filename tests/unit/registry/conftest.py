"""Files to publish, publishers as processes, and registries on the loopback interface."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def outputs(tmp_path):
    """A folder of files to publish."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    for name, content in {"model.engine": "plan", "model.onnx": "graph", "labels.txt": "aircraft\n"}.items():
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="session")
def serve():
    """Return a context manager that starts a server script and gives the address that it prints."""

    @contextmanager
    def start(script, *arguments):
        command = [sys.executable, str(HERE / script), *map(str, arguments)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process.stdout.readline().strip()
            finally:
                process.stdin.close()
                process.kill()

    return start


@pytest.fixture(scope="session")
def mlflow_server(serve, tmp_path_factory):
    """The address of a real MLflow server."""
    with serve("registry_mlflow_server.py", tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture
def publishers(tmp_path):
    """Return a function that runs publishers and gives the lines of JSON that they print."""

    def run(*arguments):
        command = [sys.executable, str(HERE / "registry_publisher.py"), *map(str, arguments)]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}  # what is killed leaves its temporary files
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, env=environment)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run
