"""What is published of a run: the export, its figures, the gate's verdict, model card, SBOM, provenance, signature."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from aerodet.errors import DataError
from aerodet.files import PROVENANCE, file_digest, read_json, write_json, write_text
from aerodet.lineage import Provenance, code_version, read_provenance, upstream
from aerodet.registry._bundle import Bundle
from aerodet.registry.card import Card, card_html, card_markdown
from aerodet.registry.sbom import make_sbom
from aerodet.registry.sign import sign

__all__ = ["Package", "make_package"]

_FILES = {  # of the stages' artifacts, beside the export's own
    "evaluation": ("evaluation.json", "detections.json"),
    "benchmark": ("benchmark.json",),
    "gate": ("gate.json",),
}


@dataclass(frozen=True, slots=True)
class Package:
    """A folder ready to be published.

    Attributes:
        files: its files and folders, by their names in the version.
        digests: SHA-256 of what it was made from, by name.
    """

    files: Mapping[str, Path]
    digests: Mapping[str, str]


def make_package(
    folder: Path, inputs: Mapping[str, Path], *, name: str, run_id: str, key: Path | None = None
) -> Package:
    """Put together what is published.

    Args:
        folder: to be filled.
        inputs: artifacts: ``bundle``, ``evaluation``, ``benchmark`` and, where there is one, ``gate``.
        name: the registered model.
        run_id: the run that made it.
        key: private key to sign with; None signs nothing.

    Returns:
        The files and digests; the provenance of all that lies in the run's folder is among the files.

    Raises:
        DataError: an artifact has no provenance.
        RegistryError: there is no engine or no graph.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(path for path in inputs["bundle"].rglob("*") if path.is_file()):
        _copy(source, folder / source.relative_to(inputs["bundle"]))
    for label, names in _FILES.items():
        for file in names:
            if label in inputs and (inputs[label] / file).is_file():
                _copy(inputs[label] / file, folder / file)
    statements = dict(_statements(inputs))
    for digest, (provenance, path) in statements.items():
        label = re.sub(r"[^\w.-]", "_", f"{provenance.stage}-{provenance.name}")
        _copy(path, folder / "provenance" / f"{label}-{digest[:12]}.json")
    digests = _digests(inputs, [provenance for provenance, _ in statements.values()])
    bundle = Bundle.collect(_listed(folder))
    _describe(folder, inputs, bundle, [provenance for provenance, _ in statements.values()], name, run_id, key)
    created = max(provenance.finished for provenance, _ in statements.values())
    _bill(folder, name, digests, bundle.digest, created)
    if key is not None:
        sign(folder, key)
    return Package(_listed(folder), digests)


def _describe(
    folder: Path,
    inputs: Mapping[str, Path],
    bundle: Bundle,
    provenance: list[Provenance],
    name: str,
    run_id: str,
    key: Path | None,
) -> None:
    card = Card(
        name=name,
        digest=bundle.digest,
        run_id=run_id,
        code=code_version().label,
        bundle=read_json(inputs["bundle"] / "files.json"),
        evaluation=read_json(inputs["evaluation"] / "evaluation.json"),
        benchmark=read_json(inputs["benchmark"] / "benchmark.json"),
        gate=read_json(inputs["gate"] / "gate.json") if "gate" in inputs else None,
        provenance=sorted(provenance, key=lambda item: (item.finished, item.name)),
        signed=key is not None,
    )
    write_text(folder / "card.html", card_html(card))
    write_text(folder / "card.md", card_markdown(card))


def _bill(folder: Path, name: str, digests: Mapping[str, str], digest: str, created: datetime) -> None:
    files = {path.relative_to(folder).as_posix(): file_digest(path) for path in folder.rglob("*") if path.is_file()}
    write_json(folder / "sbom.cdx.json", make_sbom(name, digest, files, digests, created))


def _statements(inputs: Mapping[str, Path]) -> Iterator[tuple[str, tuple[Provenance, Path]]]:
    """Yield digest, provenance and its file of the artifacts and of all they were made from that lies beside them."""
    common = Path(os.path.commonpath([path.absolute() for path in inputs.values()]))
    roots = [common] if common != Path(common.anchor) else []  # a walk over the whole disk would find nothing more
    files: dict[str, Path] = {}
    for path in (found for root in roots for found in sorted(root.rglob(PROVENANCE))):
        try:
            files.setdefault(read_provenance(path.parent).digest, path)
        except DataError:  # somebody else's provenance.json
            continue
    for source in inputs.values():
        own = read_provenance(source)
        yield own.digest, (own, source / PROVENANCE)
        for ancestor in upstream(source, roots):
            if ancestor.provenance is not None:
                yield ancestor.provenance.digest, (ancestor.provenance, files[ancestor.provenance.digest])


def _digests(inputs: Mapping[str, Path], provenance: list[Provenance]) -> dict[str, str]:
    """Return what the version was made from: the stages' artifacts, the test set, and all further up."""
    digests = {label: read_provenance(path).digest for label, path in inputs.items()}
    tested = read_provenance(inputs["evaluation"]).inputs.get("dataset")
    if tested is not None:
        digests["test"] = tested.digest
    named = set(digests.values())
    for item in provenance:
        for label, reference in sorted(item.inputs.items()):
            if reference.digest not in named:
                digests[f"upstream.{label}.{reference.digest[:8]}"] = reference.digest
                named.add(reference.digest)
    return digests


def _listed(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(folder.iterdir())}


def _copy(source: Path, target: Path) -> None:
    """Link a file where that is possible: engines are large, and the registry copies them anyway."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
