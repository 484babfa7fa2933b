"""What a person means by an artifact: a folder, a file, a digest or the beginning of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from aerodet.errors import UserError
from aerodet.files import PROVENANCE, file_digest
from aerodet.lineage.catalog import Catalog, Record
from aerodet.lineage.provenance import read_provenance

__all__ = ["Target", "main_artifact", "resolve", "sinks"]

SHORTEST = 6  # digits of a digest; fewer hit something by chance
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Target:
    """What was found.

    Attributes:
        digests: of the artifacts meant; a folder of artifacts gives those that nothing else in it was made from.
        file: SHA-256 of the file that was named, where a file was named.
    """

    digests: tuple[str, ...]
    file: str | None = None


def resolve(target: str, catalog: Catalog) -> Target:
    """Find the artifacts that a person means.

    Args:
        target: path of an artifact's folder, of a file in it or a copy of that file, or of a folder of artifacts, such
            as a run's; else a SHA-256 of an artifact or file, whole or its beginning, ``sha256:`` allowed before it.
        catalog: the artifacts known.

    Raises:
        UserError: nothing is found, or more than one thing.
    """
    path = Path(target)
    if path.is_file():
        return _file(path, catalog)
    if (path / PROVENANCE).is_file():
        return Target((read_provenance(path).digest,))
    if path.is_dir():
        records = [record for digest in catalog.artifacts for record in catalog.records(digest) if _under(record, path)]
        if not records:
            raise UserError(f"there is no artifact under {path}; an artifact's folder holds a {PROVENANCE}")
        return Target(tuple(sinks(records)))
    return _digest(target, catalog)


def _file(path: Path, catalog: Catalog) -> Target:
    """Find the artifacts that hold a file of this content."""
    content = file_digest(path)
    holders = catalog.holders(content)
    if holders:
        return Target(tuple(holders), content)
    if content in catalog.uses:
        return Target((content,), content)
    if unlisted := _unlisted(path, content, catalog):
        return Target(tuple(unlisted), content)
    if any((parent / PROVENANCE).is_file() for parent in path.absolute().parents):
        raise UserError(
            f"{path} is not the file that its provenance tells of: it has sha256 {content}, which no artifact at hand "
            "holds; it was changed, or belongs elsewhere"
        )
    raise UserError(
        f"no artifact at hand holds {path} (sha256 {content}); say with --in where its run or bucket is, and look "
        "whether the file is whole"
    )


def _unlisted(path: Path, content: str, catalog: Catalog) -> list[str]:
    """Return the digests of artifacts whose provenance lists no files and whose folder holds this one."""
    size, found = path.stat().st_size, []
    for digest in catalog.artifacts:
        for record in catalog.records(digest):
            if record.provenance.files or record.folder is None:
                continue
            files = (p for p in record.folder.rglob("*") if p.is_file() and not p.is_symlink())
            if any(p.stat().st_size == size and file_digest(p) == content for p in files):
                found.append(digest)
                break
    return found


def _digest(target: str, catalog: Catalog) -> Target:
    digits = target.lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{1,64}", digits):
        raise UserError(
            f"there is no file, folder or run {target}, and it is no digest either; `aerodet runs` lists runs"
        )
    if len(digits) < SHORTEST:
        raise UserError(f"{target} is too short for a digest; give {SHORTEST} digits or more")
    found = catalog.find(digits)
    if not found:
        raise UserError(f"no artifact at hand has a digest that begins with {digits}; say with --in where to look")
    if len(found) > 1:
        listed = ", ".join(digest[: len(digits) + 6] for digest in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise UserError(f"{len(found)} digests begin with {digits}: {listed}{more}; give more digits")
    (digest,) = found
    if digest in catalog.artifacts or digest in catalog.uses:
        return Target((digest,))
    return Target(tuple(catalog.holders(digest)), digest)


def sinks(records: list[Record]) -> list[str]:
    """Return the digests among these that nothing else among them was made from, the newest first."""
    used = {ref.digest for r in records for ref in r.provenance.inputs.values() if ref.digest != r.provenance.digest}
    ends = [record for record in records if record.provenance.digest not in used]
    ends = ends or records  # a circle has no end
    ordered = sorted(ends, key=lambda r: r.provenance.finished, reverse=True)
    return list(dict.fromkeys(record.provenance.digest for record in ordered))


def main_artifact(records: list[Record]) -> Record:
    """Return what a run is about: its newest engine, else its newest graph, else its newest artifact.

    Args:
        records: of one run, at least one.
    """
    rank = {"onnx": 1, "engine": 2}

    def worth(record: Record) -> tuple[int, bool, str]:
        quantized = bool(record.provenance.annotations.get("quantized"))
        return rank.get(record.kind, 0), quantized, record.provenance.finished.isoformat()

    return max(records, key=worth)


def _under(record: Record, folder: Path) -> bool:
    return record.folder is not None and record.folder.is_relative_to(folder.resolve())
