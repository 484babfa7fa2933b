"""A network as the configuration that Keras 2.2.4 keeps of a functional model."""

from __future__ import annotations

from typing import Any

from torch import nn

from aerodet.detectnet.model import DetectNet

__all__ = ["model_config"]

_ZEROS: dict[str, Any] = {"class_name": "Zeros", "config": {}}
_ONES: dict[str, Any] = {"class_name": "Ones", "config": {}}
_GLOROT: dict[str, Any] = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None},
}


def model_config(model: DetectNet, size: tuple[int, int]) -> dict[str, Any]:
    """Return the configuration of a network: layers, how they follow each other, inputs and outputs.

    Padding is ``same``, which TAO's Keras pads on both sides alike. Regularisers are left out: a training puts in those
    of its spec.

    Args:
        model: without fake quantisation.
        size: (height, width) of the input in pixels.
    """
    drawing = _Drawing()
    x = drawing.add(
        "InputLayer", "input_1", {"batch_input_shape": [None, 3, *size], "dtype": "float32", "sparse": False}
    )
    x = drawing.relu("activation_1", drawing.convolution("conv1", model.conv1, model.bn_conv1, x))
    for index, (name, block) in enumerate(model.blocks(), start=1):
        y = drawing.relu(f"{name}_relu_1", drawing.convolution(f"{name}_conv_1", block.conv_1, block.bn_1, x))
        y = drawing.convolution(f"{name}_conv_2", block.conv_2, block.bn_2, y)
        if block.conv_shortcut is not None:
            x = drawing.convolution(f"{name}_conv_shortcut", block.conv_shortcut, block.bn_shortcut, x)
        x = drawing.relu(f"{name}_relu", drawing.add("Add", f"add_{index}", {"trainable": True}, y, x))
    drawing.convolution("output_bbox", model.output_bbox, None, x)
    drawing.convolution("output_cov", model.output_cov, None, x, activation="sigmoid")
    norm = "_bn" if model.architecture.use_batch_norm else ""
    return {
        "class_name": "Model",
        "config": {
            "name": f"resnet{model.architecture.layers}_nopool{norm}_detectnet_v2",
            "layers": drawing.layers,
            "input_layers": [["input_1", 0, 0]],
            "output_layers": [["output_bbox", 0, 0], ["output_cov", 0, 0]],
        },
    }


class _Drawing:
    """Collects layers; each method adds some and returns the name of the last."""

    def __init__(self) -> None:
        self.layers: list[dict[str, Any]] = []

    def add(self, kind: str, name: str, config: dict[str, Any], *inputs: str) -> str:
        """Add a layer."""
        nodes = [[[source, 0, 0, {}] for source in inputs]] if inputs else []
        self.layers.append(
            {"name": name, "class_name": kind, "config": {"name": name, **config}, "inbound_nodes": nodes}
        )
        return name

    def relu(self, name: str, x: str) -> str:
        """Add a ReLU."""
        return self.add("Activation", name, {"trainable": True, "activation": "relu"}, x)

    def convolution(
        self, name: str, conv: nn.Conv2d, norm: nn.Module | None, x: str, *, activation: str = "linear"
    ) -> str:
        """Add a convolution and the batch normalisation behind it."""
        nothing = dict.fromkeys(
            ("kernel_regularizer", "bias_regularizer", "activity_regularizer", "kernel_constraint", "bias_constraint")
        )
        config = {
            "trainable": True,
            "filters": conv.out_channels,
            "kernel_size": list(conv.kernel_size),
            "strides": list(conv.stride),
            "padding": "same",
            "data_format": "channels_first",
            "dilation_rate": [1, 1],
            "activation": activation,
            "use_bias": True,
            "kernel_initializer": _GLOROT,
            "bias_initializer": _ZEROS,
            **nothing,
        }
        x = self.add("Conv2D", name, config, x)
        if not isinstance(norm, nn.BatchNorm2d):
            return x
        return self.add(
            "BatchNormalization",
            "bn_conv1" if name == "conv1" else name.replace("_conv_", "_bn_"),
            {
                "trainable": True,
                "axis": 1,
                "momentum": 1.0 - float(norm.momentum or 0.0),
                "epsilon": norm.eps,
                "center": True,
                "scale": True,
                "beta_initializer": _ZEROS,
                "gamma_initializer": _ONES,
                "moving_mean_initializer": _ZEROS,
                "moving_variance_initializer": _ONES,
                **dict.fromkeys(("beta_regularizer", "gamma_regularizer", "beta_constraint", "gamma_constraint")),
            },
            x,
        )
