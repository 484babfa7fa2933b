import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from kfp import compiler, dsl

from aerodet.pipelines import RunRecord, cli
from aerodet.pipelines.cli._local import collect
from aerodet.pipelines.cli.runs import show_results
from aerodet.pipelines.record import lock_run

RESULTS = {
    "arms": {"real": {"ap50": 94.21}, "synthetic": {"ap50": 71.6}, "finetune": {"ap50": 91.8}},
    "pruned": {"ap50": 68.9, "params_total": 3372973},
    "retrained": {"ap50": 92.04, "params_total": 3372973},
    "qat": {"ap50": 91.9},
    "int8": {"ap50": 91.55, "file_bytes": 3500000, "median_ms": 0.84},
    "float": {"params_total": 11197893, "file_bytes": 44800000, "median_ms": 3.9},
    "wall_seconds": 12.0,
}
ARM = {"steps": 10}
PROFILE = {"name": "tiny", "real": ARM, "synthetic": ARM, "finetune": ARM, "retrain": ARM, "qat": ARM}


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def report(content: str, results: dsl.Output[dsl.Artifact], report: dsl.Output[dsl.HTML]):
    import json
    import sys
    from pathlib import Path

    from aerodet.progress import emit

    if "fail" in content and not Path("mended").exists():
        emit("failed", message="there is nothing to report; make something", exit=2, stage="report")
        sys.exit(2)
    Path(results.path).mkdir(exist_ok=True)
    (Path(results.path) / "results.json").write_text(json.dumps(json.loads(content)["results"]))
    Path(report.path).write_text("<html></html>")


def compile_pipeline(profile, path, *, flow):
    content = json.dumps({"results": RESULTS, "description": profile.description})

    @dsl.pipeline(name="tiny")
    def tiny(run_id: str, registry: str, state: str, started: float):
        report(content=content)

    compiler.Compiler().compile(tiny, str(path))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with a profile, and a pipeline of one quick stage in place of the real graph."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(PROFILE))
    monkeypatch.setitem(sys.modules, "aerodet.pipelines.flows", SimpleNamespace(compile_pipeline=compile_pipeline))
    monkeypatch.setitem(sys.modules, "aerodet.pipelines.preflight", SimpleNamespace(check=lambda profile: None))
    return tmp_path


@pytest.fixture
def aerodet(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["aerodet", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return (caught.value.code or 0, *capsys.readouterr())

    return call


def test_a_run_leaves_results_report_and_profile_in_its_folder(aerodet, folder):
    status, output, shown = aerodet("run", "--profile", "tiny.yaml", "--name", "first", "--seed", 7)

    assert status == 0
    run = folder / "runs" / "first"
    assert json.loads((run / "results.json").read_text()) == RESULTS
    assert (run / "report.html").read_text() == "<html></html>"
    assert yaml.safe_load((run / "profile.yaml").read_text())["seed"] == 7
    assert (folder / "runs" / "latest").readlink().name == "first"
    assert "94.2" in output
    assert "11,197,893" in output
    assert "runs/first/report.html" in output
    parameters = RunRecord.read(run).parameters
    assert parameters.pop("started") > 0
    assert parameters == {"run_id": "first", "registry": str(folder / "runs/registry"), "state": str(run / "state")}
    assert "[1/1] report: " in shown


def test_run_names_differ_and_latest_is_the_newest(aerodet, folder):
    for _ in range(2):
        assert aerodet("run", "--profile", "tiny.yaml")[0] == 0
    runs = sorted(path.name for path in (folder / "runs").iterdir() if not path.is_symlink())
    assert len(runs) == 2
    assert all(name.split("-", 2)[2].startswith("tiny-") for name in runs)
    newest = max(runs, key=lambda name: RunRecord.read(folder / "runs" / name).started + name)
    assert (folder / "runs" / "latest").readlink().name in runs
    assert RunRecord.read(folder / "runs" / "latest").started == RunRecord.read(folder / "runs" / newest).started


def test_a_failed_run_says_one_sentence_and_resumes(aerodet, folder):
    status, output, shown = aerodet("run", "--profile", "tiny.yaml", "--set", "description=fail", "--name", "first")
    assert (status, output) == (2, "")
    assert shown.splitlines()[-1] == (
        "error: report: there is nothing to report; make something; "
        "once that is put right, `aerodet run --resume runs/first` continues the run"
    )
    (folder / "mended").touch()
    assert aerodet("run", "--resume", "runs/first")[0] == 0
    assert aerodet("run", "--resume", "first")[0] == 0
    status, _, shown = aerodet("run", "--resume")
    assert status == 0
    assert "report: kept" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--resume"], "there is no run in runs yet"),
        (["run", "--resume", "nowhere"], "nowhere holds no run; `aerodet runs` lists the runs"),
        (["run", "--resume", "--seed", "1", "--set", "size=64"], "leave out --set, --seed"),
        (["run", "runs/first"], "'runs/first' goes with --resume only"),
        (["run", "--profile", "missing"], "there is no profile 'missing'"),
        (["run", "--profile", "tiny.yaml", "--set", "sise=64"], "'sise' is no setting"),
        (["run", "--profile", "tiny.yaml", "--set", "data.fraction=2"], "data.fraction"),
        (["run", "--profile", "tiny.yaml", "--name", "../other"], "--name ../other cannot name a folder"),
        (["report"], "there is no run in runs yet"),
    ],
)
def test_the_callers_mistakes_are_one_sentence_and_leave_nothing(aerodet, folder, arguments, message):
    status, output, shown = aerodet(*arguments)
    assert (status, output) == (2, "")
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert message in shown
    assert not (folder / "runs").exists()


