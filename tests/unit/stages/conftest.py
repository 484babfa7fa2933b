"""Artifacts as a stage sees them, and small image sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aerodet.data import ImageRecord, ImageSetWriter
from aerodet.lineage import provenance, write_provenance


@dataclass
class FakeArtifact:
    """The members of a KFP artifact that a stage uses."""

    path: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return f"store://bucket{self.path}"


@pytest.fixture
def artifact(tmp_path: Path) -> Callable[..., FakeArtifact]:
    """Return a function that makes an artifact by its name; nothing is at its path yet."""

    def make(name: str, **metadata: Any) -> FakeArtifact:
        return FakeArtifact(str(tmp_path / "artifacts" / name), metadata)

    return make


@pytest.fixture
def made_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], Path]:
    """Return a function that writes an artifact's provenance as a machine with a GPU would."""

    def make(folder: Path, gpu: str) -> Path:
        now = datetime.now(UTC)
        with monkeypatch.context() as patch:
            patch.setattr(provenance, "hardware", lambda: {"cpu": "Xeon", "cores": 8, "memory_mib": 1024, "gpu": gpu})
            write_provenance(folder, name=folder.name, inputs={}, stage="s", parameters={}, started=now, finished=now)
        return folder

    return make


@pytest.fixture
def image_set() -> Callable[..., Path]:
    """Return a function that writes an image set of noise, with one box an image and two images a place."""

    def write(folder: Path, count: int = 8, *, size: int = 64, seed: int = 0, place: str = "place") -> Path:
        generator = np.random.default_rng(seed)
        with ImageSetWriter(folder, ("aircraft",)) as writer:
            for number in range(1, count + 1):
                writer.add(
                    ImageRecord(
                        number,
                        f"image_{number}.png",
                        size,
                        size,
                        f"{place}_{number // 2}",
                        np.array([[8, 8, 40, 24]], np.float32),
                        np.zeros(1, np.int64),
                    ),
                    generator.integers(0, 256, (size, size, 3), dtype=np.uint8),
                )
        return folder

    return write
