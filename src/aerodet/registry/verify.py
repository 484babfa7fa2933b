"""Whether a version, a run or an artifact is still what it was when it was made, and so is all that it was made from.

A version carries the provenance of everything upstream, so each artifact that can still be found is compared with what
the version says of it: its content, by digest, and its own ``provenance.json``, byte for byte.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from aerodet.errors import DataError, RegistryError, UserError
from aerodet.files import PROVENANCE, file_digest, folder_digest, read_json
from aerodet.lineage import Provenance, parse_provenance, read_provenance
from aerodet.lineage.provenance import LIMIT
from aerodet.registry._bundle import Bundle
from aerodet.registry.base import Registry, Version
from aerodet.registry.sign import SIGNATURE, check_signature

__all__ = [
    "Finding",
    "Verification",
    "find_artifacts",
    "verify_artifacts",
    "verify_package",
    "verify_version",
    "with_upstream",
]

SBOM = "sbom.cdx.json"
_STATEMENTS = "provenance"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was, or could not be checked.

    Attributes:
        severity: ``fault``, or ``note`` for what could not be checked.
        what: the file or artifact.
        sentence: for a person.
    """

    severity: Literal["fault", "note"]
    what: str
    sentence: str


@dataclass(slots=True)
class Verification:
    """What was checked and what was found.

    Attributes:
        findings: everything that is not as it was.
        files: files of a version that were checked.
        artifacts: artifacts that were checked.
        signed_by: name of the key whose signature holds; empty when none was checked.
    """

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    artifacts: int = 0
    signed_by: str = ""

    @property
    def faults(self) -> list[Finding]:
        """The findings that are not just notes."""
        return [finding for finding in self.findings if finding.severity == "fault"]

    def fault(self, what: str, sentence: str) -> None:
        """Add a fault."""
        self.findings.append(Finding("fault", what, sentence))

    def note(self, what: str, sentence: str) -> None:
        """Add a note."""
        self.findings.append(Finding("note", what, sentence))

    def add(self, other: Verification) -> None:
        """Take over what another verification found."""
        self.findings += [finding for finding in other.findings if finding not in self.findings]
        self.files += other.files
        self.artifacts += other.artifacts
        self.signed_by = self.signed_by or other.signed_by


def verify_version(
    registry: Registry, version: Version, *, roots: Iterable[Path] = (), key: Path | None = None
) -> Verification:
    """Check a version's files against the registry, its signature, and the artifacts upstream of it.

    Args:
        registry: where it is.
        version: the version.
        roots: folders under which the artifacts of its run may lie.
        key: public key of those who may sign; None leaves a signature unchecked.

    Returns:
        What was found.
    """
    result = Verification()
    with tempfile.TemporaryDirectory(prefix="aerodet-") as scratch:
        try:
            folder = version.folder
        except RegistryError:  # in a bucket or on a server
            folder = registry.download(version, Path(scratch) / "files")
        _check_files(result, folder, version.files)
        if not result.faults and Bundle.collect({p.name: p for p in folder.iterdir()}).digest != version.digest:
            result.fault(version.uri, "its engines and graphs are not those that its digest names")
        _check_package(result, folder, roots, key)
    return result


def verify_package(folder: Path, *, roots: Iterable[Path] = (), key: Path | None = None) -> Verification:
    """Check the folder of a version, wherever it was copied to, against its own bill of materials.

    Args:
        folder: with ``sbom.cdx.json``.
        roots: see :func:`verify_version`.
        key: see :func:`verify_version`.

    Raises:
        DataError: the folder is not a version's.
    """
    result = Verification()
    _check_files(result, folder, _billed(folder), besides=(SBOM, SIGNATURE))
    _check_package(result, folder, roots, key)
    if not (folder / SIGNATURE).is_file():
        result.note(SBOM, "nothing but its own bill of materials vouches for this folder: there is no signature")
    return result


def verify_artifacts(folders: Iterable[Path]) -> Verification:
    """Check artifacts by their provenance, and that each one's inputs are among them.

    Args:
        folders: of the artifacts, such as all of a run's.
    """
    result = Verification()
    known: set[str] = set()
    statements: list[tuple[Path, Provenance]] = []
    for folder in (path.absolute() for path in folders):
        result.artifacts += 1
        try:
            provenance = read_provenance(folder)
        except DataError as error:
            result.fault(str(folder), str(error))
            continue
        found = folder_digest(folder)
        known |= {found, provenance.digest}  # what was changed is here, too
        statements.append((folder, provenance))
        if found != provenance.digest:
            result.fault(str(folder), _changed(folder, provenance, found))
    for folder, provenance in statements:
        for name, reference in provenance.inputs.items():
            if reference.digest not in known:
                if any(finding.what == _path(reference.uri) for finding in result.faults):
                    continue  # it is here, changed
                sentence = f"its input {name}, sha256 {reference.digest}, is not here and was not checked"
                result.note(str(folder), sentence)
    return result


def _check_files(result: Verification, folder: Path, digests: Mapping[str, str], besides: tuple[str, ...] = ()) -> None:
    for path, digest in sorted(digests.items()):
        inside = PurePosixPath(path)
        place = folder / path
        result.files += 1
        if inside.is_absolute() or ".." in inside.parts:
            result.fault(path, "its name leads out of the folder, so it is not looked at")
        elif any(p.is_symlink() for p in (place, *place.parents) if p.is_relative_to(folder) and p != folder):
            result.fault(path, "it is a link, and a version holds files only")
        elif not place.is_file():
            result.fault(path, f"it is missing in {folder}")
        elif (found := file_digest(place)) != digest:
            result.fault(path, f"it was changed: sha256 {digest} was published, it has {found} now")
    for place in sorted(folder.rglob("*")):
        path = place.relative_to(folder).as_posix()
        if (place.is_symlink() or not place.is_dir()) and path not in digests and path not in besides:
            result.fault(path, "it was not published, somebody put it there")


