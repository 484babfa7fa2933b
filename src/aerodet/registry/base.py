"""What every registry can do, and what a version is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from aerodet.errors import RegistryError

__all__ = ["ARCHIVED", "CHALLENGER", "CHAMPION", "Registry", "Version"]

CHALLENGER = "challenger"  # alias of the newest version; promotion moves another alias, never this meaning
CHAMPION = "champion"  # alias of the version that is in use
ARCHIVED = "archived"  # stage of former champions and of versions taken out of use


@dataclass(frozen=True, slots=True)
class Version:
    """One published model version.

    Attributes:
        name: the registered model.
        version: its number, from 1.
        uri: the registry's address of it, such as ``models:/aircraft/3``.
        created: when it was published, UTC.
        location: where its files are: a folder of this machine, ``s3://...`` or the registry's own form.
        digest: SHA-256 over the names and contents of its engines and ONNX graphs: what it is, however it was measured.
        tags: flat facts: ``digest.<artifact>``, ``file.<path>``, ``metric.<name>``, ``param.<name>``, ``run_id``.
        aliases: the names that point at it, ``challenger`` and ``champion`` among them.
        stage: ``champion``; ``archived`` for a former champion and one taken out of use; else ``challenger``.
    """

    name: str
    version: int
    uri: str
    created: datetime
    location: str
    digest: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...] = ()
    stage: str = CHALLENGER

    @property
    def folder(self) -> Path:
        """Where its files are on this machine.

        Raises:
            RegistryError: they are elsewhere; :meth:`Registry.download` brings them.
        """
        if "://" in self.location or self.location.startswith("mlflow-artifacts:"):
            raise RegistryError(f"the files of {self.uri} are not on this machine; `aerodet registry download` does it")
        return Path(self.location)

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of each file, by its path in the version."""
        return {key.removeprefix("file."): value for key, value in self.tags.items() if key.startswith("file.")}

    @property
    def metrics(self) -> dict[str, float]:
        """The measured figures it was published with; a tag that somebody made no number of is left out."""
        found: dict[str, float] = {}
        for key, value in self.tags.items():
            if key.startswith("metric."):
                with suppress(ValueError):
                    found[key.removeprefix("metric.")] = float(value)
        return found


class Registry(Protocol):
    """A place that models are published to.

    Of the versions of a model one at most is the champion; a version that was published becomes it by :meth:`promote`.
    """

    def publish(
        self,
        name: str,
        files: Mapping[str, Path],
        *,
        digests: Mapping[str, str],
        metrics: Mapping[str, float],
        parameters: Mapping[str, Any],
        run_id: str,
    ) -> Version:
        """Publish a model version with everything in it; complete or absent.

        Publishing the same engines and graphs again returns the version that has them, and so does publishing them
        twice at once. A publication that was killed is made good by the next one.

        Args:
            name: the registered model.
            files: files and folders to copy, by their names in the version.
            digests: SHA-256 of the artifacts it comes from, by name (data sets, checkpoints…).
            metrics: measured figures, AP50 in percent, latency in milliseconds.
            parameters: the run's parameters; nested mappings become dotted names.
            run_id: the run that made it.

        Raises:
            RegistryError: there is no engine or no ONNX graph among the files, or a name is not allowed.
            MachineError: the disk is full or read-only, or the registry does not answer.
        """

    def models(self) -> list[str]:
        """List the names of the registered models."""

    def versions(self, name: str) -> list[Version]:
        """List a model's versions, oldest first; empty for an unknown name."""

    def get(self, name: str, version: int | str | None = None) -> Version:
        """Return one version, by number or alias; the newest by default.

        Raises:
            RegistryError: there is none.
        """

    def find_by_digest(self, digest: str) -> Version | None:
        """Return the newest version that is, contains or was made from the content with this SHA-256, if any."""

    def promote(self, name: str, version: int | str, *, instead_of: int | None = None) -> Version:
        """Make a version the champion; the champion before it is archived.

        Args:
            name: the registered model.
            version: number or alias.
            instead_of: only if this version is the champion still; 0: only if there is none.

        Raises:
            RegistryError: there is no such version, or another became champion meanwhile.
        """

    def rollback(self, name: str) -> Version:
        """Archive the champion and make the one before it champion again.

        Returns:
            The champion now.

        Raises:
            RegistryError: there is no earlier champion.
        """

    def archive(self, name: str, version: int | str) -> Version:
        """Take a version out of use.

        Raises:
            RegistryError: there is no such version, or it is the champion.
        """

    def read(self, version: Version, path: str) -> bytes:
        """Return the content of one file of a version, checked against its digest.

        Raises:
            RegistryError: it has no such file, or the file is not what was published.
        """

    def download(self, version: Version, folder: Path) -> Path:
        """Copy the files of a version into a new folder, as they are; returns the folder."""
