"""Checkpoints: one file that is complete in itself."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aerodet.detectnet.model import Architecture, DetectNet
from aerodet.detectnet.quantize import is_quantized, prepare_qat
from aerodet.errors import DataError
from aerodet.files import atomic_path

__all__ = ["load_checkpoint", "load_model", "save_checkpoint"]

_FORMAT = 1


def save_checkpoint(
    path: Path,
    model: DetectNet,
    *,
    spec: str,
    classes: tuple[str, ...],
    weights: dict[str, Tensor] | None = None,
    **extra: Any,
) -> None:
    """Write a checkpoint by rename.

    Args:
        path: the ``.pt`` file.
        model: its shape and quantisation are kept, and its weights unless ``weights`` are others.
        weights: a state dictionary of the model.
        spec: the experiment spec, protobuf text.
        classes: class names in channel order.
        extra: what else training needs to go on (optimiser state, epoch…).
    """
    content = {
        "format": _FORMAT,
        "architecture": model.architecture.to_dict(),
        "quantized": is_quantized(model),
        "weights": weights if weights is not None else model.state_dict(),
        "spec": spec,
        "classes": tuple(classes),
        **extra,
    }
    # Through memory: torch writes a path's own name into the file, and makes a RuntimeError of a full disk.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint's dictionary; a folder stands for its ``model.pt``.

    Raises:
        DataError: there is no such file, or it is not a checkpoint of aerodet.
    """
    path = path / "model.pt" if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"there is no checkpoint {path}")
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is not its own
        raise DataError(f"{path} is not a readable checkpoint ({type(error).__name__}); make it again") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise DataError(f"{path} is not a checkpoint that this version of aerodet reads")
    return content


def load_model(path: Path, device: torch.device | str = "cpu") -> tuple[DetectNet, dict[str, Any]]:
    """Rebuild the model of a checkpoint, in evaluation mode.

    Returns:
        The model and the checkpoint's dictionary.

    Raises:
        DataError: see :func:`load_checkpoint`.
    """
    content = load_checkpoint(path, device)
    model = DetectNet(Architecture(**content["architecture"]))
    if content["quantized"]:
        prepare_qat(model)
    model.load_state_dict(content["weights"])
    return model.to(device).eval(), content
