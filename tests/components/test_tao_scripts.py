"""The scripts of TAO's containers, run here with a ``detectnet_v2`` that notes its arguments and leaves files."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from kfp import dsl

from aerodet import components
from aerodet.components import _readme
from aerodet.components._script import command
from aerodet.tao import FLAGS, Command

DETECTNET = """#!/bin/bash
set -e
printf '%s\\n' "$@" > "$NOTES/$(date +%N)-arguments"
cp "$NOTES/nothing" /dev/null 2>/dev/null || true
echo "$TELEMETRY_OPT_OUT" > "$NOTES/telemetry"
while [ $# -gt 1 ]; do case "$1" in -*) declare "o_${1##*-}=$2"; shift ;; esac; shift; done
[ -z "$FAIL" ] || { echo "Execution status: FAIL"; exit 255; }
cp "$o_e" "$NOTES/spec.txt" 2>/dev/null || true
ls -R "${o_i:-$(dirname "${o_e:-.}")/own/images}" > "$NOTES/images" 2>/dev/null || true
results=${o_r:-$o_results_dir}
if [ -n "$results" ]; then mkdir -p "$results/weights"; echo '{"status": "SUCCESS"}' > "$results/status.json"; fi
[ -z "$o_n" ] || [ -z "$o_gpus" ] || echo weights > "$results/weights/$o_n.hdf5"
[ -z "$o_o" ] || echo made > "$o_o"
[ -z "$o_cal_json_file" ] || echo scales >> "$o_cal_json_file"
[ -z "$o_engine_file" ] || { echo plan > "$o_engine_file"; echo cache > "$o_cal_cache_file"; }
[ -z "$o_l" ] || { ls "$o_l" > "$NOTES/labels"; echo '{}' > "$results/results.json"; }
[ -z "$o_i" ] || { mkdir -p "$results/labels"; echo found > "$results/labels/a.txt"; }
"""
SMI = """#!/bin/bash
case "$1" in *name*) echo "NVIDIA L4" ;; *) echo "8.9" ;; esac
"""


class Container:
    """Runs a component's command as its container would."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes = folder, folder / "notes"
        (folder / "bin").mkdir()
        self.notes.mkdir()
        for name, text in (("detectnet_v2", DETECTNET), ("nvidia-smi", SMI)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    def run(self, component: str, *, fail: bool = False, **values) -> subprocess.CompletedProcess:
        for note in self.notes.iterdir():
            note.unlink()
        container = getattr(components, component).component_spec.implementation.container
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "NOTES": str(self.notes)}
        environment |= {"FAIL": "1"} if fail else {}
        arguments = list(resolved(container.args, values))
        return subprocess.run(
            [*container.command, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def called(self, group: str) -> Command:
        """Return the one call that was made, held against the tables of flags."""
        (note,) = self.notes.glob("*-arguments")
        subtask, *words = note.read_text().splitlines()
        options: dict = {}
        while words:
            flag = words.pop(0)
            options[flag] = True if FLAGS[group][subtask][flag].switch else words.pop(0)
        return Command(group, subtask, options)

    def note(self, name: str) -> str:
        return (self.notes / name).read_text()


def resolved(arguments, values):
    """Yield arguments as a launcher gives them: values and paths by name, optional ones only when they are there."""
    for argument in arguments:
        if isinstance(argument, dsl.IfPresentPlaceholder):
            if argument.input_name in values:
                yield from resolved(argument.then, values)
        elif isinstance(argument, str):
            yield argument
        else:
            name = getattr(argument, "input_name", None) or argument.output_name
            yield str(values[name])


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Path]:
    """Return an image set, its records, and a model as earlier tasks leave them."""
    sets = {name: tmp_path / name for name in ("dataset", "synthetic", "records", "model", "plan")}
    for folder in sets.values():
        folder.mkdir()
    for name in ("dataset", "synthetic"):
        archive(sets[name] / "images-00000-of-00002.tar", f"{name}/a.png", "b.png")
        archive(sets[name] / "images-00001-of-00002.tar", "c.png")
    archive(sets["records"] / "labels.tar", f"{'dataset'}__a.txt", "b.txt", "c.txt")
    text = 'tfrecords_path: "/workspace/aerodet/records/own-*"\nimage_directory_path: "/workspace/aerodet/own"\n'
    for name in ("records", "model"):
        (sets[name] / "spec.txt").write_text(text)
    for name in ("model.hdf5", "model.onnx", "calibration.json", "model.engine"):
        (sets["model"] / name).write_text(name)
    (sets["plan"] / "pruning.json").write_text('{\n  "threshold": 0.53125,\n  "kept": 0.3\n}\n')
    return sets


def archive(path: Path, *names: str) -> None:
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def train(container: Container, data: dict, out: Path, **values) -> subprocess.CompletedProcess:
    given = {"dataset": data["dataset"], "records": data["records"], "trained": out, "name": "finetune", "gpus": 2}
    return container.run("tao_train", **{**given, "state": "", **values})


def test_train_calls_tao_on_unpacked_images_and_keeps_its_results(container, data, tmp_path) -> None:
    result = train(container, data, tmp_path / "out", synthetic=data["synthetic"], init=data["model"])
    assert result.returncode == 0, result.stderr
    call = container.called("model")
    assert call.subtask == "train"
    assert (call.options["-n"], call.options["--gpus"]) == ("finetune", "2")
    assert container.note("telemetry") == "1\n"
    spec = container.note("spec.txt")
    assert "/workspace/aerodet" not in spec
    work = Path(call.options["-e"]).parent
    assert f'image_directory_path: "{work}/own"' in spec
    assert files(work / "own") == ["images/b.png", "images/c.png", "images/dataset/a.png"]
    assert files(work / "mix") == ["images/b.png", "images/c.png", "images/synthetic/a.png"]
    assert (work / "init" / "model.hdf5").read_text() == "model.hdf5"
    assert (work / "records" / "labels.tar").is_file()
    assert files(tmp_path / "out") == ["model.hdf5", "spec.txt", "status.json"]
    assert "/workspace/aerodet" in (tmp_path / "out" / "spec.txt").read_text()


def test_a_training_goes_on_in_the_folder_that_outlives_its_pod(container, data, tmp_path) -> None:
    for _ in range(2):
        assert train(container, data, tmp_path / "out", state=tmp_path / "state").returncode == 0
        assert container.called("model").options["-r"] == str(tmp_path / "state" / "finetune")
    (data["records"] / "spec.txt").write_text("random_seed: 7\n")
    result = train(container, data, tmp_path / "out", state=tmp_path / "state")
    assert result.returncode == 2
    assert "holds checkpoints of another training" in result.stderr
    assert not list(container.notes.glob("*-arguments"))
    assert train(container, data, tmp_path / "out", state=tmp_path / "other").returncode == 0


def test_a_task_that_fails_leaves_no_output(container, data, tmp_path) -> None:
    result = train(container, data, tmp_path / "out", fail=True)
    assert result.returncode == 255
    assert not (tmp_path / "out").exists()


def test_prune_takes_the_threshold_of_the_plan(container, data, tmp_path) -> None:
    options = {"normalizer": "L2", "criterion": "union", "granularity": 8, "min_filters": 16}
    result = container.run("tao_prune", model=data["model"], plan=data["plan"], pruned=tmp_path / "out", **options)
    assert result.returncode == 0, result.stderr
    call = container.called("model")
    assert (call.subtask, call.options["-pth"], call.options["-n"]) == ("prune", "0.53125", "L2")
    assert files(tmp_path / "out") == ["model.hdf5", "spec.txt", "status.json"]
    (data["plan"] / "pruning.json").write_text("{}")
    result = container.run("tao_prune", model=data["model"], plan=data["plan"], pruned=tmp_path / "out", **options)
    assert (result.returncode, "states no threshold" in result.stderr) == (2, True)


def test_evaluate_export_and_engine_leave_what_the_next_stage_reads(container, data, tmp_path) -> None:
    sets = {"dataset": data["dataset"], "records": data["records"]}
    assert container.run("tao_evaluate", model=data["model"], results=tmp_path / "e", **sets).returncode == 0
    assert container.called("model").subtask == "evaluate"
    assert files(tmp_path / "e") == ["status.json"]
    assert container.run("tao_export", model=data["model"], exported=tmp_path / "x").returncode == 0
    assert container.called("model").subtask == "export"
    assert files(tmp_path / "x") == ["calibration.json", "model.onnx", "spec.txt"]
    result = container.run("tao_engine", model=tmp_path / "x", engine=tmp_path / "g", best=4, batch=32)
    assert result.returncode == 0, result.stderr
    call = container.called("deploy")
    assert [call.options[f"--{kind}_batch_size"] for kind in ("min", "opt", "max")] == ["1", "4", "32"]
    assert not Path(call.options["--cal_cache_file"]).is_relative_to(tmp_path / "x")
    build = json.loads((tmp_path / "g" / "build.json").read_text())
    assert build == {"gpu": "NVIDIA L4", "compute_capability": "8.9", "batch": [1, 4, 32]}
    assert set(files(tmp_path / "g")) >= {"calibration.cache", "calibration.json", "model.engine", "model.onnx"}


def test_deploy_evaluates_and_detects_on_flat_names(container, data, tmp_path) -> None:
    sets = {"dataset": data["dataset"], "records": data["records"]}
    result = container.run("tao_engine_evaluate", model=data["model"], results=tmp_path / "e", **sets)
    assert result.returncode == 0, result.stderr
    assert container.called("deploy").options["-b"] == "1"
    assert container.note("labels").split() == ["b.txt", "c.txt", "dataset__a.txt"]
    assert {"b.png", "c.png", "dataset__a.png"} <= set(container.note("images").split())
    assert files(tmp_path / "e") == ["results.json"]
    text = "inferencer_config {\n  batch_size: 1\n}\n"
    values = {"model": data["model"], "dataset": data["dataset"], "detections": tmp_path / "d", "spec": text}
    assert container.run("tao_inference", **values).returncode == 0
    assert container.note("spec.txt") == text
    assert files(tmp_path / "d") == ["labels/a.txt"]


def test_every_container_is_run_here() -> None:
    names = {n for n in components.__all__ if n.startswith("tao_")}
    run = {"tao_train", "tao_prune", "tao_evaluate", "tao_export", "tao_engine", "tao_engine_evaluate", "tao_inference"}
    assert run == {n for n in names if hasattr(getattr(components, n), "pipeline_func")}
    for name in run:
        assert _readme.function_of(getattr(components, name)).__name__ == name


def test_scripts_are_sound_shell_and_fit_into_an_argument() -> None:
    for name in ("train", "prune", "evaluate", "export", "engine", "engine_evaluate", "inference"):
        shell, flag, text, _ = command(name)
        assert (shell, flag) == ("bash", "-c")
        assert subprocess.run([shell, "-n", flag, text], check=False).returncode == 0
        assert len(text) < 10_000
