"""Stages that hand the model over: export and publish."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aerodet.deploy import available_builder, write_bundle
from aerodet.detectnet.checkpoint import load_model
from aerodet.detectnet.model import count_parameters
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import parse_spec
from aerodet.errors import MachineError, RegistryError, SpecError
from aerodet.files import read_json, write_json
from aerodet.registry import ARCHIVED, Registry, Version, open_registry
from aerodet.registry.package import make_package
from aerodet.registry.sign import SIGNING_KEY, key_from_environment
from aerodet.stages._run import Outcome, stage

__all__ = ["BUNDLE", "export", "publish"]

BUNDLE = "aerodet/bundle/1"


@stage("bundle")
def export(
    *,
    model: Path,
    bundle: Path,
    engine: str,
    compute_capabilities: Sequence[str],
    batch: int = 16,
    tao: Path | None = None,
) -> Outcome:
    """Export a checkpoint for its consumers.

    Args:
        model: checkpoint, quantisation-aware for INT8 files.
        bundle: receives the graphs, engines, calibration files, labels and ``files.json``.
        engine: ``auto``: TensorRT engines where a builder is installed; ``none``.
        compute_capabilities: GPUs to build for where TensorRT has none of its own to build for.
        batch: largest batch of the engines.
        tao: results of ``tao_engine``, to be put beside them.

    Raises:
        DataError: what TAO left is not whole, or of another network.
        SpecError: ``engine`` is neither.
        MachineError: the builder fails.
    """
    network, content = load_model(model)
    classes = tuple(content["classes"])
    size = settings_of(parse_spec(content["spec"])).size
    engines = _engines(engine, compute_capabilities)
    written = write_bundle(
        network,
        bundle,
        spec=content["spec"],
        classes=classes,
        size=size,
        engines=engines,
        batch=(1, min(8, batch), batch),
        tao=tao,
    )
    counts = count_parameters(network)
    bytes_of = {entry["name"]: entry["bytes"] for entry in written["files"]}
    kind = "engine" if written["engines"] else "onnx"
    metadata = {"kind": kind, "schema": BUNDLE, "classes": ",".join(classes), "quantized": written["quantized"]}
    metrics = {"params_total": counts["total"], **{f"bytes {k}": v for k, v in bytes_of.items() if _is_main(k)}}
    return Outcome({"bundle": metadata}, metrics)


@stage("version")
def publish(
    *,
    bundle: Path,
    evaluation: Path,
    benchmark: Path,
    version: Path,
    registry: str,
    name: str,
    run_id: str,
    gate: Path | None = None,
) -> Outcome:
    """Publish an INT8 export to the model registry; one without an engine is not published.

    It is published as a challenger, and made champion if the gate let it pass. The key that ``AERODET_SIGNING_KEY``
    names signs it.

    Args:
        bundle: the export.
        evaluation: of its INT8 graph.
        benchmark: its latency.
        version: receives ``version.json``: ``published`` and either ``name, version, uri, digest, stage`` and a
            ``remark``, or the ``reason``.
        registry: address.
        name: registered model.
        run_id: the run that made it.
        gate: verdict of the gate; without one nothing is promoted.

    Raises:
        RegistryError: the registry refuses.
    """
    version.mkdir()
    metadata = {"version": {"kind": "version", "schema": "aerodet/version/1"}}
    if not list(bundle.glob("*.engine")):
        reason = "the export has no engine: install aerodet[tensorrt-rtx], or aerodet[tensorrt] beside a GPU"
        write_json(version / "version.json", {"published": False, "reason": reason})
        return Outcome(metadata, {"published": 0.0})
    figures, timings = read_json(evaluation / "evaluation.json"), read_json(benchmark / "benchmark.json")
    inputs = {"bundle": bundle, "evaluation": evaluation, "benchmark": benchmark} | ({"gate": gate} if gate else {})
    opened = open_registry(registry)
    with tempfile.TemporaryDirectory(prefix="aerodet-") as scratch:
        key = key_from_environment(SIGNING_KEY)
        package = make_package(Path(scratch), inputs, name=name, run_id=run_id, key=key)
        entry = opened.publish(
            name,
            package.files,
            digests=package.digests,
            metrics={
                "ap50": figures["ap50"],
                "ap75": figures["ap75"],
                "median_ms": timings["int8"]["median_ms"],
                "throughput_ratio": timings["ratio"],
            },
            parameters={"params_total": read_json(bundle / "files.json")["parameters"]},
            run_id=run_id,
        )
    entry, remark = _promote(opened, entry, read_json(gate / "gate.json") if gate else None)
    facts: dict[str, Any] = {"name": entry.name, "version": entry.version, "uri": entry.uri, "digest": entry.digest}
    facts |= {"stage": entry.stage, "remark": remark}
    write_json(version / "version.json", {"published": True, **facts})
    metadata["version"] |= {"uri": entry.uri, "model": entry.name, "version": str(entry.version), "stage": entry.stage}
    return Outcome(metadata, {"published": 1.0, "version": float(entry.version)})


def _promote(registry: Registry, entry: Version, verdict: dict[str, Any] | None) -> tuple[Version, str]:
    """Make a version champion if the gate says so; returns it as it is then, and why."""
    if verdict is None:
        return entry, "it was not judged, so a person promotes it"
    if not verdict["passed"]:
        failed = ", ".join(rule["name"] for rule in verdict["rules"] if rule["verdict"] == "failed")
        return entry, f"the gate did not let it pass: {failed}"
    if entry.stage == ARCHIVED:
        return entry, "it passed the gate, but this version was taken out of use before; a person brings it back"
    try:
        return registry.promote(entry.name, entry.version, instead_of=verdict["champion"]), "it passed the gate"
    except RegistryError as error:  # another run's model became champion since the gate looked
        return entry, str(error)


def _engines(engine: str, compute_capabilities: Sequence[str]) -> Sequence[str | None]:
    """Choose what to build: for this machine's own GPU if TensorRT can, else for the GPUs named, else nothing."""
    if engine not in ("auto", "none"):
        raise SpecError(f"engine is auto or none, not '{engine}'")
    if engine == "none":
        return ()
    try:
        builder, _ = available_builder()
    except MachineError:
        return ()  # nothing is installed; the export says so by having no engine, and publication refuses it
    return (None,) if builder == "tensorrt" else tuple(compute_capabilities)


def _is_main(name: str) -> bool:
    return name.endswith((".onnx", ".engine"))
