"""Training targets: coverage ellipses and box distances on the stride-16 grid.

Coverage is a flat, anti-aliased ellipse (16 samples a cell) around the box centre, inside a dead zone that other boxes
may not cover. Regions to ignore are kept out of the coverage loss; TAO has loss masks for that, by names of labels.
Source: ``nvidia_tao_tf1/cv/detectnet_v2/rasterizers/bbox_rasterizer.py``, ``core/lib/rasterize_bbox/rasterize_bbox.h``
and ``objectives/bbox_objective.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from aerodet.detectnet.model import STRIDE
from aerodet.metrics import IGNORED

__all__ = ["ClassShape", "TargetMaker", "Targets", "encode"]

_SAMPLES = 4  # per side of a cell
_MIN_RADIUS = 0.1  # cells


@dataclass(frozen=True)
class ClassShape:
    """How one class is drawn (``bbox_rasterizer_config.target_class_config``), in shares of the box's half size."""

    cov_center_x: float = 0.5
    cov_center_y: float = 0.5
    cov_radius_x: float = 1.0
    cov_radius_y: float = 1.0
    bbox_min_radius: float = 1.0  # cells


class Targets(NamedTuple):
    """What the losses compare with; all float32 on the device of the boxes.

    Attributes:
        cov: coverage, [N, C, h, w], 0..1; -1 where a cell's centre lies in a region to ignore and no object covers it.
        cov_norm: coverage divided by the ellipse's area, [N, C, h, w]: the weight of the box loss.
        bbox: encoded left, top, right, bottom distances, [N, 4C, h, w].
    """

    cov: Tensor
    cov_norm: Tensor
    bbox: Tensor


class _Ellipses(NamedTuple):
    """Centres and radii in cells, each [N, M]."""

    cx: Tensor
    cy: Tensor
    rx: Tensor
    ry: Tensor
    dead_x: Tensor
    dead_y: Tensor


def encode(boxes: Tensor, grid: tuple[int, int], *, scale: float = 35.0, offset: float = 0.5) -> Tensor:
    """Encode boxes as scaled distances from every grid cell.

    Args:
        boxes: [..., 4] x1, y1, x2, y2 in pixels.
        grid: (h, w) in cells.
        scale: pixels that one unit stands for (``objective_set.bbox.scale``).
        offset: pixels from the cell's corner to its reference point (``objective_set.bbox.offset``).

    Returns:
        [..., 4, h, w]: left, top, right, bottom.
    """
    return _distances(boxes[..., None, None, :], grid, scale, offset).movedim(-1, -3)


def _distances(boxes: Tensor, grid: tuple[int, int], scale: float, offset: float) -> Tensor:
    """Return distances [..., h, w, 4] from each cell's reference point to the sides of the box given for it."""
    h, w = grid
    x = torch.arange(w, device=boxes.device) * STRIDE + offset
    y = (torch.arange(h, device=boxes.device) * STRIDE + offset)[:, None]
    point = torch.stack([x.expand(h, w), y.expand(h, w)], dim=-1)
    return torch.cat([point - boxes[..., :2], boxes[..., 2:] - point], dim=-1) / scale


