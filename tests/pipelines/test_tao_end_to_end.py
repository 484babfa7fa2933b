"""The whole pipeline with TAO's containers, on a cluster of one process.

The compiled package is walked task by task: our stages are called as the component calls them, TAO's containers are
their own scripts, and ``detectnet_v2`` is played by this process, which keeps to TAO's files and flags.
"""

import json
import os
import re
import subprocess
import threading
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from aerodet import stages
from aerodet.deploy import export_float, tensor_scales, write_calibration_cache, write_calibration_json
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.prune import PruneOptions, prune
from aerodet.detectnet.quantize import prepare_qat
from aerodet.detectnet.spec import Inference, parse_message, read_spec
from aerodet.lineage import read_provenance
from aerodet.pipelines.flows import compile_pipeline
from aerodet.pipelines.profiles import load_profile
from aerodet.registry import open_registry
from aerodet.tao import FLAGS, Command
from aerodet.tao.weights import read_weights, write_weights

SMALL = [
    "size=64",
    "model.arch=resnet10",
    "embedded.real=24",
    "embedded.synthetic=24",
    "embedded.test=8",
    "embedded.gsd=2.0",
    "training.batch_size=8",
    "data.fraction=0.5",
    "data.tile_format=png",
    "finetune.synthetic_share=0.3",
    "prune.keep=0.9",
    "export.engine=none",
    "benchmark.pairs=3",
    "benchmark.batch=1",
    "training.coverage_threshold=0.5",
]
PLACEHOLDER = re.compile(r"\{\{\$\.(inputs|outputs)\.(parameters|artifacts)\['([^']+)'\](?:\.path)?\}\}")
SCRIPT = """#!/bin/bash
printf '%s\\n' "$@" > "$PIPES/question.part" && mv "$PIPES/question.part" "$PIPES/question"
while [ ! -f "$PIPES/answer" ]; do sleep 0.02; done
status=$(cat "$PIPES/answer"); rm "$PIPES/answer"; exit "$status"
"""


@dataclass
class Artifact:
    path: str
    metadata: dict = field(default_factory=dict)


class Tao:
    """Plays ``detectnet_v2``: no training, but the files that TAO leaves, made from those that it is given."""

    def __init__(self) -> None:
        self.calls: list[Command] = []

    def answer(self, words: list[str]) -> None:
        subtask, *words = words
        group = "deploy" if subtask in ("gen_trt_engine", "inference") or "-l" in words else "model"
        options = dict(zip(words[::2], words[1::2], strict=True))
        self.calls.append(Command(group, subtask, options))
        assert set(options) <= set(FLAGS[group][subtask])
        getattr(self, f"{group}_{subtask}")(options)

    def model_train(self, options) -> None:
        spec = read_spec(options["-e"])
        start, folder = spec.model_config.pretrained_model_file, Path(options["-r"]) / "weights"
        for source in spec.dataset_config.data_sources:
            assert list(Path(source.tfrecords_path).parent.glob(Path(source.tfrecords_path).name))
            assert list(Path(source.image_directory_path, "images").glob("*.png"))
        torch.manual_seed(0)
        model = read_weights(Path(start)) if start else DetectNet(layers=10)
        with torch.no_grad():
            model.output_cov.bias += len(self.calls)  # each training leaves other weights
        folder.mkdir(exist_ok=True)
        target = folder / f"{options['-n']}.hdf5"
        write_weights(model, target, size=(64, 64))
        if spec.training_config.enable_qat:
            self._add_scales(model, target)
        epochs = [{"status": "RUNNING", "epoch": n, "graphical": {"loss": 2.0 - n}} for n in range(2)]
        self._status(Path(options["-r"]), *epochs)

    @staticmethod
    def _add_scales(model: DetectNet, target: Path) -> None:
        prepare_qat(model).train()
        model(torch.rand(2, 3, 64, 64))
        with h5py.File(target, "a") as file:
            for name, extent in {"input_1:0": 1.0, **tensor_scales(model)}.items():
                layer = name.partition("/")[0].partition(":")[0]
                place = f"model_weights/{layer}_qdq/{layer}_qdq/scaling_factor:0"
                if place not in file:
                    file[place] = np.float32(extent)

    def model_prune(self, options) -> None:
        pruned = prune(read_weights(Path(options["-m"])), PruneOptions(threshold=float(options["-pth"])))
        write_weights(pruned, Path(options["-o"]), size=(64, 64))
        self._status(Path(options["--results_dir"]))

    def model_evaluate(self, options) -> None:
        assert read_spec(options["-e"]).dataset_config.HasField("validation_data_source")
        Path(options["-r"]).mkdir()
        self._status(Path(options["-r"]), {"status": "RUNNING", "kpi": {"mean average precision": 12.5}})

    def model_export(self, options) -> None:
        model = read_weights(Path(options["-m"]))
        assert not Path(options["-o"]).exists()
        export_float(model, Path(options["-o"]), size=(64, 64))
        write_calibration_json(Path(options["--cal_json_file"]), tensor_scales(model))

    def deploy_gen_trt_engine(self, options) -> None:
        assert read_spec(options["-e"]).training_config.enable_qat
        assert not Path(options["--cal_cache_file"]).exists()
        write_calibration_cache(Path(options["--cal_cache_file"]), {"input_1": 1.0})
        Path(options["--engine_file"]).write_bytes(b"ftrt" + bytes(20) + bytes([10, 13, 0, 35]) + bytes(100))

    def deploy_evaluate(self, options) -> None:
        names = {kind: {p.stem for p in Path(options[flag]).iterdir()} for kind, flag in (("i", "-i"), ("l", "-l"))}
        assert names["i"] == names["l"] != set()
        (Path(options["-r"]) / "results.json").write_text('{"AP_aircraft": 0.25}')

    def deploy_inference(self, options) -> None:
        parse_message(Path(options["-e"]).read_text(), Inference)
        labels = Path(options["-r"]) / "labels"
        labels.mkdir(parents=True)
        for image in Path(options["-i"]).iterdir():
            (labels / f"{image.stem}.txt").write_text("aircraft 0 0 0 4 4 30 30 0 0 0 0 0 0 0 1.5\n")

    @staticmethod
    def _status(folder: Path, *events: dict) -> None:
        lines = [*events, {"status": "SUCCESS", "message": "done"}]
        (folder / "status.json").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


