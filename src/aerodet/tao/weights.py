"""TAO's ``.hdf5`` checkpoints (Keras 2.2.4) to and from :class:`~aerodet.detectnet.model.DetectNet`.

A weight keeps its address: the layer ``block_1a_conv_1`` there is the module ``block_1a.conv_1`` here. What differs is
the order of a kernel's axes, [h, w, in, out] there and [out, in, h, w] here, and the names of batch normalisation's
vectors. Files of TAO's pruning and quantisation-aware training are read too: the shapes tell the channels, and the
``scaling_factor`` of each ``*_qdq`` layer is the extent of the activation in front of it.

Sources: ``nvidia_tao_tf1/core/templates/resnet.py``, ``core/models/quantize_keras_model.py``; Keras 2.2.4's
``engine/saving.py`` for the layout of the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aerodet.detectnet.model import Architecture, DetectNet
from aerodet.detectnet.quantize import activation_quantizers, is_quantized, prepare_qat
from aerodet.errors import DataError, SpecError
from aerodet.files import atomic_path
from aerodet.tao._keras import model_config

__all__ = ["read_weights", "write_weights"]

_Layers = dict[str, dict[str, NDArray[np.float32]]]  # weights by layer, then by Keras's name of the weight

_BLOCKS = {(1, 1, 1, 1): 10, (2, 2, 2, 2): 18, (3, 4, 6, 3): 34}
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_CONV = {"kernel": "weight", "bias": "bias"}
_HEADS = ("output_bbox", "output_cov")
_SETTLED = 1_000_000  # steps after which a moving average is corrected no more: the extent is the number in the file
_KERAS = "2.2.4"


def read_weights(path: Path, *, num_classes: int | None = None) -> DetectNet:
    """Build the network of a TAO checkpoint, in evaluation mode.

    Args:
        path: the ``.hdf5`` file, of a whole model or of its weights alone.
        num_classes: makes new heads for so many classes where the file has none, as a pretrained backbone.

    Raises:
        DataError: the file cannot be read or is cut off, or is of another network; the sentence names the layers.
    """
    layers = _read(path)
    architecture = _architecture(layers, path, num_classes)
    model = DetectNet(architecture)
    if any(name.endswith("_qdq") for name in layers):
        prepare_qat(model)
    wanted = dict(_modules(model))
    if not set(_HEADS) & set(layers):
        wanted = {name: module for name, module in wanted.items() if name not in _HEADS}
    scales = {f"{_layer(name)}_qdq" for name in activation_quantizers(model)} if is_quantized(model) else set()
    _compare(set(wanted) | scales, set(layers), path)
    with torch.no_grad():
        for name, module in wanted.items():
            _fill(module, layers[name], name, path)
        if is_quantized(model):
            for name, quantizer in activation_quantizers(model).items():
                quantizer.average.fill_(float(_weight(layers, f"{_layer(name)}_qdq", "scaling_factor", path)))
                quantizer.steps.fill_(_SETTLED)
    return model.eval()


def write_weights(model: DetectNet, path: Path, *, size: tuple[int, int]) -> None:
    """Write a network as a Keras model that TAO loads, with its heads and its pruned shape.

    Args:
        model: without fake quantisation: TAO's ``enable_qat`` puts its own in, and learns its scales.
        path: the ``.hdf5`` file.
        size: (height, width) of the input in pixels.

    Raises:
        SpecError: the model has fake quantisation.
    """
    if is_quantized(model):
        raise SpecError(
            "fake quantisation is not written for TAO, which puts in its own; write the float model before it"
        )
    import h5py

    config = model_config(model, size)
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = _KERAS.encode(), b"tensorflow"
        file.attrs["model_config"] = json.dumps(config).encode()
        group = file.create_group("model_weights")
        group.attrs["backend"], group.attrs["keras_version"] = b"tensorflow", _KERAS.encode()
        modules = dict(_modules(model))
        names = [layer["name"] for layer in config["config"]["layers"]]
        group.attrs["layer_names"] = _texts(names)
        for name in names:
            layer = group.create_group(name)
            weights = dict(_weights(modules[name])) if name in modules else {}
            layer.attrs["weight_names"] = _texts(f"{name}/{key}:0" for key in weights)
            for key, value in weights.items():
                layer.create_dataset(f"{name}/{key}:0", data=value)


# -------------------------------------------------------------------------------------------------------- the file


def _read(path: Path) -> _Layers:
    """Read all weights; the layer is the folder that holds them, wherever the model's part of the file is."""
    import h5py

    if not path.is_file():
        raise DataError(f"there is no TAO checkpoint {path}")
    layers: _Layers = {}

    def visit(place: str, entry: Any) -> None:
        *above, layer, weight = ["", *place.split("/")]
        if isinstance(entry, h5py.Dataset) and "optimizer_weights" not in above:
            layers.setdefault(layer, {})[weight.partition(":")[0]] = np.asarray(entry[()], np.float32)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except (OSError, RuntimeError, KeyError, ValueError) as error:  # h5py's errors have no base of their own
        raise DataError(
            f"{path} is truncated or no HDF5 file ({error}); copy it again, or take an older checkpoint"
        ) from error
    if not layers:
        raise DataError(f"{path} holds no weights; name a .hdf5 of TAO 5, older .tlt files are encrypted")
    return layers


