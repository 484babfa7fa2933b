"""The state of a training, kept where a pod's end does not reach it."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any

from aerodet.errors import AerodetError
from aerodet.files import PROVENANCE, folder_digest
from aerodet.lineage import read_provenance
from aerodet.storage import Store, open_store

__all__ = ["CHECKPOINT_FILE", "training_state"]

CHECKPOINT_FILE = "last.pt"
_EVERY_SECONDS = 2.0  # how often the folder is looked at; the training writes a checkpoint every 15 seconds


@contextmanager
def training_state(
    state: str, name: str, *, parameters: Mapping[str, Any], inputs: Mapping[str, Path]
) -> Iterator[Path | None]:
    """Yield the folder in which a training keeps its checkpoint and its TensorBoard events.

    A folder of this machine is used as it is. For a bucket, the folder is a temporary one: a checkpoint that an
    earlier, pre-empted pod left is fetched, newer ones are uploaded while the training goes on, and the last checkpoint
    is deleted when it has ended well. In a bucket the place is called by what is trained, so that only the same
    training, of the same data, spec and seed, finds it again: in a retried pod, a retried run, or a run started anew.

    Args:
        state: folder or ``s3://bucket/prefix``; empty for none.
        name: the arm's name.
        parameters: what else makes two trainings different.
        inputs: the folders that it is made from.

    Raises:
        UserError: the bucket is not there or refuses access.
        MachineError: the object store does not answer.
    """
    if not state:
        yield None
    elif "://" not in state:
        yield Path(state) / name
    else:
        store = open_store(f"{state.rstrip('/')}/{name}-{_identity(parameters, inputs)}")
        with tempfile.TemporaryDirectory(prefix="aerodet-state-") as scratch:
            place = Path(scratch) / name
            # A listing, unlike a look at one object, tells a bucket that is not there from an object that is not.
            if any(entry.key == CHECKPOINT_FILE for entry in store.keys(CHECKPOINT_FILE)):
                store.download(CHECKPOINT_FILE, place / CHECKPOINT_FILE)
                print(f"going on from the checkpoint in {store.uri}", file=sys.stderr, flush=True)
            mirror = _Mirror(place, store)
            with mirror:
                yield place
            mirror.finish()


class _Mirror:
    """Uploads files of a folder as they change, in a thread of its own.

    A training goes on while the object store does not answer: then a pre-emption costs more, and that is said once.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder, self._store = folder, store
        self._seen = self._versions()
        self._ended = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)

    def __enter__(self) -> _Mirror:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._copy()  # a training that failed keeps its newest checkpoint too

    def finish(self) -> None:
        """Delete the checkpoint of a training that needs it no more."""
        try:
            self._store.delete(CHECKPOINT_FILE)
        except AerodetError as error:
            self._say(error)

    def _run(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            self._copy()

    def _copy(self) -> None:
        for key, version in self._versions().items():
            if self._seen.get(key) == version:
                continue
            try:
                self._store.upload(self._folder / key, key)
            except (AerodetError, FileNotFoundError) as error:
                if not (self._folder / key).exists():  # a checkpoint goes when its training ends
                    continue
                self._say(error)
                return
            self._seen[key], self._failing = version, False

    def _versions(self) -> dict[str, tuple[int, int]]:
        """Return size and time of each file; what is still being written has a name that starts with a dot."""
        versions = {}
        for path in sorted(self._folder.rglob("*")):
            if path.name.startswith("."):
                continue
            with suppress(FileNotFoundError):  # a checkpoint goes when its training ends
                status = path.stat()
                if S_ISREG(status.st_mode):
                    versions[path.relative_to(self._folder).as_posix()] = (status.st_size, status.st_mtime_ns)
        return versions

    def _say(self, error: Exception) -> None:
        if not self._failing:
            print(f"warning: the training's state is not kept for now: {error}", file=sys.stderr, flush=True)
        self._failing = True


def _identity(parameters: Mapping[str, Any], inputs: Mapping[str, Path]) -> str:
    """Return a short digest of what is trained."""
    content = {name: _content(folder) for name, folder in sorted(inputs.items())}
    text = json.dumps({"parameters": dict(parameters), "inputs": content}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _content(folder: Path) -> str:
    """Return the digest of an artifact, as its stage recorded it where it did."""
    return read_provenance(folder).digest if (folder / PROVENANCE).is_file() else folder_digest(folder)
