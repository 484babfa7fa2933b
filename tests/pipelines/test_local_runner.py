"""A compiled pipeline on this machine: what is run, kept, recorded and shown."""

import errno
import fcntl
import json
import logging
import re
import time
from pathlib import Path

import pytest
from kfp import compiler, dsl, local
from kfp.local import config
from local_stages import go, ran, shout, write
from rich.console import Console

from aerodet.errors import MachineError, UserError
from aerodet.pipelines import RunRecord, StageError, run_local
from aerodet.pipelines._display import LiveDisplay, PlainDisplay, QuietDisplay
from aerodet.pipelines.record import is_running


def test_a_run_records_every_stage_with_its_outputs(package, ledger, tmp_path):
    record = go(package, ledger, tmp_path / "run")

    assert record == RunRecord.read(tmp_path / "run")
    assert (record.run_id, record.pipeline, record.state) == ("run", "small", "SUCCEEDED")
    assert {stage.name: stage.state for stage in record.stages} == dict.fromkeys(
        ["write", "shout", "count"], "SUCCEEDED"
    )
    assert all(stage.seconds > 0 and not stage.kept and stage.error is None for stage in record.stages)
    out = Path(record.stage("shout").outputs["out"])
    assert out.read_text() == "WORD"
    assert out == tmp_path / "run" / "artifacts" / "shout" / "out"
    assert "shouting as plain" in (tmp_path / "run" / "logs" / "shout.log").read_text()


def test_stages_run_in_one_order_by_depth(package, ledger, tmp_path):
    record = go(package, ledger, tmp_path / "run")
    assert [stage.name for stage in record.stages] == ["write", "count", "shout"]


def test_a_second_start_keeps_the_finished_stages_at_once(package, ledger, tmp_path):
    first = go(package, ledger, tmp_path / "run")
    began = time.monotonic()
    second = go(package, ledger, tmp_path / "run")

    assert time.monotonic() - began < 1.0
    assert all(stage.kept for stage in second.stages)
    assert ran(ledger) == ["count", "shout", "write"]
    assert second.started == first.started
    assert [stage.outputs for stage in second.stages] == [stage.outputs for stage in first.stages]
    assert [stage.seconds for stage in second.stages] == [stage.seconds for stage in first.stages]


def test_a_failed_run_tells_the_stage_message_and_continues_when_mended(package, ledger, tmp_path):
    with pytest.raises(UserError) as caught:
        go(package, ledger, tmp_path / "run", mode="user")
    message = str(caught.value)
    assert message.startswith("shout: no images in /data; put some there")
    assert f"aerodet run --resume {tmp_path / 'run'}" in message
    record = RunRecord.read(tmp_path / "run")
    assert record.state == "FAILED"
    assert record.stage("shout").error == "shout: no images in /data; put some there"

    Path(f"{ledger}.mended").touch()
    record = go(package, ledger, tmp_path / "run", mode="user")
    assert record.state == "SUCCEEDED"
    assert record.stage("write").kept
    assert not record.stage("shout").kept
    assert ran(ledger).count("write") == 1


def test_a_machine_failure_keeps_its_kind(package, ledger, tmp_path):
    with pytest.raises(MachineError, match="shout: the disk is full"):
        go(package, ledger, tmp_path / "run", mode="machine")


def test_a_killed_stage_is_put_down_to_memory(package, ledger, tmp_path):
    with pytest.raises(MachineError, match="killed the stage, most likely for want of memory"):
        go(package, ledger, tmp_path / "run", mode="killed")


def test_a_stage_that_a_signal_ended_is_told_by_the_signals_name(package, ledger, tmp_path):
    with pytest.raises(StageError, match=r"shout was ended by signal 15 \(Terminated\)"):
        go(package, ledger, tmp_path / "run", mode="terminated")


def test_a_defect_shows_the_end_of_the_stage_log_and_no_kfp_traceback(package, ledger, tmp_path):
    with pytest.raises(StageError) as caught:
        go(package, ledger, tmp_path / "run", mode="bug")
    assert "ValueError: a defect in the stage" in str(caught.value)
    assert "logs/shout.log" in str(caught.value)
    assert "finished with status" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_the_text_python3_survives_in_paths_and_parameters(package, tmp_path):
    place = tmp_path / "my python3 projects"
    place.mkdir()
    record = go(package, place / "ledger.txt", place / "run", text="python3 it is")
    assert Path(record.stage("write").outputs["out"]).read_text() == "python3 it is"


def test_whole_numbers_inside_parameters_and_metadata_stay_whole(package, ledger, tmp_path):
    record = go(package, ledger, tmp_path / "run")
    assert Path(record.stage("count").outputs["out"]).read_text().count("3") == 1
    seen = json.loads(Path(record.stage("count").outputs["out"]).read_text())
    assert repr(seen["sources"]["n"]) == "3"
    assert seen["sources"]["x"] == [1, 2.5]
    assert repr(seen["metadata"]["length"]) == "4"


