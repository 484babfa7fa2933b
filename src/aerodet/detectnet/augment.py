"""Augmentation of a whole batch at once, on whatever device it is.

Every picture is resampled once: flip, translation, zoom and rotation are composed into one matrix. Colour is one affine
map of the pixel. Formulas: TAO's ``augmentation_config`` as the TF1 loader applies it, with three readings of our own:
the vertical flip is applied (TAO parses it and forgets it), a rotated box bounds all four corners (TAO: two), and boxes
are clipped to the frame afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from aerodet.detectnet.device import send
from aerodet.metrics import IGNORED

__all__ = ["AugmentOptions", "Augmenter", "Changes", "change_images", "clip_boxes", "color_matrix", "move_boxes"]

_LUMA = torch.tensor([0.299, 0.587, 0.114])
_HUE = torch.tensor([[0.168, 0.330, -0.497], [-0.328, 0.035, 0.292], [1.25, -1.05, -0.203]])
_BACKGROUND = 0.5


@dataclass(frozen=True)
class AugmentOptions:
    """TAO's ``spatial_augmentation`` and ``color_augmentation``; the defaults change nothing.

    Args:
        hflip_probability: of a left-right mirror image.
        vflip_probability: of an upside-down mirror image.
        zoom_min: smallest zoom ratio; a picture is drawn at 1/ratio of its size.
        zoom_max: largest zoom ratio.
        translate_max_x: largest shift in whole pixels.
        translate_max_y: largest shift in whole pixels.
        rotate_max_degrees: largest angle; TAO calls it ``rotate_rad_max`` and reads degrees.
        rotate_probability: of a rotation.
        turn_probability: of a quarter turn, for frames as wide as high; ours: seen from above nothing is up, and boxes
            stay tight.
        color_shift_stddev: of one brightness offset for all channels.
        hue_rotation_max: degrees, two standard deviations.
        saturation_shift_max: largest relative change.
        contrast_scale_max: two standard deviations of the relative change.
        contrast_center: the grey value that contrast leaves alone.
    """

    hflip_probability: float = 0.0
    vflip_probability: float = 0.0
    zoom_min: float = 1.0
    zoom_max: float = 1.0
    translate_max_x: float = 0.0
    translate_max_y: float = 0.0
    rotate_max_degrees: float = 0.0
    rotate_probability: float = 1.0
    turn_probability: float = 0.0
    color_shift_stddev: float = 0.0
    hue_rotation_max: float = 0.0
    saturation_shift_max: float = 0.0
    contrast_scale_max: float = 0.0
    contrast_center: float = 0.5


def color_matrix(hue: Tensor, saturation: Tensor) -> Tensor:
    """Return the matrices that turn hue and scale saturation.

    ``out = Y + s·cos(h)·(I - Y) + s·sin(h)·K·I`` with Y the luma of I.

    Args:
        hue: [N] degrees.
        saturation: [N] factors.

    Returns:
        [N, 3, 3], applied to RGB columns.
    """
    luma = _LUMA.expand(3, 3)
    radians = torch.deg2rad(hue)
    cosine = (saturation * torch.cos(radians)).view(-1, 1, 1)
    sine = (saturation * torch.sin(radians)).view(-1, 1, 1)
    return luma + cosine * (torch.eye(3) - luma) + sine * _HUE


def clip_boxes(
    boxes: Tensor, labels: Tensor, size: tuple[int, int], min_visible: float = 0.25
) -> tuple[Tensor, Tensor]:
    """Clip boxes to the frame and leave out those of which too little is seen.

    TAO keeps boxes that reach past the frame, with their centres outside: it then teaches that a wing at the edge is
    background. Tiles are full of aircraft cut by their edges, and are labelled by what is seen of them.

    Args:
        boxes: [N, M, 4] x1, y1, x2, y2 in pixels.
        labels: [N, M], -1 for padding, -2 for regions to ignore.
        size: (H, W) of the frame.
        min_visible: least share of a box's area inside the frame.

    Returns:
        Clipped boxes, and labels with -2 for the boxes left out: what is seen of them is no background.
    """
    x, y = boxes[..., 0::2].clamp(0, size[1]), boxes[..., 1::2].clamp(0, size[0])
    clipped = torch.stack([x, y], dim=-1).flatten(-2)
    whole = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
    seen = (clipped[..., 2:] - clipped[..., :2]).prod(dim=-1)
    return clipped, labels.masked_fill((seen < min_visible * whole) & (labels >= 0), IGNORED)


class Changes(NamedTuple):
    """What was drawn for a batch, on the device of its images; None where there is nothing of the kind to do.

    Attributes:
        space: [N, 2, 3], from output pixels to the input's frame of -1..1.
        boxes: [N, 3, 3], from input to output pixels.
        color: [N, 3, 4], from RGB and 1 to RGB.
    """

    space: Tensor | None
    boxes: Tensor | None
    color: Tensor | None


class Augmenter:
    """Draws random changes for a batch and applies them to images and boxes.

    Args:
        options: which changes.
        generator: a CPU generator; the draws do not depend on the device of the images.
    """

    def __init__(self, options: AugmentOptions, generator: torch.Generator) -> None:
        self._options, self._generator = options, generator

    def __call__(self, images: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Augment.

        Args:
            images: [N, 3, H, W] float in 0..1.
            boxes: [N, M, 4] x1, y1, x2, y2 in pixels.

        Returns:
            Both, changed; boxes may reach past the frame, see :func:`clip_boxes`.
        """
        n, _, height, width = images.shape
        changes = self.draw(n, height, width, images.device)
        return change_images(images, changes.space, changes.color), move_boxes(boxes, changes.boxes)

    def draw(self, n: int, height: int, width: int, device: torch.device) -> Changes:
        """Draw the changes of ``n`` images of a size in pixels, for a device."""
        matrix, color = self._spatial(n, height, width), self._color(n)
        to_unit = torch.tensor([[2 / width, 0, -1], [0, 2 / height, -1]])
        return Changes(
            None if matrix is None else send(to_unit @ matrix, device),
            None if matrix is None else send(torch.linalg.inv(matrix), device),
            None if color is None else send(color, device),
        )

    def _spatial(self, n: int, height: int, width: int) -> Tensor | None:
        """Draw [N, 3, 3] maps from output to input pixels, or None when there is nothing to do."""
        o = self._options
        if o == AugmentOptions(**{**vars(o), **_NO_SPACE}):
            return None
        mirror_x = self._bernoulli(n, o.hflip_probability)
        mirror_y = self._bernoulli(n, o.vflip_probability)
        flip = _affine(1 - 2 * mirror_x, 1 - 2 * mirror_y, mirror_x * width, mirror_y * height)
        shift_x, shift_y = self._shift(n, o.translate_max_x), self._shift(n, o.translate_max_y)
        one = torch.ones(n)
        translate = _affine(one, one, -shift_x, -shift_y)
        ratio = self._uniform(n, o.zoom_min, o.zoom_max)
        left = self._uniform(n, 0, 1) * (width - width / ratio)
        top = self._uniform(n, 0, 1) * (height - height / ratio)
        zoom = _affine(ratio, ratio, -left * ratio, -top * ratio)
        turned = self._bernoulli(n, o.rotate_probability)
        angle = torch.deg2rad(self._uniform(n, -o.rotate_max_degrees, o.rotate_max_degrees)) * turned
        if o.turn_probability:
            angle = angle + self._bernoulli(n, o.turn_probability) * (math.pi / 2)
        return flip @ translate @ zoom @ _rotation(angle, width / 2, height / 2)

    def _color(self, n: int) -> Tensor | None:
        """Draw [N, 3, 4] affine maps of the pixels, or None when there is nothing to do."""
        o = self._options
        if o == AugmentOptions(**{**vars(o), **_NO_COLOR}):
            return None
        contrast = self._normal(n, o.contrast_scale_max / 2)
        hue = self._normal(n, o.hue_rotation_max / 2)
        saturation = 1 + self._uniform(n, -o.saturation_shift_max, o.saturation_shift_max)
        brightness = self._normal(n, o.color_shift_stddev)
        matrix = color_matrix(hue, saturation)
        offset = matrix.sum(dim=2) * (-contrast * o.contrast_center)[:, None] + brightness[:, None]
        return torch.cat([matrix * (1 + contrast).view(-1, 1, 1), offset[..., None]], dim=2)

    def _uniform(self, n: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=self._generator)

    def _shift(self, n: int, most: float) -> Tensor:
        """Draw whole numbers from -most to most, all as likely."""
        return torch.randint(-int(most), int(most) + 1, (n,), generator=self._generator).float()

    def _bernoulli(self, n: int, probability: float) -> Tensor:
        return (torch.rand(n, generator=self._generator) < probability).float()

    def _normal(self, n: int, deviation: float) -> Tensor:
        """Draw from a normal distribution cut at two standard deviations."""
        low, high = (0.5 * (1 + math.erf(z / math.sqrt(2))) for z in (-2.0, 2.0))
        uniform = self._uniform(n, low, high)
        return deviation * math.sqrt(2) * torch.erfinv(2 * uniform - 1)


