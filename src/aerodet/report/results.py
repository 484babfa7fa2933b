"""``results.json``: the figures of a run that programs compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Measurement", "results_json"]

ARMS = ("real", "synthetic", "finetune")


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured of one model; a step fills what it knows.

    Attributes:
        ap50: COCO AP50 on the test set, percent.
        params_total: number of parameters.
        file_bytes: size of the ONNX file.
        median_ms: median latency of one batch, milliseconds.
    """

    ap50: float | None = None
    params_total: int | None = None
    file_bytes: int | None = None
    median_ms: float | None = None

    def figures(self, *names: str) -> dict[str, Any]:
        """Return the named figures for JSON.

        Raises:
            ValueError: one of them was not measured.
        """
        found = {name: getattr(self, name) for name in names}
        missing = [name for name, value in found.items() if value is None]
        if missing:
            raise ValueError(f"results.json needs {', '.join(missing)}, which no stage measured")
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}


def results_json(
    *,
    arms: Mapping[str, Measurement],
    pruned: Measurement,
    retrained: Measurement,
    qat: Measurement,
    int8: Measurement,
    float32: Measurement,
    wall_seconds: float,
) -> dict[str, Any]:
    """Build the content of a run's ``results.json``.

    Args:
        arms: ``real``, ``synthetic`` and ``finetune``, each with ``ap50``.
        pruned: ``ap50`` and ``params_total``.
        retrained: ``ap50`` and ``params_total``.
        qat: ``ap50`` and ``params_total``.
        int8: ``ap50``, ``file_bytes`` and ``median_ms`` of the INT8 ONNX graph.
        float32: ``params_total``, ``file_bytes`` and ``median_ms`` of the unpruned float graph.
        wall_seconds: duration of the run.

    Returns:
        A JSON object with AP50 in percent, rounded to four decimals; two runs with one seed differ only in times.

    Raises:
        ValueError: a figure is missing, or the arms are not these three.
    """
    if set(arms) != set(ARMS):
        raise ValueError(f"results.json needs the arms {', '.join(ARMS)}; got {', '.join(sorted(arms)) or 'none'}")
    return {
        "arms": {name: arms[name].figures("ap50") for name in ARMS},
        "pruned": pruned.figures("ap50", "params_total"),
        "retrained": retrained.figures("ap50", "params_total"),
        "qat": qat.figures("ap50", "params_total"),
        "int8": int8.figures("ap50", "file_bytes", "median_ms"),
        "float": float32.figures("params_total", "file_bytes", "median_ms"),
        "wall_seconds": round(float(wall_seconds), 1),
    }
