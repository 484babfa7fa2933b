"""Small artifacts with provenance, as stages would leave them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aerodet.lineage import Provenance, write_provenance

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def artifact() -> Callable[..., Provenance]:
    """Return a function that writes an artifact of the files given and its provenance."""

    def make(folder: Path, files: dict[str, str] | str = "content", **settings: Any) -> Provenance:
        folder.mkdir(parents=True)
        for name, content in ({"content.txt": files} if isinstance(files, str) else files).items():
            (folder / name).write_text(content)
        minutes = settings.pop("minutes", 0)
        return write_provenance(
            folder,
            **{
                "name": folder.name,
                "inputs": {},
                "stage": "train",
                "parameters": {},
                "started": START + timedelta(minutes=minutes),
                "finished": START + timedelta(minutes=minutes + 1),
                **settings,
            },
        )

    return make


@pytest.fixture
def chain(tmp_path: Path, artifact: Callable[..., Provenance]) -> Path:
    """A run: images, a model from them, an engine from it, an evaluation of the engine."""
    run = tmp_path / "run"
    artifact(run / "render" / "dataset", "images", stage="synthesize", annotations={"kind": "coco"})
    artifact(
        run / "train" / "model",
        {"model.pt": "weights", "spec.txt": "lr: 1"},
        inputs={"dataset": run / "render" / "dataset"},
        parameters={"name": "real", "seed": 7},
        annotations={"kind": "checkpoint"},
        minutes=1,
    )
    artifact(
        run / "export" / "bundle",
        {"model.engine": "plan", "model.onnx": "graph"},
        stage="export",
        inputs={"model": run / "train" / "model"},
        annotations={"kind": "engine"},
        minutes=2,
    )
    artifact(
        run / "evaluate" / "evaluation",
        "figures",
        stage="evaluate",
        inputs={"model": run / "export" / "bundle", "dataset": run / "render" / "dataset"},
        parameters={"graph": "model.onnx"},
        annotations={"kind": "evaluation", "metrics": {"ap50": 90.5}},
        minutes=3,
    )
    return run
