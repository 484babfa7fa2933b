"""The whole flow with the minimal profile, as a user starts it: once undisturbed, once with a full disk and Ctrl-C."""

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest

from aerodet.files import folder_digest
from aerodet.lineage import read_provenance, upstream, verify
from aerodet.pipelines import RunRecord
from aerodet.registry import CHALLENGER, CHAMPION, open_registry

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from aerodet.pipelines.cli import main; main()"]
AP50 = {"ap50": float}
MODEL = {"ap50": float, "params_total": int}
SCHEMA = {
    "arms": {"real": AP50, "synthetic": AP50, "finetune": AP50},
    "pruned": MODEL,
    "retrained": MODEL,
    "qat": MODEL,
    "int8": {"ap50": float, "file_bytes": int, "median_ms": float, "ap50_cpu": float, "throughput_ratio": float},
    "float": {"params_total": int, "file_bytes": int, "median_ms": float},
    "gate": {
        "passed": bool,
        "champion": int,
        "rules": dict.fromkeys(("accuracy", "quantisation", "champion", "speed", "slices", "audit", "disjoint"), str),
    },
    "wall_seconds": float,
}
TIMES = {"wall_seconds", "median_ms", "throughput_ratio", "gate"}
TIMED = {
    "benchmark",
    "gate",
    "publish",
    "report",
    "export-int8",
}  # what holds a time, or an engine, which TensorRT times


def aerodet(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=280)


def shape(value):
    return {key: shape(inner) for key, inner in value.items()} if isinstance(value, dict) else type(value)


def timeless(value):
    if not isinstance(value, dict):
        return value
    return {key: timeless(inner) for key, inner in value.items() if key not in TIMES}


def results(folder):
    return json.loads((folder / "results.json").read_text())


def artifacts(folder):
    """Return the artifact folders of a run, by stage and output."""
    found = {}
    for stage in RunRecord.read(folder).stages:
        found |= {(stage.name, output): Path(path) for output, path in stage.outputs.items() if Path(path).is_dir()}
    return found


