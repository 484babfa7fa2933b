"""The software bill of materials of a model version, CycloneDX 1.6: its files, and the libraries that made them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

import aerodet

__all__ = ["make_sbom"]

_SPACE = uuid.UUID("6f6f5f0e-7d0c-5d0a-9d4e-0a6d1f6c7b11")  # serial numbers of ours


def make_sbom(
    name: str, digest: str, files: Mapping[str, str], inputs: Mapping[str, str], created: datetime
) -> dict[str, Any]:
    """List what a model version consists of.

    Args:
        name: the registered model.
        digest: SHA-256 of its engines and graphs.
        files: SHA-256 of its files, by path.
        inputs: SHA-256 of what it was made from, by name: data sets, checkpoints.
        created: when it was made, UTC.

    Returns:
        A CycloneDX document, the same for the same arguments and environment.
    """
    model = Component(
        name=name,
        version=digest[:16],
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"model:{digest}",
        hashes=[_hash(digest)],
        properties=[Property(name="aerodet:digest", value="SHA-256 over the names and digests of engines and graphs")],
    )
    bom = Bom(
        serial_number=uuid.uuid5(_SPACE, json.dumps([name, dict(files), dict(inputs)], sort_keys=True)),
        metadata=BomMetaData(component=model, timestamp=created),
    )
    parts = [_part(path, value, ComponentType.FILE, "file") for path, value in sorted(files.items())]
    parts += [_part(label, value, ComponentType.DATA, "input") for label, value in sorted(inputs.items())]
    libraries, needs = _libraries()
    for component in (*parts, *libraries.values()):
        bom.components.add(component)
    root = libraries.get("aerodet")
    bom.register_dependency(model, [*parts, *([root] if root else [])])
    for key, component in libraries.items():
        bom.register_dependency(component, [libraries[other] for other in sorted(needs[key])])
    document: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    return document


def _part(name: str, digest: str, kind: ComponentType, prefix: str) -> Component:
    return Component(name=name, type=kind, bom_ref=f"{prefix}:{name}", hashes=[_hash(digest)])


def _hash(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def _libraries() -> tuple[dict[str, Component], dict[str, set[str]]]:
    """Return aerodet and what it needs that is installed, at any depth, and who needs whom; extras are left out."""
    installed = {_key(d.metadata["Name"]): d for d in metadata.distributions() if d.metadata["Name"]}
    found: dict[str, Component] = {}
    needs: dict[str, set[str]] = {}
    waiting = ["aerodet"] if "aerodet" in installed else []
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        distribution = installed[key]
        version = distribution.version if key != "aerodet" else aerodet.__version__
        purl = PackageURL("pypi", name=key, version=version)
        found[key] = Component(
            name=distribution.metadata["Name"],
            version=version,
            type=ComponentType.LIBRARY,
            purl=purl,
            bom_ref=purl.to_string(),
        )
        wanted = [Requirement(text) for text in distribution.requires or ()]
        needs[key] = {
            _key(r.name) for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})
        } & installed.keys()
        waiting += sorted(needs[key])
    return found, needs


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