class Cluster:
    """Walks a compiled package."""

    def __init__(self, package: Path, folder: Path, parameters: dict) -> None:
        spec = next(yaml.load_all(package.read_text(), Loader=yaml.CSafeLoader))
        self.components, self.executors = spec["components"], spec["deploymentSpec"]["executors"]
        self.tasks, self.folder, self.tao = spec["root"]["dag"]["tasks"], folder, Tao()
        definitions = spec["root"]["inputDefinitions"]["parameters"]
        self.parameters = {name: d.get("defaultValue") for name, d in definitions.items()} | parameters
        self.outputs: dict[tuple[str, str], Artifact] = {}
        self.pipes = folder / "pipes"
        self.pipes.mkdir()
        (folder / "bin").mkdir()
        for name, text in (("detectnet_v2", SCRIPT), ("nvidia-smi", "#!/bin/bash\necho 8.9\n")):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    def run(self) -> None:
        order = TopologicalSorter({name: task.get("dependentTasks", []) for name, task in self.tasks.items()})
        for name in order.static_order():
            self._task(name, self.tasks[name])

    def _task(self, name: str, task: dict) -> None:
        component = self.components[task["componentRef"]["name"]]
        shown = task["taskInfo"]["name"]
        kinds = component.get("inputDefinitions", {}).get("parameters", {})
        values = {n: k["defaultValue"] for n, k in kinds.items() if "defaultValue" in k}
        for n, source in task["inputs"].get("parameters", {}).items():
            constant = source.get("runtimeValue", {}).get("constant")
            values[n] = self.parameters[source["componentInputParameter"]] if constant is None else constant
        values = {n: int(v) if kinds[n]["parameterType"] == "NUMBER_INTEGER" else v for n, v in values.items()}
        inputs = {
            n: self.outputs[s["taskOutputArtifact"]["producerTask"], s["taskOutputArtifact"]["outputArtifactKey"]]
            for n, s in task["inputs"].get("artifacts", {}).items()
        }
        made = {n: Artifact(str(self.folder / shown / n)) for n in component["outputDefinitions"]["artifacts"]}
        self.outputs |= {(name, n): artifact for n, artifact in made.items()}
        (self.folder / shown).mkdir()
        container = self.executors[component["executorLabel"]]["container"]
        if "tao-toolkit" in container["image"]:
            self._container(container, values, {**inputs, **made})
        else:
            base, _, number = task["componentRef"]["name"].removeprefix("comp-").rpartition("-")
            stage = base if number.isdigit() else task["componentRef"]["name"].removeprefix("comp-")
            stages.run(getattr(stages, stage.replace("-", "_")), {**values, **inputs, **made})

    def _container(self, container: dict, values: dict, artifacts: dict[str, Artifact]) -> None:
        def fill(text: str) -> str:
            return PLACEHOLDER.sub(lambda m: str(values[m[3]]) if m[2] == "parameters" else artifacts[m[3]].path, text)

        words: list[str] = []
        for argument in container["args"]:
            optional = json.loads(argument)["IfPresent"] if argument.startswith('{"IfPresent"') else None
            if optional is None:
                words.append(fill(argument))
            elif optional["InputName"] in artifacts:
                words += [fill(part) for part in optional["Then"]]
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "PIPES": str(self.pipes)}
        environment["TMPDIR"] = str(self.folder)
        done = threading.Event()
        result: list[subprocess.CompletedProcess] = []

        def work() -> None:
            command = [*container["command"], *words]
            result.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=False))
            done.set()

        threading.Thread(target=work).start()
        question = self.pipes / "question"
        while not done.wait(0.01):
            if question.exists():
                words_asked = question.read_text().splitlines()
                question.unlink()
                self.tao.answer(words_asked)
                (self.pipes / "answer").write_text("0")
        assert result[0].returncode == 0, result[0].stderr


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Cluster:
    folder = tmp_path_factory.mktemp("cluster")
    package = compile_pipeline(load_profile("tao", SMALL), folder / "pipeline.yaml")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    parameters = {"run_id": "first", "registry": str(folder / "registry"), "state": str(folder / "state")}
    cluster = Cluster(package, folder, parameters)
    cluster.run()
    torch.set_num_threads(threads)
    return cluster


