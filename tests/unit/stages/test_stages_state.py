"""A training whose state is in a bucket of a real S3 server."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import pytest
import torch

from aerodet import stages
from aerodet.detectnet.checkpoint import load_model
from aerodet.detectnet.spec import format_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.errors import MachineError, TrainingError, UserError
from aerodet.stages import _state
from aerodet.stages._state import CHECKPOINT_FILE, training_state
from aerodet.storage import open_store

SPEC = format_spec(
    build_spec(SpecOptions(classes=("aircraft",), image_width=64, image_height=64, layers=10, width=0.25, batch_size=4))
)


@pytest.fixture
def quick(monkeypatch):
    """Look at the folder much more often than a real training needs."""
    monkeypatch.setattr(_state, "_EVERY_SECONDS", 0.02)


def kept(uri):
    return {entry.key for entry in open_store(uri).keys()}


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def state_of(uri, folder, **parameters):
    return training_state(uri, "qat", parameters={"seed": 0, **parameters}, inputs={"dataset": folder})


@contextmanager
def pod(arguments):
    """Run the stage as a pod would, in a process of its own; it keeps its state after every epoch, and waits."""
    script = f"""
        import time
        from pathlib import PosixPath
        from aerodet import stages
        from aerodet.detectnet import train
        from aerodet.stages import _state

        train._STATE_SECONDS, _state._EVERY_SECONDS = 0.0, 0.02
        train._Loop.save_state = lambda loop, save=train._Loop.save_state: (save(loop), time.sleep(0.2))
        stages.train(**{arguments!r})
    """
    environment = {**os.environ, "TMPDIR": str(arguments["model"].parent)}  # what is killed leaves its temporary files
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], env=environment) as process:
        try:
            yield process
        finally:
            process.kill()  # a test that fails leaves nothing running either


def interrupted(bucket_uri, dataset, error):
    """Leave a checkpoint as a training does that ends by an error."""
    with state_of(bucket_uri, dataset) as place:
        place.mkdir(exist_ok=True)
        (place / CHECKPOINT_FILE).write_bytes(b"weights")
        raise error


def test_a_training_whose_pod_was_killed_goes_on_in_the_next_one(bucket_uri, image_set, tmp_path, quick, capsys):
    options = {"dataset": image_set(tmp_path / "set", 8), "spec": SPEC, "name": "qat", "steps": 30, "seed": 3}
    with pod(options | {"model": tmp_path / "killed", "state": bucket_uri}) as killed:
        wait_for(lambda: any(key.endswith(CHECKPOINT_FILE) for key in kept(bucket_uri)), seconds=180)
        killed.kill()
        assert killed.wait(30) == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()

    stages.train(**options, model=tmp_path / "next", state=bucket_uri)

    assert "going on from the checkpoint in s3://tests/" in capsys.readouterr().err
    stages.train(**options, model=tmp_path / "whole")
    assert (tmp_path / "next" / "history.json").read_text() == (tmp_path / "whole" / "history.json").read_text()
    (after, _), (undisturbed, _) = load_model(tmp_path / "next"), load_model(tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(after.parameters(), undisturbed.parameters(), strict=True))
    assert not any(key.endswith(CHECKPOINT_FILE) for key in kept(bucket_uri))
    assert any("/events/" in key for key in kept(bucket_uri))


def test_only_the_same_training_finds_a_checkpoint(bucket_uri, image_set, tmp_path, quick):
    one, other = image_set(tmp_path / "one", seed=1), image_set(tmp_path / "other", seed=2)
    with pytest.raises(TrainingError):
        interrupted(bucket_uri, one, TrainingError("the loss is not finite"))
    with state_of(bucket_uri, other) as place:
        assert not (place / CHECKPOINT_FILE).exists()
    with state_of(bucket_uri, one, seed=1) as place:
        assert not (place / CHECKPOINT_FILE).exists()
    with state_of(bucket_uri, one) as place:
        assert (place / CHECKPOINT_FILE).read_bytes() == b"weights"
    assert kept(bucket_uri) == set()


def test_a_changed_checkpoint_is_uploaded_while_the_training_goes_on(bucket_uri, image_set, tmp_path, quick):
    with state_of(bucket_uri, image_set(tmp_path / "set")) as place:
        (place / "events").mkdir(parents=True)
        (place / ".last.pt.1.partial").write_bytes(b"half")
        store = open_store(bucket_uri)
        for content in (b"first", b"second one"):
            (place / CHECKPOINT_FILE).write_bytes(content)
            wait_for(lambda content=content: [store.read(e.key) for e in store.keys()] == [content])


def test_a_folder_of_this_machine_is_used_as_it_is(tmp_path):
    with training_state(str(tmp_path), "real", parameters={}, inputs={}) as place:
        assert place == tmp_path / "real"
    with training_state("", "real", parameters={}, inputs={}) as place:
        assert place is None


def test_a_bucket_that_is_not_there_is_said_before_anything_is_trained(bucket_uri, image_set, tmp_path):
    with pytest.raises(UserError, match="there is no bucket no-such-bucket"):
        stages.train(
            dataset=image_set(tmp_path / "set"),
            model=tmp_path / "model",
            spec=SPEC,
            name="real",
            steps=1,
            seed=0,
            state="s3://no-such-bucket/state",
        )


def test_a_training_goes_on_while_its_store_is_away_and_says_so_once(
    bucket_uri, image_set, tmp_path, quick, monkeypatch, capsys
):
    class Away:
        def __init__(self, store):
            self._store, self.uri, self.away, self.tried = store, store.uri, False, 0

        def __getattr__(self, name):
            return getattr(self._store, name)

        def upload(self, path, key):
            self.tried += self.away
            if self.away:
                raise MachineError("the store did not answer")
            self._store.upload(path, key)

    opened = []

    def open_away(uri):
        opened.append(Away(open_store(uri)))
        return opened[-1]

    monkeypatch.setattr(_state, "open_store", open_away)
    with state_of(bucket_uri, image_set(tmp_path / "set")) as place:
        (store,) = opened
        store.away = True
        place.mkdir()
        (place / CHECKPOINT_FILE).write_bytes(b"weights")
        wait_for(lambda: store.tried > 2)
        store.away = False
        wait_for(lambda: kept(store.uri) == {CHECKPOINT_FILE})
    assert capsys.readouterr().err.count("warning: the training's state is not kept for now: the store did not") == 1
