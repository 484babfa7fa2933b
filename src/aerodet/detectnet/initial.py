"""What a training starts from, and what of it stays as it is."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from aerodet.detectnet.checkpoint import load_model
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.quantize import is_quantized, prepare_qat
from aerodet.detectnet.settings import Settings
from aerodet.errors import SpecError

__all__ = ["freeze", "freeze_statistics", "initial_model"]


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


def freeze(model: DetectNet, settings: Settings) -> None:
    """Take the blocks that are not trained out of training, their parameters at least."""
    for name, parameter in model.named_parameters():
        if _frozen(name, settings):
            parameter.requires_grad_(False)


def freeze_statistics(model: DetectNet, settings: Settings) -> None:
    """Keep the batch statistics that are not to follow the pictures; call it after ``model.train()``."""
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d) and (settings.training.freeze_bn or _frozen(name, settings)):
            module.eval()


def _frozen(name: str, settings: Settings) -> bool:
    """Say whether ``freeze_blocks`` names a module or parameter: 0 the first convolution, 1 to 4 the stages."""
    blocks = settings.training.freeze_blocks
    return any(name.startswith(f"block_{block}" if block else ("conv1", "bn_conv1")) for block in blocks)
