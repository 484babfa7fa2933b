"""DetectNet_v2 on a ResNet backbone: one stride-16 grid of coverage and box outputs.

Layer names, order, padding and parameter counts are those of the TAO Toolkit's TF1 template
(``nvidia_tao_tf1/core/templates/resnet.py``), so that a weight keeps its address in either framework: the module
``block_1a.conv_1`` here is the layer ``block_1a_conv_1`` there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from aerodet.errors import SpecError

__all__ = ["STRIDE", "Architecture", "Block", "DetectNet", "channels_last", "count_parameters"]

STRIDE = 16
_BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
_STAGE_CHANNELS = (64, 128, 256, 512)
_STAGE_STRIDES = (2, 2, 2, 1)  # the last stage keeps the grid at stride 16
_BN_EPSILON = 1e-3
_LEAST = 16  # channels; TAO prunes to no fewer, and torch 2.13's CPU backward of a strided 1×1 convolution crashes at 8


@dataclass(frozen=True)
class Architecture:
    """What is needed to build a :class:`DetectNet`, pruned or not; it travels inside every checkpoint.

    Args:
        layers: 10, 18 or 34.
        num_classes: classes to detect.
        width: multiplies the 64 to 512 channels of the backbone (rounded to multiples of 8, at
            least 16); 1.0 is TAO's network.
        all_projections: put a 1×1 projection on every shortcut, not only on those that change shape.
        use_batch_norm: put a batch normalisation behind every convolution of the backbone.
        bn_momentum: share of the running statistics kept at each step, the Keras way (TAO: 0.99).
        channels: output channels by TAO layer name, for pruned networks; layers not named have their full number.

    Raises:
        SpecError: ``layers`` is not supported, or a number is out of range.
    """

    layers: int = 18
    num_classes: int = 1
    width: float = 1.0
    all_projections: bool = False
    use_batch_norm: bool = True
    bn_momentum: float = 0.99
    channels: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.layers not in _BLOCKS:
            raise SpecError(f"resnet{self.layers} is not supported; choose one of resnet10, resnet18, resnet34")
        if self.num_classes < 1:
            raise SpecError(f"num_classes must be at least 1, not {self.num_classes}")
        if not 0 < self.width <= 4:
            raise SpecError(f"width must be above 0 and at most 4, not {self.width}")
        if not 0 < self.bn_momentum < 1:
            raise SpecError(f"bn_momentum must be above 0 and below 1, not {self.bn_momentum}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form; ``Architecture(**value)`` reads it back."""
        return {**asdict(self), "channels": dict(self.channels)}

    def out_channels(self, layer: str, full: int) -> int:
        """Return the output channels of a backbone layer whose full-width number is ``full``."""
        return self.channels.get(layer, max(_LEAST, int(full * self.width + 4) // 8 * 8))

    def blocks(self) -> Iterator[tuple[str, int, int, bool]]:
        """Yield (name, full channels, stride, has projection) of every residual block, in order."""
        for stage, count in enumerate(_BLOCKS[self.layers]):
            for index in range(count):
                projected = index == 0 or self.all_projections
                stride = _STAGE_STRIDES[stage] if index == 0 else 1
                yield f"block_{stage + 1}{chr(ord('a') + index)}", _STAGE_CHANNELS[stage], stride, projected


class Block(nn.Module):
    """A basic residual block.

    The ``q_*`` members mark the places where TAO quantises activations; they are identities until
    :func:`aerodet.detectnet.quantize.prepare_qat` fills them.
    """

    def __init__(
        self, architecture: Architecture, name: str, inputs: int, full: int, stride: int, *, projected: bool
    ) -> None:
        super().__init__()
        middle = architecture.out_channels(f"{name}_conv_1", full)
        self.out_channels = architecture.out_channels(f"{name}_conv_2", full)
        self.conv_1 = nn.Conv2d(inputs, middle, 3, stride, 1)
        self.bn_1 = _norm(architecture, middle)
        self.conv_2 = nn.Conv2d(middle, self.out_channels, 3, 1, 1)
        self.bn_2 = _norm(architecture, self.out_channels)
        self.conv_shortcut: nn.Conv2d | None = None
        self.bn_shortcut: nn.Module | None = None
        if projected:
            self.conv_shortcut = nn.Conv2d(inputs, self.out_channels, 1, stride, 0)
            self.bn_shortcut = _norm(architecture, self.out_channels)
        elif inputs != self.out_channels:
            raise SpecError(f"{name} has an identity shortcut, so its {self.out_channels} channels must be {inputs}")
        self.relu_1: nn.Module = nn.ReLU()
        self.relu: nn.Module = nn.ReLU()
        self.q_relu_1: nn.Module = nn.Identity()
        self.q_bn_2: nn.Module = nn.Identity()
        self.q_shortcut: nn.Module = nn.Identity()
        self.q_add: nn.Module = nn.Identity()
        self.q_relu: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in, h, w] to [N, out, h/stride, w/stride]."""
        y = self.q_relu_1(self.relu_1(_normalized(self.conv_1, self.bn_1, x)))
        y = self.q_bn_2(_normalized(self.conv_2, self.bn_2, y))
        if self.conv_shortcut is not None and self.bn_shortcut is not None:
            x = self.q_shortcut(_normalized(self.conv_shortcut, self.bn_shortcut, x))
        out: Tensor = self.q_relu(self.relu(self.q_add(y + x)))
        return out


class DetectNet(nn.Module):
    """The detector.

    Args:
        architecture: its shape; the keyword form ``DetectNet(layers=18, num_classes=1)`` builds one.

    Example:
        >>> cov, bbox = DetectNet(layers=18, num_classes=1)(torch.zeros(1, 3, 512, 512))
        >>> cov.shape, bbox.shape
        (torch.Size([1, 1, 32, 32]), torch.Size([1, 4, 32, 32]))
    """

    def __init__(self, architecture: Architecture | None = None, **options: Any) -> None:
        super().__init__()
        self.architecture = architecture = architecture or Architecture(**options)
        width = architecture.out_channels("conv1", _STAGE_CHANNELS[0])
        self.q_input: nn.Module = nn.Identity()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3)
        self.bn_conv1 = _norm(architecture, width)
        self.relu: nn.Module = nn.ReLU()
        self.q_relu: nn.Module = nn.Identity()
        self.block_names: list[str] = []
        for name, full, stride, projected in architecture.blocks():
            block = Block(architecture, name, width, full, stride, projected=projected)
            self.add_module(name, block)
            self.block_names.append(name)
            width = block.out_channels
        self.output_bbox = nn.Conv2d(width, 4 * architecture.num_classes, 1)
        self.output_cov = nn.Conv2d(width, architecture.num_classes, 1)
        self._initialise()

    def blocks(self) -> Iterator[tuple[str, Block]]:
        """Yield (name, block) of the residual blocks, in order."""
        for name in self.block_names:
            block = getattr(self, name)
            yield name, block

    def features(self, images: Tensor) -> Tensor:
        """Map images [N, 3, H, W] in 0..1 (RGB) to the last feature map [N, D, H/16, W/16]."""
        x: Tensor = self.q_relu(self.relu(_normalized(self.conv1, self.bn_conv1, self.q_input(images))))
        for _, block in self.blocks():
            x = block(x)
        return x

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Detect.

        Args:
            images: [N, 3, H, W] RGB in 0..1; H and W multiples of 16.

        Returns:
            Coverage [N, C, H/16, W/16] in 0..1 and box distances [N, 4C, H/16, W/16] (left, top, right, bottom of class
            c in channels 4c to 4c+3), both float32.
        """
        return self.heads(self.features(images))

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map the last feature map [N, D, h, w] to coverage and box distances, see :meth:`forward`."""
        return torch.sigmoid(self.output_cov(x).float()), self.output_bbox(x).float()

    def convolutions(self) -> Iterator[tuple[str, nn.Conv2d]]:
        """Yield (TAO layer name, module) of every backbone convolution; the two heads are not among them."""
        yield "conv1", self.conv1
        for name, block in self.blocks():
            yield f"{name}_conv_1", block.conv_1
            yield f"{name}_conv_2", block.conv_2
            if block.conv_shortcut is not None:
                yield f"{name}_conv_shortcut", block.conv_shortcut

    def _initialise(self) -> None:
        """Glorot-uniform kernels and zero biases, as Keras does."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def channels_last(model: DetectNet) -> DetectNet:
    """Put the kernels into the memory order that convolutions run fastest in, in place."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Count a model's parameters as Keras counts them: the batch-norm statistics are non-trainable parameters.

    Returns:
        ``total``, ``trainable`` and ``non_trainable``. ResNet18 with one class: 11,197,893, 11,188,165 and 9,728.
    """
    trainable = sum(p.numel() for p in model.parameters())
    statistics = sum(
        m.running_mean.numel() + m.running_var.numel()
        for m in model.modules()
        if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None and m.running_var is not None
    )
    return {"total": trainable + statistics, "trainable": trainable, "non_trainable": statistics}


def _norm(architecture: Architecture, channels: int) -> nn.Module:
    if not architecture.use_batch_norm:
        return nn.Identity()
    return nn.BatchNorm2d(channels, eps=_BN_EPSILON, momentum=1.0 - architecture.bn_momentum)


def _normalized(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """Convolve and normalise, without the bias where the mean of the batch takes it off again.

    TAO's convolutions have a bias in front of batch normalisation. While the statistics are the batch's it changes
    nothing but the mean that is kept, and its gradient is zero; but to add it and to sum that gradient all activations
    are read twice and written once, 15 % of a training's time (H200, recorded steps, 30 November 2026).
    """
    if not (isinstance(norm, nn.BatchNorm2d) and norm.training and norm.momentum) or conv.bias is None:
        return norm(conv(x))  # type: ignore[no-any-return]
    if norm.running_mean is not None:
        # Batch norm keeps a share of 1 - momentum of it. It saves it for a backward pass that does not read it: hence
        # .data, or a second forward pass before the backward one of the first would be refused.
        norm.running_mean.data.add_(conv.bias.detach(), alpha=norm.momentum / (1 - norm.momentum))
    return norm(conv._conv_forward(x, conv.weight, None))  # type: ignore[no-any-return]