_NO_SPACE = {
    "hflip_probability": 0.0,
    "vflip_probability": 0.0,
    "zoom_min": 1.0,
    "zoom_max": 1.0,
    "translate_max_x": 0.0,
    "translate_max_y": 0.0,
    "rotate_max_degrees": 0.0,
    "turn_probability": 0.0,
}
_NO_COLOR = {
    "color_shift_stddev": 0.0,
    "hue_rotation_max": 0.0,
    "saturation_shift_max": 0.0,
    "contrast_scale_max": 0.0,
}


def _affine(scale_x: Tensor, scale_y: Tensor, shift_x: Tensor, shift_y: Tensor) -> Tensor:
    """Return [N, 3, 3] matrices that scale, then shift."""
    matrix = torch.zeros(len(scale_x), 3, 3)
    matrix[:, 0, 0], matrix[:, 0, 2] = scale_x, shift_x
    matrix[:, 1, 1], matrix[:, 1, 2] = scale_y, shift_y
    matrix[:, 2, 2] = 1
    return matrix


def _rotation(angle: Tensor, center_x: float, center_y: float) -> Tensor:
    """Return [N, 3, 3] rotations about a point; angle in radians."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    matrix = torch.zeros(len(angle), 3, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = cosine, -sine
    matrix[:, 1, 0], matrix[:, 1, 1] = sine, cosine
    matrix[:, 0, 2] = center_x - cosine * center_x + sine * center_y
    matrix[:, 1, 2] = center_y - sine * center_x - cosine * center_y
    matrix[:, 2, 2] = 1
    return matrix


def change_images(images: Tensor, space: Tensor | None, color: Tensor | None) -> Tensor:
    """Apply :class:`Changes` to images [N, 3, H, W] in 0..1: bilinear samples, grey outside, then the colours."""
    if space is not None:
        height, width = images.shape[2:]
        x_axis, y_axis, origin = space[..., None, None].unbind(2)  # [N, 2, 1, 1]
        x = torch.arange(width, device=images.device) + 0.5
        y = torch.arange(height, device=images.device)[:, None] + 0.5
        grid = (x * x_axis + (y * y_axis + origin)).to(images.dtype).movedim(1, -1)
        images = functional.grid_sample(images - _BACKGROUND, grid, align_corners=False).add_(_BACKGROUND)
    if color is not None:
        color = color.to(images.dtype)
        images = torch.baddbmm(color[..., 3:], color[..., :3], images.flatten(2)).clamp_(0, 1).view_as(images)
    return images


def move_boxes(boxes: Tensor, matrix: Tensor | None) -> Tensor:
    """Return the upright bounds of boxes [N, M, 4] whose corners are moved by ``matrix`` [N, 3, 3]."""
    if matrix is None:
        return boxes
    matrix = matrix.to(boxes.dtype)
    x1, y1, x2, y2 = boxes.unbind(-1)
    corners = torch.stack([torch.stack([x1, x2, x2, x1], -1), torch.stack([y1, y1, y2, y2], -1)], -1)
    moved = corners @ matrix[:, None, :2, :2].mT + matrix[:, None, None, :2, 2]
    return torch.cat([moved.amin(dim=2), moved.amax(dim=2)], dim=-1)