class TargetMaker:
    """Draws targets for a batch, on the device where the boxes are.

    Args:
        size: (H, W) of the images in pixels.
        shapes: one :class:`ClassShape` per class, in channel order.
        deadzone_radius: 0 puts the dead zone on the ellipse, 1 on the box (``bbox_rasterizer_config.deadzone_radius``).
        scale: see :func:`encode`.
        offset: see :func:`encode`.
    """

    def __init__(
        self,
        size: tuple[int, int],
        shapes: Sequence[ClassShape],
        *,
        deadzone_radius: float = 0.4,
        scale: float = 35.0,
        offset: float = 0.5,
    ) -> None:
        self.grid = (size[0] // STRIDE, size[1] // STRIDE)
        self._deadzone, self._scale, self._offset = deadzone_radius, scale, offset
        self._shapes = torch.tensor(
            [[s.cov_center_x, s.cov_center_y, s.cov_radius_x, s.cov_radius_y, s.bbox_min_radius] for s in shapes],
            dtype=torch.float32,
        )

    def __call__(self, boxes: Tensor, labels: Tensor) -> Targets:
        """Draw.

        Boxes are drawn by rising lower edge, so that the lower of two overlapping ones wins a cell of equal share.

        Args:
            boxes: [N, M, 4] x1, y1, x2, y2 in pixels, padded.
            labels: [N, M] class indices, -1 for padding, -2 for regions to ignore.
        """
        order = boxes[..., 3].argsort(dim=1, stable=True)
        boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
        labels = labels.gather(1, order)
        n, m = labels.shape
        (h, w), classes = self.grid, len(self._shapes)
        ellipses = self._ellipses(boxes, labels)
        share = self._shares(ellipses.cx, ellipses.cy, ellipses.rx, ellipses.ry)
        dead = self._shares(ellipses.cx, ellipses.cy, ellipses.dead_x, ellipses.dead_y)
        own_class = labels[:, :, None] == torch.arange(classes, device=boxes.device)  # [N, M, C], never for padding
        best = boxes.new_zeros(n, classes, h, w)
        owner = torch.full((n, classes, h, w), -1, dtype=torch.int64, device=boxes.device)
        for k in range(m):
            # TAO erases the cells where the dead zone is the larger share, then fills those that the ellipse reaches;
            # the ellipse lies inside the dead zone, so that the two are one assignment, and 0 to 0 changes nothing.
            won = (dead[:, k, None] >= best) & own_class[:, k, :, None, None]
            best = torch.where(won, share[:, k, None], best)
            owner.masked_fill_(won, k)
        targets = self._collect(boxes, best, owner, ellipses)
        ignored = self._regions(boxes, labels == IGNORED)[:, None] & (best == 0).all(dim=1, keepdim=True)
        return targets._replace(cov=best.masked_fill(ignored, -1))

    def _regions(self, boxes: Tensor, chosen: Tensor) -> Tensor:
        """Return which cells have their centre in one of the chosen boxes, bool [N, h, w]."""
        h, w = self.grid
        x = (torch.arange(w, device=boxes.device) + 0.5) * STRIDE
        y = (torch.arange(h, device=boxes.device) + 0.5) * STRIDE
        columns = (x >= boxes[..., 0, None]) & (x < boxes[..., 2, None]) & chosen[..., None]  # [N, M, w]
        rows = (y >= boxes[..., 1, None]) & (y < boxes[..., 3, None])  # [N, M, h]
        return (rows[..., None] & columns[:, :, None]).any(dim=1)

    def _ellipses(self, boxes: Tensor, labels: Tensor) -> _Ellipses:
        self._shapes = self._shapes.to(boxes.device)  # once: a copy waits for the device
        shape = self._shapes[labels.clamp_min(0)]
        center_x, center_y, radius_x, radius_y, minimum = shape.unbind(-1)
        x1, y1, x2, y2 = (boxes / STRIDE).unbind(-1)
        half_x = (x2 - x1) * torch.minimum(center_x, 1 - center_x)
        half_y = (y2 - y1) * torch.minimum(center_y, 1 - center_y)
        rx = (radius_x * half_x).clamp_min(_MIN_RADIUS)
        ry = (radius_y * half_y).clamp_min(_MIN_RADIUS)
        # A small ellipse grows to the minimum radius and keeps its aspect, first by x, then by y.
        rx, ry = torch.where(rx < minimum, minimum, rx), torch.where(rx < minimum, minimum * ry / rx, ry)
        rx, ry = torch.where(ry < minimum, minimum * rx / ry, rx), torch.where(ry < minimum, minimum, ry)
        dead_x = torch.maximum((1 - self._deadzone) * rx + self._deadzone * half_x, rx)
        dead_y = torch.maximum((1 - self._deadzone) * ry + self._deadzone * half_y, ry)
        return _Ellipses(x1 + center_x * (x2 - x1), y1 + center_y * (y2 - y1), rx, ry, dead_x, dead_y)

    def _shares(self, cx: Tensor, cy: Tensor, rx: Tensor, ry: Tensor) -> Tensor:
        """Return the share of each cell's 16 samples inside each ellipse, [N, M, h, w]; arguments [N, M], in cells."""
        h, w = self.grid
        step = torch.arange(max(h, w) * _SAMPLES, device=cx.device, dtype=cx.dtype).add_(0.5).div_(_SAMPLES)
        dx = ((step[: w * _SAMPLES] - cx[..., None]) / rx[..., None]).square_()
        dy = ((step[: h * _SAMPLES] - cy[..., None]) / ry[..., None]).square_()
        columns = [dx[..., None, i::_SAMPLES].contiguous() for i in range(_SAMPLES)]  # [N, M, 1, w]
        rows = [dy[..., i::_SAMPLES, None].contiguous() for i in range(_SAMPLES)]  # [N, M, h, 1]
        inside = torch.zeros(*cx.shape, h, w, dtype=torch.uint8, device=cx.device)
        for row, column in product(rows, columns):
            inside += (row + column) < 1
        return inside.to(cx.dtype).div_(_SAMPLES**2)

    def _collect(self, boxes: Tensor, best: Tensor, owner: Tensor, ellipses: _Ellipses) -> Targets:
        n, classes, h, w = best.shape
        covered = best > 0
        index = owner.clamp_min(0).view(n, -1)
        if boxes.shape[1] == 0:
            return Targets(best, best, best.new_zeros(n, 4 * classes, h, w))
        area = (4 * ellipses.rx * ellipses.ry).clamp_min(1.0).gather(1, index).view_as(best)
        owned = boxes.gather(1, index[..., None].expand(-1, -1, 4)).view(n, classes, h, w, 4)
        bbox = _distances(owned, self.grid, self._scale, self._offset).movedim(-1, 2) * covered[:, :, None]
        return Targets(best, best / area, bbox.flatten(1, 2))
