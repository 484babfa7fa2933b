"""A small pipeline for the tests of the local runner; its stages import what they need, as they run alone."""

from kfp import dsl

from aerodet.pipelines import run_local
from aerodet.pipelines._display import QuietDisplay

stage = dsl.component(base_image="python:3.11", install_kfp_package=False)


@stage
def write(text: str, ledger: str, out: dsl.Output[dsl.Dataset], scores: dsl.Output[dsl.Metrics]):
    from pathlib import Path

    with Path(ledger).open("a") as stream:
        stream.write("write\n")
    with Path(out.path).open("w") as stream:
        stream.write(text)
    scores.log_metric("length", len(text))
    out.metadata["length"] = len(text)


@stage
def shout(source: dsl.Input[dsl.Dataset], mode: str, ledger: str, out: dsl.Output[dsl.Dataset]):
    import os
    import sys
    import time
    from pathlib import Path

    from aerodet.progress import emit, track

    with Path(ledger).open("a") as stream:
        stream.write("shout\n")
    print("shouting as", mode)
    if mode == "user" and not Path(ledger + ".mended").exists():
        emit("failed", message="no images in /data; put some there", exit=2, stage="shout")
        sys.exit(2)
    if mode == "machine":
        emit("failed", message="the disk is full", exit=3, stage="shout")
        sys.exit(3)
    if mode == "bug":
        raise ValueError("a defect in the stage")
    if mode == "terminated":
        os.kill(os.getpid(), 15)
    if mode == "killed":
        os.kill(os.getpid(), 9)
    if mode.startswith("sleep") and not Path(ledger + ".mended").exists():
        import signal
        import subprocess

        if mode == "sleep stubbornly":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        helper = subprocess.Popen(["sleep", "300"])
        with Path(ledger + ".pids").open("w") as stream:
            stream.write(f"{os.getpid()} {helper.pid}\n")
        time.sleep(300)
    for _ in track(range(3), "shouting"):
        pass
    with Path(source.path).open() as stream, Path(out.path).open("w") as target:
        target.write(stream.read().upper())


@stage
def count(sources: dict, source: dsl.Input[dsl.Dataset], ledger: str, out: dsl.Output[dsl.Artifact]):
    import json
    from pathlib import Path

    with Path(ledger).open("a") as stream:
        stream.write("count\n")
    with Path(out.path).open("w") as stream:
        json.dump({"sources": sources, "metadata": source.metadata}, stream)


@dsl.pipeline(name="small")
def small(ledger: str, text: str = "word", mode: str = "plain", sources: dict = {"n": 3, "x": [1, 2.5]}):  # noqa: B006
    first = write(text=text, ledger=ledger)
    shout(source=first.outputs["out"], mode=mode, ledger=ledger)
    count(sources=sources, source=first.outputs["out"], ledger=ledger)


def ran(ledger):
    return sorted(ledger.read_text().split())


def go(package, ledger, run_dir, display=None, **parameters):
    return run_local(package, {"ledger": str(ledger), **parameters}, run_dir, display=display or QuietDisplay())