def test_parameters_too_long_for_a_command_line_are_refused(package, ledger, tmp_path):
    with pytest.raises(UserError, match="put long values into a file"):
        go(package, ledger, tmp_path / "run", text="x" * 140_000)
    assert RunRecord.read(tmp_path / "run").stage("write").state == "FAILED"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"colour": "red"}, "has no parameter colour; it has"), ({}, "needs a value for ledger")],
)
def test_parameters_that_do_not_fit_are_refused_before_anything_runs(package, tmp_path, parameters, message):
    with pytest.raises(UserError, match=message):
        run_local(package, parameters, tmp_path / "run", display=QuietDisplay())
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_folder_of_another_run_is_refused(package, ledger, tmp_path):
    go(package, ledger, tmp_path / "run")
    with pytest.raises(UserError, match="a run with another text"):
        go(package, ledger, tmp_path / "run", text="other")


def test_a_full_disk_is_named_and_the_run_continues_later(package, ledger, tmp_path):
    with pytest.raises(MachineError, match=r"the disk that holds .* is full.*aerodet run --resume"):
        go(package, ledger, tmp_path / "run", FullDisk())
    assert RunRecord.read(tmp_path / "run").state == "FAILED"
    record = go(package, ledger, tmp_path / "run")
    assert record.state == "SUCCEEDED"
    assert record.stages[0].kept


class FullDisk(QuietDisplay):
    """The disk fills up once the first stage is done."""

    def finished(self, stage):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_one_run_at_a_time_in_a_folder(package, ledger, tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with (run_dir / ".lock").open("w") as stream:
        stream.write("process 7")
        stream.flush()
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert is_running(run_dir)
        with pytest.raises(UserError, match=r"is in use by process 7; wait"):
            go(package, ledger, run_dir)
    assert not is_running(run_dir)
    assert go(package, ledger, run_dir).state == "SUCCEEDED"


def test_kfp_is_left_as_it_was_and_says_nothing(package, ledger, tmp_path, capfd):
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "other"))
    before, printing, handlers = config.LocalExecutionConfig.instance, print, logging.getLogger().handlers[:]
    with pytest.raises(StageError):
        go(package, ledger, tmp_path / "run", mode="bug")
    go(package, ledger, tmp_path / "run2")
    assert config.LocalExecutionConfig.instance is before
    assert print is printing
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")
    assert "Executing task" in (tmp_path / "run" / "logs" / "pipeline.log").read_text()


def test_plain_lines_tell_the_story(package, ledger, tmp_path):
    with (tmp_path / "lines.txt").open("w+") as stream:
        go(package, ledger, tmp_path / "run", PlainDisplay(stream, every=0.0))
        go(package, ledger, tmp_path / "run", PlainDisplay(stream))
        stream.seek(0)
        lines = stream.read().splitlines()
    assert lines[0] == f"small in {tmp_path / 'run'}: 3 stages"
    assert "  shout: started" in lines
    assert "  shout: shouting 3/3" in lines
    assert any(line.startswith("[1/3] write: 0.") for line in lines)
    assert "[1/3] write: kept" in lines


def test_a_terminal_gets_a_line_a_stage_and_bars(package, ledger, tmp_path):
    with (tmp_path / "screen.txt").open("w+") as stream:
        console = Console(file=stream, force_terminal=True, width=100, color_system=None)
        with pytest.raises(StageError):
            go(package, ledger, tmp_path / "run", LiveDisplay(console), mode="bug")
        display = LiveDisplay(console)
        display.open("title [x]", 1)
        display.started("train")
        display.progress("train", {"description": "epoch", "done": 3, "total": 8, "note": "loss 0.25"})
        display.close()
        stream.seek(0)
        screen = stream.read()
    assert f"small in {tmp_path / 'run'}  3 stages" in screen
    assert "✓ 1/3 write  0." in screen
    assert re.search(r"✗ ./3 shout  failed after 0\.", screen)
    assert re.search(r"train epoch .*3/8 loss 0.25", screen)


@dsl.pipeline(name="retrying")
def retrying(ledger: str):
    first = write(text="word", ledger=ledger)
    second = shout(source=first.outputs["out"], mode="bug", ledger=ledger)
    second.set_retry(2).set_display_name("shout twice/again").set_cpu_limit("1")


def test_retries_and_display_names_are_honoured(ledger, tmp_path):
    compiler.Compiler().compile(retrying, str(tmp_path / "p.yaml"))
    with pytest.raises(StageError, match="shout-twice-again failed with exit status 1"):
        go(tmp_path / "p.yaml", ledger, tmp_path / "run")
    assert ran(ledger).count("shout") == 3
    assert sorted(path.name for path in (tmp_path / "run" / "artifacts").iterdir()) == ["shout-twice-again", "write"]


@dsl.pipeline
def arm(ledger: str, text: str) -> dsl.Dataset:
    return write(text=text, ledger=ledger).outputs["out"]


@dsl.pipeline(name="nested")
def nested(ledger: str):
    with dsl.ParallelFor(["a", "b"]) as text:
        shout(source=arm(ledger=ledger, text=text).output, mode="plain", ledger=ledger)
    arm(ledger=ledger, text="c")


def test_nested_pipelines_and_loops_keep_their_stages_apart(ledger, tmp_path):
    compiler.Compiler().compile(nested, str(tmp_path / "p.yaml"))
    record = go(tmp_path / "p.yaml", ledger, tmp_path / "run")
    assert sorted(stage.name for stage in record.stages) == ["shout", "shout#2", "write", "write#2", "write#3"]
    texts = sorted(Path(s.outputs["out"]).read_text() for s in record.stages)
    assert texts == ["A", "B", "a", "b", "c"]
