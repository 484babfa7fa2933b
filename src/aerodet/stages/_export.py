"""Stages that hand the model over: export and publish."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aerodet.deploy import available_builder, write_bundle
from aerodet.detectnet.checkpoint import load_model
from aerodet.detectnet.model import count_parameters
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import parse_spec
from aerodet.errors import MachineError, SpecError
from aerodet.files import read_json, write_json
from aerodet.lineage import read_provenance
from aerodet.registry import open_registry
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
    *, bundle: Path, evaluation: Path, benchmark: Path, version: Path, registry: str, name: str, run_id: str
) -> Outcome:
    """Publish an INT8 export to the model registry; one without an engine is not published.

    Args:
        bundle: the export.
        evaluation: of its INT8 graph.
        benchmark: its latency.
        version: receives ``version.json``: ``published`` and either ``name, version, uri, digest`` or the ``reason``.
        registry: address.
        name: registered model.
        run_id: the run that made it.

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
    inputs = {"bundle": bundle, "evaluation": evaluation, "benchmark": benchmark}
    entry = open_registry(registry).publish(
        name,
        {
            **{path.name: path for path in sorted(bundle.iterdir())},
            "evaluation.json": evaluation / "evaluation.json",
            "benchmark.json": benchmark / "benchmark.json",
        },
        digests={label: read_provenance(path).digest for label, path in inputs.items()},
        metrics={
            "ap50": figures["ap50"],
            "ap75": figures["ap75"],
            "median_ms": timings["int8"]["median_ms"],
            "throughput_ratio": timings["ratio"],
        },
        parameters={"params_total": read_json(bundle / "files.json")["parameters"]},
        run_id=run_id,
    )
    facts: dict[str, Any] = {"name": entry.name, "version": entry.version, "uri": entry.uri, "digest": entry.digest}
    write_json(version / "version.json", {"published": True, **facts})
    metadata["version"] |= {"uri": entry.uri, "model": entry.name, "version": str(entry.version)}
    return Outcome(metadata, {"published": 1.0, "version": float(entry.version)})


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
