"""What all back ends do alike: looking versions up and moving the champion, over a few primitives of each."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Any

from aerodet.errors import RegistryError
from aerodet.files import atomic_path
from aerodet.registry._bundle import Bundle
from aerodet.registry.base import ARCHIVED, CHALLENGER, CHAMPION, Version

__all__ = ["CHAMPIONS", "SharedRegistry", "check_name", "facts", "history", "numbers", "stage_of"]

CHAMPIONS = "aerodet.champions"  # of a model: the numbers of its champions, "1 3 4", the present one last
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class SharedRegistry(ABC):
    """Base of the back ends.

    Attributes:
        address: how a person names this registry.
    """

    address: str

    @abstractmethod
    def models(self) -> list[str]:
        """List the names of the registered models."""

    @abstractmethod
    def versions(self, name: str) -> list[Version]:
        """List a model's versions, oldest first; empty for an unknown name."""

    @abstractmethod
    def _champions(self, name: str) -> list[int]:
        """Return the model's champions, the present one last."""

    @abstractmethod
    def _set_champions(self, name: str, champions: Sequence[int]) -> None:
        """Make the last of the numbers the champion, by one write that either happens or does not."""

    @abstractmethod
    def _set_archived(self, version: Version, *, archived: bool) -> None:
        """Take a version out of use or back; it says so by its tag ``archived``."""

    @abstractmethod
    def _read(self, version: Version, path: str) -> bytes:
        """Return a file of a version; a KeyError or FileNotFoundError where it is not there."""

    def _exclusive(self) -> AbstractContextManager[object]:
        """Keep other publishers out, where the back end can."""
        return nullcontext()

    def _some_versions(self, name: str) -> list[Version]:
        if known := self.versions(name):
            return known
        raise RegistryError(f"the registry in {self.address} has no model named {name!r}")

    def get(self, name: str, version: int | str | None = None) -> Version:
        """Return one version, by number or alias; the newest by default."""
        known = self._some_versions(name)
        if version is None:
            return known[-1]
        for candidate in known:
            if candidate.version == version or version in candidate.aliases:
                return candidate
        listed = ", ".join(str(v.version) for v in known)
        raise RegistryError(f"model {name!r} has no version {version!r}; it has {listed}")

    def find_by_digest(self, digest: str) -> Version | None:
        """Return the newest version that is, contains or was made from the content with this SHA-256, if any."""
        known = [version for name in self.models() for version in self.versions(name)]
        matches = [v for v in known if digest == v.digest or digest in _digests(v)]
        return max(matches, key=lambda v: (v.created, v.version), default=None)

    def promote(self, name: str, version: int | str, *, instead_of: int | None = None) -> Version:
        """Make a version the champion; see :meth:`aerodet.registry.Registry.promote`."""
        with self._exclusive():
            wanted = self.get(name, version)
            champions = self._champions(name)
            current = champions[-1] if champions else 0
            if instead_of is not None and current not in (instead_of, wanted.version):
                judged = f"version {instead_of}" if instead_of else "no champion"
                raise RegistryError(
                    f"version {wanted.version} of {name!r} was judged against {judged}, but the champion is {current} "
                    f"by now; look at both, then `aerodet registry promote {name} {wanted.version}`"
                )
            if _is_archived(wanted):
                self._set_archived(wanted, archived=False)
            if current != wanted.version:
                self._set_champions(name, [*champions, wanted.version])
            made = self.get(name, wanted.version)
            if CHAMPION not in made.aliases:  # where nobody can be kept out, the later write counts
                raise RegistryError(
                    f"another version of {name!r} was promoted at the same moment; look, and do it again"
                )
            return made

    def rollback(self, name: str) -> Version:
        """Archive the champion and make the one before it champion again."""
        with self._exclusive():
            known = {version.version: version for version in self._some_versions(name)}
            champions = self._champions(name)
            usable = [n for n in champions[:-1] if n in known and n != champions[-1] and not _is_archived(known[n])]
            if not usable:
                raise RegistryError(f"model {name!r} has no earlier champion to go back to; `aerodet registry list`")
            # Archived first: interrupted here, the champion is still in place and the command can be given again.
            self._set_archived(known[champions[-1]], archived=True)
            self._set_champions(name, history(champions[:-1], usable[-1]))
            return self.get(name, usable[-1])

    def archive(self, name: str, version: int | str) -> Version:
        """Take a version out of use."""
        with self._exclusive():
            wanted = self.get(name, version)
            if CHAMPION in wanted.aliases:
                raise RegistryError(
                    f"version {wanted.version} of {name!r} is the champion; promote another or roll back first"
                )
            self._set_archived(wanted, archived=True)
            return self.get(name, wanted.version)

    def read(self, version: Version, path: str) -> bytes:
        """Return the content of one file of a version, checked against its digest."""
        digest = version.files.get(path)
        if digest is None:
            raise RegistryError(f"{version.uri} has no file {path}; it has {', '.join(sorted(version.files))}")
        try:
            content = self._read(version, path)
        except (KeyError, FileNotFoundError) as error:
            raise RegistryError(f"{path} of {version.uri} is missing in {version.location}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise RegistryError(f"{path} of {version.uri} is not what was published; {version.location} was changed")
        return content

    def download(self, version: Version, folder: Path) -> Path:
        """Copy the files of a version into a new folder, as they are."""
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            for path in version.files:
                inside = PurePosixPath(path)
                if inside.is_absolute() or ".." in inside.parts:
                    raise RegistryError(f"{version.uri} names a file {path!r}, which would lie outside the folder")
                target = temporary / path
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    target.write_bytes(self._read(version, path))
                except (KeyError, FileNotFoundError):
                    continue  # what is missing is for `aerodet verify` to say
        return folder


def check_name(name: str) -> str:
    """Return a model's name.

    Raises:
        RegistryError: it would not do as a folder or in an address.
    """
    if not _NAME.fullmatch(name):
        raise RegistryError(f"{name!r} is not a model name; use letters, digits, '.', '_' and '-' (at most 100)")
    return name


def facts(
    bundle: Bundle, digests: Mapping[str, str], metrics: Mapping[str, float], parameters: Mapping[str, Any], run_id: str
) -> dict[str, str]:
    """Return what a version says of itself, flat."""
    tags = {"digest": bundle.digest, "run_id": run_id}
    tags |= {f"digest.{key}": value for key, value in digests.items()}
    tags |= {f"file.{path}": value for path, value in bundle.digests.items()}
    tags |= {f"metric.{key}": repr(float(value)) for key, value in metrics.items()}
    return tags | _flat(parameters, "param")


def numbers(text: str) -> list[int]:
    """Read the list of champions; what is no number is left out."""
    return [int(word) for word in text.split() if word.isdecimal()]


def history(stored: Sequence[int], current: int | None) -> list[int]:
    """Bring a stored list of champions in line with the alias, which may have been moved without it.

    Args:
        stored: champions as they were written down.
        current: the version that the alias points at.

    Returns:
        The champions, the current one last; empty where there is none.
    """
    if current is None:
        return []
    if current in stored:
        return [*stored[: len(stored) - list(reversed(stored)).index(current)]]
    return [*stored, current]


def stage_of(number: int, champions: Sequence[int], tags: Mapping[str, str]) -> str:
    """Return the stage of a version."""
    if champions and champions[-1] == number:
        return CHAMPION
    return ARCHIVED if number in champions or tags.get(ARCHIVED) == "true" else CHALLENGER


def _is_archived(version: Version) -> bool:
    return version.tags.get(ARCHIVED) == "true"


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """Turn nested parameters into flat tags; None leaves no tag."""
    tags: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            tags |= _flat(value, f"{prefix}.{key}")
        elif value is not None:
            tags[f"{prefix}.{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return tags


def _digests(version: Version) -> set[str]:
    return {value for key, value in version.tags.items() if key.startswith(("digest.", "file."))}
