"""Checkpoints that change back ends in the middle of the flow."""

from __future__ import annotations

from pathlib import Path

from aerodet.detectnet.checkpoint import load_model, save_checkpoint
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import Experiment, format_spec, parse_spec, read_spec
from aerodet.errors import DataError
from aerodet.files import atomic_path
from aerodet.tao.weights import read_weights, write_weights

__all__ = ["export_checkpoint", "import_checkpoint", "neutral_spec"]


def import_checkpoint(model: Path, spec: Path, folder: Path) -> DetectNet:
    """Write a TAO checkpoint as one of the torch backend: ``model.pt`` and ``spec.txt``.

    Args:
        model: the ``.hdf5`` file.
        spec: the experiment spec that trained it.
        folder: the new checkpoint.

    Returns:
        The network.

    Raises:
        SpecError: the spec cannot be read, or asks for what the torch backend does not have.
        DataError: the file is not such a checkpoint, or of other classes than the spec's.
    """
    experiment = read_spec(spec)
    classes = settings_of(experiment, spec.name).classes
    network = read_weights(model)
    if network.architecture.num_classes != len(classes):
        raise DataError(
            f"{model} detects {network.architecture.num_classes} classes and {spec} names {len(classes)} "
            f"({', '.join(classes)}); give the spec that trained it"
        )
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        text = neutral_spec(experiment)
        save_checkpoint(temporary / "model.pt", network, spec=text, classes=classes)
        (temporary / "spec.txt").write_text(text, encoding="utf-8")
    return network


def export_checkpoint(checkpoint: Path, model: Path) -> None:
    """Write a checkpoint of the torch backend as one that TAO loads.

    Args:
        checkpoint: its folder or file.
        model: the ``.hdf5`` file to write.

    Raises:
        DataError: there is no such checkpoint.
        SpecError: it has fake quantisation.
    """
    network, content = load_model(checkpoint)
    write_weights(network, model, size=settings_of(parse_spec(content["spec"])).size)


def neutral_spec(experiment: Experiment) -> str:
    """Return a spec as text without the place that its training started from, which exists in a container only."""
    copy = Experiment()
    copy.CopyFrom(experiment)
    copy.model_config.ClearField("pretrained_model_file")
    return format_spec(copy)