def _check_package(result: Verification, folder: Path, roots: Iterable[Path], key: Path | None) -> None:
    signed = (folder / SIGNATURE).is_file()
    if key is not None:
        try:
            check_signature(folder, key)
            result.signed_by = key.name
        except UserError as error:
            result.fault(SIGNATURE, str(error))
    elif signed:
        result.note(SIGNATURE, "it is signed, but no key was given to check that with")
    _check_upstream(result, dict(_statements(result, folder)), list(roots))


def _statements(result: Verification, folder: Path) -> Iterator[tuple[str, tuple[Provenance, bytes]]]:
    for path in sorted((folder / _STATEMENTS).glob("*.json")):
        if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
            continue  # it was named among the files; what it leads to is not read
        try:
            with path.open("rb") as stream:
                content = stream.read(LIMIT + 1)
            provenance = parse_provenance(content, path.name)
        except (OSError, DataError) as error:
            result.fault(f"{_STATEMENTS}/{path.name}", f"it is no provenance statement: {error}")
            continue
        yield provenance.digest, (provenance, content)


def _check_upstream(
    result: Verification, statements: Mapping[str, tuple[Provenance, bytes]], roots: list[Path]
) -> None:
    """Compare each artifact that can be found with what the version says of it."""
    places = find_artifacts(roots)
    for provenance, _ in statements.values():  # where it was made is looked at first; a tampered one has another digest
        for reference in provenance.inputs.values():
            path = Path(_path(reference.uri))
            if reference.uri.startswith("file://") and (path / PROVENANCE).is_file():
                places[reference.digest] = path
    absent = []
    for digest, (provenance, content) in sorted(statements.items(), key=lambda item: item[1][0].finished):
        place = places.get(digest)
        if place is None:
            absent.append(f"{provenance.name} of {provenance.stage}")
            continue
        result.artifacts += 1
        found = folder_digest(place)
        if found != digest:
            result.fault(str(place), _changed(place, provenance, found))
        elif _statement(place) != content:
            result.fault(str(place), f"its {PROVENANCE} was changed since the version was published")
    if absent:
        result.note("upstream", f"{len(absent)} artifacts were not found and not checked: {', '.join(absent)}")


def _statement(place: Path) -> bytes:
    """Return an artifact's own statement; one that is longer than any of ours differs by that alone."""
    with (place / PROVENANCE).open("rb") as stream:
        return stream.read(LIMIT + 1)


def find_artifacts(roots: Iterable[Path]) -> dict[str, Path]:
    """Return the folder of each artifact under the roots, by the digest that it says it has."""
    found: dict[str, Path] = {}
    for path in (path for root in roots for path in sorted(root.rglob(PROVENANCE))):
        if path.is_symlink() or not path.is_file():
            continue
        if (path.parent / SBOM).exists():  # a version's copy of its export, with more files around it
            continue
        try:
            found.setdefault(read_provenance(path.parent).digest, path.parent)
        except DataError:
            continue
    return found


def with_upstream(folders: Iterable[Path], roots: Iterable[Path]) -> list[Path]:
    """Return artifacts and all that they were made from, where each was used or else wherever under the roots.

    Args:
        folders: of the artifacts.
        roots: folders under which the others may lie.
    """
    places, found, queue = find_artifacts(roots), dict[Path, Path](), list(folders)
    for folder in queue:
        if folder.resolve() in found:
            continue
        found[folder.resolve()] = folder
        with suppress(DataError):  # which verify_artifacts tells of
            for reference in read_provenance(folder).inputs.values():
                used = Path(_path(reference.uri))
                if (used / PROVENANCE).is_file() and _says(used) == reference.digest:
                    queue.append(used)
                elif reference.digest in places:
                    queue.append(places[reference.digest])
    return list(found.values())


def _says(folder: Path) -> str:
    """Return the digest that an artifact says it has; empty if its statement is none."""
    try:
        return read_provenance(folder).digest
    except DataError:
        return ""


def _billed(folder: Path) -> dict[str, str]:
    """Return the digests of a version's files by its bill of materials."""
    try:
        bill: dict[str, Any] = read_json(folder / SBOM)
        files = [part for part in bill["components"] if part["type"] == "file"]
        return {part["name"]: next(h["content"] for h in part["hashes"] if h["alg"] == "SHA-256") for part in files}
    except FileNotFoundError as error:
        raise DataError(f"{folder} is not the folder of a version: it has no {SBOM}") from error
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise DataError(f"{folder / SBOM} is not a bill of materials: {error!r}") from error


def _changed(folder: Path, provenance: Provenance, found: str) -> str:
    return (
        f"{provenance.name} of stage {provenance.stage} was changed since it was made: sha256 {provenance.digest} is "
        f"recorded, {folder} has {found} now"
    )


def _path(uri: str) -> str:
    """Return the path that a file's address means; an address that is none of a file, or none at all, as it is."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # a bracket that is not closed
        return uri
    return unquote(parts.path) if parts.scheme == "file" else uri