def wait_for(folder, stage, process):
    """Wait until a stage of a run is running."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the run ended before {stage}"
        record = RunRecord.read(folder).stage(stage) if (folder / "run.json").exists() else None
        if record is not None and record.state == "RUNNING":
            return
        time.sleep(0.05)
    pytest.fail(f"{stage} did not start")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("finished")
    done = aerodet("run", "--profile", "minimal", "--out", out, "--name", "first")
    assert done.returncode == 0, done.stderr
    return out / "first"


@dataclass
class Disturbed:
    """A run that met a full disk, where one could be mounted, then Ctrl-C, then nothing more."""

    folder: Path
    full: subprocess.CompletedProcess | None
    stopped: subprocess.CompletedProcess
    leftovers: list[str]
    done: subprocess.CompletedProcess


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("disturbed")
    folder, full = out / "second", None
    start = ("run", "--profile", "minimal", "--out", out, "--name", "second")
    mounted = mount("-t", "tmpfs", "-o", "size=3m", "tmpfs", out)
    try:
        if mounted:
            full = aerodet(*start)
            assert mount("-o", "remount,size=100m", out)
            start = ("run", "--resume", folder)
        with subprocess.Popen(
            [*COMMAND, *map(str, start)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            wait_for(folder, "train-retrain", process)
            process.send_signal(signal.SIGINT)
            stopped = subprocess.CompletedProcess(start, process.wait(60), *process.communicate())
        leftovers = [path.name for path in folder.rglob("*.partial")]
        yield Disturbed(folder, full, stopped, leftovers, aerodet("run", "--resume", folder))
    finally:
        if mounted:
            subprocess.run(["umount", out], check=True)


def mount(*arguments):
    if shutil.which("mount") is None:
        return False
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False).returncode == 0


def test_results_have_their_schema(finished):
    found = results(finished)
    assert shape(found) == SCHEMA
    assert all(0 <= arm["ap50"] <= 100 for arm in found["arms"].values())
    assert found["pruned"]["params_total"] < found["float"]["params_total"]
    assert found["int8"]["file_bytes"] < found["float"]["file_bytes"]


def test_the_report_loads_nothing_from_elsewhere(finished):
    class Links(HTMLParser):
        def __init__(self):
            super().__init__()
            self.loads, self.tags = [], []

        def handle_starttag(self, tag, attributes):
            self.tags.append(tag)
            for name, value in attributes:
                if name in ("src", "srcset", "poster", "data") or (name == "href" and tag != "a"):
                    self.loads.append(value)

    text = (finished / "report.html").read_text()
    page = Links()
    page.feed(text)
    assert {"svg", "img", "table"} <= set(page.tags)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert all(value.startswith(("data:", "#")) for value in page.loads)
    assert "@import" not in text
    assert "url(http" not in text
    assert "first" in text


def test_an_engine_is_published_and_nothing_else_is(finished):
    version = json.loads((artifacts(finished)["publish", "version"] / "version.json").read_text())
    registry = finished.parent / "registry"
    if importlib.util.find_spec("tensorrt_rtx") is None and importlib.util.find_spec("tensorrt") is None:
        assert version["published"] is False
        assert not registry.exists()
        return
    (entry,) = open_registry(registry).versions("aircraft-detector")
    assert version.pop("remark")
    assert version == {
        "published": True,
        "name": "aircraft-detector",
        "version": 1,
        "uri": entry.uri,
        "digest": entry.digest,
        "stage": CHAMPION if results(finished)["gate"]["passed"] else CHALLENGER,
    }
    assert entry.tags["run_id"] == "first"
    assert list(entry.folder.glob("*.engine"))


def test_every_artifact_is_what_its_provenance_says(finished):
    found = artifacts(finished)
    assert len(found) == 27
    made = {verify(path).digest: stage for (stage, _), path in found.items()}
    for (stage, output), path in found.items():
        provenance = read_provenance(path)
        assert provenance.name == output
        assert all(reference.digest in made for reference in provenance.inputs.values())
        assert (not provenance.inputs) == stage.startswith("render-")


def test_the_walk_from_the_results_reaches_the_images(finished):
    found = artifacts(finished)
    ancestors = upstream(found["report", "results"], [finished])
    assert all(ancestor.provenance is not None for ancestor in ancestors)
    aside = 2  # the results themselves, and the review, which nothing is made from
    assert len(ancestors) == len({verify(path).digest for path in found.values()}) - aside
    engine = upstream(found["export-int8", "bundle"], [finished])
    stages = [ancestor.provenance.stage for ancestor in engine]
    assert stages[0] == "train"
    assert {"prune", "sample", "synthesize"} <= set(stages)


def test_lineage_of_the_engine_names_everything_and_sha256sum_confirms_it(finished):
    found = artifacts(finished)
    bundle = found["export-int8", "bundle"]
    target = next(iter([*bundle.glob("*.engine"), bundle / "model.int8.onnx"]))
    places = ("--in", finished.parent)
    tree = aerodet("lineage", target, *places, "--upstream").stdout
    chain = ("render-real", "render-synthetic", "sample", "train-synthetic", "train-finetune", "prune", "train-retrain")
    for (stage, _), path in found.items():
        if stage in (*chain, "train-qat", "export-int8"):
            provenance = read_provenance(path)
            assert provenance.digest == folder_digest(path)
            assert provenance.digest in tree
            assert all(f"{digest}  {name}" in tree for name, digest in provenance.files.items())
    assert "spec.txt" in tree
    sums = aerodet("lineage", target, *places, "--upstream", "--format", "sums").stdout
    confirmed = subprocess.run(
        ["sha256sum", "--check", "--strict"], input=sums, capture_output=True, text=True, check=False
    )
    assert confirmed.returncode == 0, confirmed.stderr
    assert len(confirmed.stdout.splitlines()) == len([line for line in sums.splitlines() if line[0] != "#"]) > 20


def test_the_outputs_of_a_stage_say_what_they_are_and_what_was_measured(finished):
    found = artifacts(finished)
    assert read_provenance(found["export-int8", "bundle"]).annotations["quantized"] is True
    evaluation = read_provenance(found["evaluate-int8", "evaluation"]).annotations
    assert evaluation["kind"] == "evaluation"
    assert evaluation["metrics"]["ap50"] == evaluation["ap50"]


def test_a_pruned_model_and_what_it_came_to_are_made_again_to_the_byte(finished):
    found = artifacts(finished)
    for stage, output in (("prune", "pruned"), ("evaluate-pruned", "evaluation")):
        done = aerodet("reproduce", found[stage, output], "--in", finished.parent)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"identical  {output} of ")


def test_resuming_a_finished_run_keeps_every_stage_and_is_quick(finished):
    before = results(finished)
    began = time.monotonic()
    again = aerodet("run", "--resume", finished)
    assert again.returncode == 0
    assert time.monotonic() - began < 10
    record = RunRecord.read(finished)
    assert (record.state, len(record.stages)) == ("SUCCEEDED", 27)
    assert all(stage.kept for stage in record.stages)
    assert results(finished) == before


def test_a_full_disk_is_one_sentence_and_status_3(disturbed):
    if disturbed.full is None:
        pytest.skip("mounting a small disk is not permitted here")
    assert disturbed.full.returncode == 3
    assert "Traceback" not in disturbed.full.stderr
    last = disturbed.full.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "is full; free some space" in last
    assert last.endswith(f"`aerodet run --resume {disturbed.folder}` continues the run")


def test_ctrl_c_is_status_130_and_says_how_to_go_on(disturbed):
    assert disturbed.stopped.returncode == 130
    assert disturbed.stopped.stderr.splitlines()[-1] == (
        f"the run was stopped in stage train-retrain; `aerodet run --resume {disturbed.folder}` continues it"
    )
    assert disturbed.leftovers == []


def test_a_disturbed_run_is_finished_by_resuming(disturbed):
    assert disturbed.done.returncode == 0, disturbed.done.stderr
    stages = RunRecord.read(disturbed.folder).stages
    kept = {stage.name for stage in stages if stage.kept}
    assert {"render-real", "train-real", "train-finetune", "prune"} <= kept
    assert {"train-retrain", "train-qat", "report"} & kept == set()


def test_the_same_seed_gives_the_same_results_however_often_it_was_stopped(finished, disturbed):
    assert timeless(results(disturbed.folder)) == timeless(results(finished))
    first, second = artifacts(finished), artifacts(disturbed.folder)
    assert first.keys() == second.keys()
    for stage, output in first:
        if stage not in TIMED:
            digests = [read_provenance(found[stage, output]).digest for found in (first, second)]
            assert digests[0] == digests[1], (stage, output)
