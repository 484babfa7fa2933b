"""The files of one model version: what must be there, what it is, and its copy."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from aerodet.errors import RegistryError
from aerodet.files import atomic_path, file_digest

ENGINE_SUFFIXES = frozenset({".engine", ".plan"})
GRAPH_SUFFIXES = frozenset({".onnx"})


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files to publish.

    Attributes:
        files: source of each file, by its path in the version.
        digests: SHA-256 of each file, by the same paths.
    """

    files: Mapping[str, Path]
    digests: Mapping[str, str]

    @classmethod
    def collect(cls, named: Mapping[str, Path]) -> Bundle:
        """List the files under ``named`` and check that a run which made no engine gets no further.

        Raises:
            RegistryError: something named is missing, named oddly or empty, or the engine or the graph is not there.
        """
        files: dict[str, Path] = {}
        for name, source in named.items():
            inside = PurePosixPath(name)
            if inside.is_absolute() or ".." in inside.parts or inside == PurePosixPath():
                raise RegistryError(f"{name!r} cannot name a file in a model version; use a plain relative path")
            if source.is_dir():
                found = {p.relative_to(source).as_posix(): p for p in sorted(source.rglob("*")) if p.is_file()}
                files.update({(inside / path).as_posix(): p for path, p in found.items()})
            elif source.is_file():
                files[inside.as_posix()] = source
            else:
                raise RegistryError(
                    f"{source} does not exist, so nothing is published; run the stage that makes it again"
                )
        for kind, suffixes in (("TensorRT engine", ENGINE_SUFFIXES), ("ONNX graph", GRAPH_SUFFIXES)):
            if not any(_suffix(path) in suffixes and p.stat().st_size for path, p in files.items()):
                raise RegistryError(
                    f"there is no {kind} ({', '.join(sorted(suffixes))}) among the files to publish, so nothing is "
                    "published; look at the export stage of this run"
                )
        return cls(files, {path: file_digest(p) for path, p in files.items()})

    @property
    def digest(self) -> str:
        """SHA-256 over the names and digests of the engines and graphs, in ``sha256sum``'s line form."""
        model = {p: d for p, d in self.digests.items() if _suffix(p) in ENGINE_SUFFIXES | GRAPH_SUFFIXES}
        return hashlib.sha256("".join(f"{model[path]}  {path}\n" for path in sorted(model)).encode()).hexdigest()

    def copy_to(self, folder: Path) -> None:
        """Copy the files; ``folder`` appears whole or not at all."""
        with atomic_path(folder) as temporary:
            for path, source in self.files.items():
                target = temporary / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                if file_digest(target) != self.digests[path]:
                    raise RegistryError(
                        f"{source} changed while it was being published; publish again once it is complete"
                    )


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