def test_every_task_of_the_flow_was_asked_for_once(cluster) -> None:
    asked = [(call.group, call.subtask) for call in cluster.tao.calls]
    assert asked.count(("model", "train")) == 5
    for task in (("model", "prune"), ("model", "evaluate"), ("model", "export")):
        assert asked.count(task) == 1
    for subtask in ("gen_trt_engine", "evaluate", "inference"):
        assert asked.count(("deploy", subtask)) == 1


def test_the_version_in_the_registry_has_taos_engine_and_what_serves_it(cluster) -> None:
    version = open_registry(cluster.folder / "registry").get("aircraft-detector")
    files = {p.relative_to(version.folder).as_posix() for p in version.folder.rglob("*") if p.is_file()}
    assert files >= {"model.tao.engine", "model.tao.onnx", "model.int8.onnx", "calibration.tao.cache", "engine.json"}
    assert files >= {"serving/triton/detectnet/1/model.plan", "serving/decoder.py"}


def test_the_report_shows_the_engine_beside_the_models(cluster) -> None:
    results = json.loads((cluster.folder / "report" / "results" / "results.json").read_text())
    assert set(results["arms"]) == {"real", "synthetic", "finetune"}
    assert results["pruned"]["params_total"] < results["float"]["params_total"]
    engine = json.loads((cluster.folder / "evaluate-int8" / "evaluation" / "evaluation.json").read_text())
    assert engine["backend"] == "tensorrt"
    assert results["int8"]["ap50"] == pytest.approx(engine["ap50"], abs=1e-3)
    assert (cluster.folder / "report" / "report").stat().st_size > 50_000


def test_taos_own_figures_are_metrics_of_the_run(cluster) -> None:
    figures = {
        name: json.loads((cluster.folder / f"tao-figures-{name}" / "figures" / "figures.json").read_text())
        for name in ("qat", "engine")
    }
    assert figures["qat"] == {"backend": "tao", "mean_average_precision": 12.5}
    assert figures["engine"] == {"backend": "tao-deploy", "AP_aircraft": 0.25}


def test_the_engine_goes_back_to_the_images_by_provenance(cluster) -> None:
    digests, waiting = set(), [cluster.folder / "export-int8" / "bundle"]
    made = [(read_provenance(p.parent).digest, p.parent) for p in cluster.folder.glob("*/*/provenance.json")]
    folders = dict(made)
    while waiting:
        found = read_provenance(waiting.pop())
        digests.add(found.digest)
        waiting += [folders[i.digest] for i in found.inputs.values() if i.digest in folders and i.digest not in digests]
    names = {folder.parent.name for digest, folder in made if digest in digests}  # same records, same digest
    assert names >= {"collect-qat", "collect-pruned", "collect-synthetic", "records-qat", "sample"}
    assert names >= {"render-real", "render-synthetic"}