def test_a_taken_name_is_refused(aerodet):
    assert aerodet("run", "--profile", "tiny.yaml", "--name", "first")[0] == 0
    status, _, shown = aerodet("run", "--profile", "tiny.yaml", "--name", "first")
    assert status == 2
    assert "runs/first exists; take another --name" in shown


def test_runs_lists_state_and_scores(aerodet, folder):
    assert "no runs in runs" in aerodet("runs")[1]
    aerodet("run", "--profile", "tiny.yaml", "--name", "first")
    aerodet("run", "--profile", "tiny.yaml", "--set", "description=fail", "--name", "second")
    record = RunRecord.read(folder / "runs" / "first")
    record.run_id, record.state, record.started = "third", "RUNNING", "2999-01-01T00:00:00+00:00"
    (folder / "runs" / "third").mkdir()
    record.write(folder / "runs" / "third")
    search = folder / "runs" / "search"
    search.mkdir()
    RunRecord("search", "aerodet-compress", {}, started="3000-01-01T00:00:00+00:00", state="SUCCEEDED").write(search)
    (search / "results.json").write_text('{"flow": "compress", "chosen": {"ap50": 88.8}}')

    status, output, _ = aerodet("runs")
    rows = {line.split()[0]: line.split() for line in output.splitlines()[1:]}
    assert status == 0
    assert list(rows) == ["first", "second", "third", "search"]
    assert rows["search"] == ["search", "search", "3000-01-01", "00:00:00", "succeeded", "0", "88.8"]
    assert rows["first"][4:] == ["succeeded", "1", "94.2", "71.6", "91.8", "91.5"]
    assert rows["second"][4:] == ["failed", "0"]
    assert rows["third"][4] == "stopped"


def test_report_names_the_page_of_the_newest_run(aerodet, folder):
    aerodet("run", "--profile", "tiny.yaml", "--name", "first")
    assert Path(aerodet("report")[1].strip()).samefile(folder / "runs" / "first" / "report.html")
    assert aerodet("report", "first")[1].strip() == "runs/first/report.html"
    (folder / "runs" / "first" / "report.html").unlink()
    assert "has no report yet" in aerodet("report")[2]
    with lock_run(folder / "runs" / "first"):
        assert "goes on still" in aerodet("report")[2]


@pytest.mark.parametrize(("verdict", "told"), [("failed", True), ("passed", False), ("skipped", False)])
def test_the_end_of_a_run_names_the_rules_that_failed(tmp_path, capsys, verdict, told):
    scores = {"ap50": 90.0}
    chain = dict.fromkeys(("pruned", "retrained", "qat", "int8"), scores)
    arms = dict.fromkeys(("real", "synthetic", "finetune"), scores)
    chain["int8"] = {**scores, "ap50_cpu": 90.24}
    results = {
        "arms": arms,
        **chain,
        "wall_seconds": 387.0,
        "gate": {"rules": {"accuracy": verdict, "speed": "passed"}},
    }
    (tmp_path / "results.json").write_text(json.dumps(results))
    show_results(tmp_path)
    output = capsys.readouterr().out
    assert ("gate     failed: accuracy; " in output) is told
    assert "int8     timed as the graph for CPUs, which has an AP50 of 90.2\n" in output
    assert "time     6.5 minutes\n" in output


def test_collect_needs_a_report_stage(tmp_path):
    with pytest.raises(RuntimeError, match="no stage named report"):
        collect(RunRecord("run", "tiny", {}), tmp_path)


def test_the_command_starts_without_heavy_imports():
    code = (
        "import sys; import aerodet.pipelines.cli; "
        "print([name for name in ('torch', 'kfp', 'mlflow', 'numpy', 'pydantic', 'yaml') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