def _architecture(layers: _Layers, path: Path, num_classes: int | None) -> Architecture:
    """Tell the network from the names and shapes of its layers."""
    blocks = tuple(sum(f"block_{stage}{letter}_conv_1" in layers for letter in "abcdef") for stage in range(1, 5))
    if blocks not in _BLOCKS:
        raise DataError(
            f"{path} is not of a ResNet10, 18 or 34 of TAO: its stages have {', '.join(map(str, blocks))} blocks; "
            "the torch backend has no other networks"
        )
    if "output_cov" in layers:
        classes = _outputs(layers, "output_cov", path)
    elif num_classes is not None:
        classes = num_classes
    else:
        raise DataError(f"{path} has no layer output_cov: it is a backbone, not a detector")
    projected = "block_1b_conv_shortcut" in layers
    plain = Architecture(layers=_BLOCKS[blocks], num_classes=classes, all_projections=projected)
    full = {name: conv.out_channels for name, conv in DetectNet(plain).convolutions()}
    found = {name: _outputs(layers, name, path) for name in full if name in layers}
    return Architecture(
        layers=plain.layers,
        num_classes=classes,
        all_projections=projected,
        use_batch_norm="bn_conv1" in layers,
        channels={name: count for name, count in found.items() if count != full[name]},
    )


def _outputs(layers: _Layers, layer: str, path: Path) -> int:
    """Return a convolution's output channels."""
    kernel = _weight(layers, layer, "kernel", path)
    if kernel.ndim != 4:
        raise DataError(f"{path}: {layer}/kernel has the shape {kernel.shape}, which is no convolution's")
    return int(kernel.shape[-1])


def _weight(layers: _Layers, layer: str, weight: str, path: Path) -> NDArray[np.float32]:
    if weight not in layers.get(layer, {}):
        raise DataError(f"{path}: layer {layer} has no {weight}; the file is not whole, or not TAO's")
    return layers[layer][weight]


def _compare(wanted: set[str], found: set[str], path: Path) -> None:
    for names, what in ((wanted - found, "lacks layers"), (found - wanted, "has layers that the network has not")):
        if names:
            shown = ", ".join(sorted(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise DataError(f"{path} {what}: {shown}; it is of another network than TAO's DetectNet_v2 on a ResNet")


# ------------------------------------------------------------------------------------------------------- the layers


def _modules(model: DetectNet) -> Iterator[tuple[str, nn.Module]]:
    """Yield (Keras layer name, module) of everything that has weights."""
    pairs: list[tuple[str, nn.Module | None]] = [("conv1", model.conv1), ("bn_conv1", model.bn_conv1)]
    for name, block in model.blocks():
        for part in ("1", "2", "shortcut"):
            pairs += [(f"{name}_{kind}_{part}", getattr(block, f"{kind}_{part}")) for kind in ("conv", "bn")]
    pairs += [(head, getattr(model, head)) for head in _HEADS]
    yield from ((name, module) for name, module in pairs if module is not None and _names(module))


def _names(module: nn.Module) -> Mapping[str, str]:
    """Return the module's tensors by Keras's names; none where a batch normalisation is left out."""
    return _CONV if isinstance(module, nn.Conv2d) else _NORM if isinstance(module, nn.BatchNorm2d) else {}


def _weights(module: nn.Module) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for key, name in _names(module).items():
        tensor: Tensor = getattr(module, name)
        yield key, (tensor.permute(2, 3, 1, 0) if key == "kernel" else tensor).detach().cpu().contiguous().numpy()


def _fill(module: nn.Module, weights: Mapping[str, NDArray[np.float32]], layer: str, path: Path) -> None:
    for key, name in _names(module).items():
        value = torch.from_numpy(_weight({layer: dict(weights)}, layer, key, path))
        target: Tensor = getattr(module, name)
        value = value.permute(3, 2, 0, 1) if key == "kernel" and value.dim() == 4 else value
        if value.shape != target.shape:
            raise DataError(
                f"{path}: {layer}/{key} has the shape {tuple(value.shape)}, and the layers around it want "
                f"{tuple(target.shape)}; the file is of another network"
            )
        target.copy_(value)


def _texts(names: Iterable[str]) -> NDArray[np.bytes_]:
    """Return text of a fixed length, which Keras 2.2.4 decodes; a list of strings would come back to it as objects."""
    return np.asarray([name.encode() for name in names], dtype=np.bytes_)


def _layer(tensor: str) -> str:
    return tensor.partition("/")[0].partition(":")[0]
