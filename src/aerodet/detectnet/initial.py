"""What a training starts from."""

from __future__ import annotations

from pathlib import Path

from aerodet.detectnet.checkpoint import load_model
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.quantize import is_quantized, prepare_qat
from aerodet.detectnet.settings import Settings
from aerodet.errors import SpecError

__all__ = ["initial_model"]


def initial_model(settings: Settings, init: Path | None) -> DetectNet:
    """Build the model that training starts from, with TAO's rules.

    Without ``load_graph`` a checkpoint gives its backbone only, layer by layer where the shapes fit, and the heads
    start anew. With it the whole model is taken, pruned or not; its classes must be those of the spec.

    Args:
        settings: the experiment.
        init: the checkpoint; by default the spec's ``pretrained_model_file``, if it names one.

    Raises:
        SpecError: ``load_graph`` without a checkpoint, classes that differ, or a checkpoint of which no layer fits.
        DataError: the checkpoint is missing or unreadable.
    """
    if init is None and settings.training.pretrained:
        init = Path(settings.training.pretrained)
    if init is None:
        if settings.training.load_graph:
            raise SpecError("load_graph is true, but there is no pretrained model to load")
        model = DetectNet(settings.architecture)
    elif settings.training.load_graph:
        model, content = load_model(init)
        if tuple(content["classes"]) != tuple(settings.classes):
            raise SpecError(
                f"the loaded graph detects {', '.join(content['classes'])}, the spec {', '.join(settings.classes)}; "
                "set load_graph to false to start new heads"
            )
    else:
        model = DetectNet(settings.architecture)
        if not _copy_backbone(load_model(init)[0], model):
            raise SpecError(f"no layer of {init} fits the spec's network; give both the same width or leave it out")
    if settings.training.enable_qat and not is_quantized(model):
        prepare_qat(model)
    return model


def _copy_backbone(source: DetectNet, target: DetectNet) -> int:
    """Copy tensors by name where the shapes fit, but for the heads; return how many kernels were copied."""
    wanted, copied = target.state_dict(), 0
    for name, value in source.state_dict().items():
        if not name.startswith("output_") and name in wanted and wanted[name].shape == value.shape:
            wanted[name] = value
            copied += value.dim() == 4
    target.load_state_dict(wanted)
    return copied
