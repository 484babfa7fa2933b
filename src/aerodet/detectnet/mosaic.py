"""Detections of the tiles of a scene as detections of the scene."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from aerodet.data import Images, tile_grid
from aerodet.data.scenes import PictureScene, Scene
from aerodet.detectnet.inference import Predictor
from aerodet.detectnet.postprocess import cluster
from aerodet.detectnet.settings import Settings
from aerodet.errors import DataError, SpecError
from aerodet.metrics import Detections
from aerodet.progress import track

__all__ = ["detect_frames", "detect_scene", "merge_tiles"]

_TOUCH = 2.0  # pixels of a tile's edge at which a box counts as cut
_SAME = 0.5  # IoU of two boxes of two tiles that are one object
_PART = 0.7  # share of a cut box inside a whole one that makes it a part of the same object
_HALVES = 0.3  # share of the smaller of two cut boxes inside the other that makes them halves of one object

_Floats = NDArray[np.float32]


def detect_scene(
    predictor: Predictor,
    scene: Scene,
    settings: Settings,
    *,
    overlap: float = 0.25,
    scale: float = 1.0,
    threshold: float = 0.0,
    batch_size: int = 8,
    show: bool = True,
) -> Detections:
    """Detect on a scene of any size, tile by tile; memory does not grow with the scene.

    Args:
        predictor: the model.
        scene: the picture.
        settings: the network's size and clustering.
        overlap: share of a tile that neighbours have in common; twice an aircraft's length is enough.
        scale: the scene is resized by it; 0.5 shows a network trained at 0.5 m/px a scene of 0.25 m/px.
        threshold: least score.
        batch_size: tiles a call.
        show: show progress.

    Returns:
        Detections in the scene's pixels, by falling score; those of DBSCAN have the mean coverage of their cells.

    Raises:
        SpecError: an option is out of its limits, or the network's input is not square.
    """
    height, width = settings.size
    if height != width:
        raise SpecError(f"the network takes {width}x{height} pixels; scenes are cut into square tiles")
    if not 0 < scale <= 16:
        raise SpecError(f"scale {scale} must be over 0 and at most 16; 1 leaves the scene as it is")
    shown = (max(1, round(scene.width * scale)), max(1, round(scene.height * scale)))
    grid = tile_grid(*shown, width, overlap)
    found: list[Detections] = []
    starts = range(0, len(grid), batch_size)
    for start in track(starts, f"detecting on {scene.name}") if show else starts:
        tiles = [_tile(scene, x, y, width, scale) for x, y in grid[start : start + batch_size]]
        cov, bbox = predictor(np.stack(tiles))
        found += cluster(
            cov,
            bbox,
            settings.clusters,
            scale=settings.box_scale,
            offset=settings.box_offset,
            confidence="mean",
        )
    kept = [_strong(detections, threshold) for detections in found]
    merged = merge_tiles(grid, kept, width, shown)
    boxes = np.clip(merged.boxes / scale, 0, [scene.width, scene.height] * 2).astype(np.float32)
    return Detections(boxes, merged.scores, merged.labels)


def detect_frames(predictor: Predictor, images: Images, settings: Settings, *, scale: float = 1.0) -> list[Detections]:
    """Detect on labelled images of any size, resized by ``scale`` first.

    Returns:
        One :class:`Detections` an image, in its own pixels; an unreadable one shows nothing.
    """
    found = []
    for index, record in enumerate(track(images.records, "detecting")):
        try:
            scene = PictureScene(record.file_name, images.image(index))
        except DataError:  # an audit names such images
            found.append(Detections.empty())
            continue
        found.append(detect_scene(predictor, scene, settings, scale=scale, show=False))
    return found


def merge_tiles(
    grid: Sequence[tuple[int, int]], found: Sequence[Detections], size: int, frame: tuple[int, int]
) -> Detections:
    """Merge the detections of overlapping tiles: what several tiles show becomes one.

    Of boxes of one class from different tiles that overlap by IoU 0.5 the surest remains, a whole one before one that
    ends at a tile's edge. A cut box mostly inside a whole one is dropped. Cut boxes that overlap, as those of an
    aircraft longer than the overlap, become the box around them.

    Args:
        grid: top left corner of each tile.
        found: detections of each tile, in its pixels.
        size: side of a tile, pixels.
        frame: width and height of the scene.

    Returns:
        Detections in the scene's pixels, by falling score.
    """
    boxes, cut = [], []
    for (x, y), detections in zip(grid, found, strict=True):
        boxes.append(detections.boxes + np.array([x, y, x, y], np.float32))
        edges = np.array([x > 0, y > 0, x + size < frame[0], y + size < frame[1]])
        near = np.concatenate([detections.boxes[:, :2] < _TOUCH, detections.boxes[:, 2:] > size - _TOUCH], axis=1)
        cut.append((near & edges).any(axis=1))
    tiles = np.repeat(np.arange(len(grid)), [len(detections) for detections in found])
    every = Detections(
        np.concatenate(boxes or [np.zeros((0, 4), np.float32)]),
        np.concatenate([detections.scores for detections in found] or [np.zeros(0, np.float32)]),
        np.concatenate([detections.labels for detections in found] or [np.zeros(0, np.int64)]),
    )
    return _merged(every, tiles, np.concatenate(cut or [np.zeros(0, bool)]))


def _merged(every: Detections, tiles: NDArray[np.int64], cut: NDArray[np.bool_]) -> Detections:
    """Keep the surest of each object, whole boxes first; then join what is left of cut ones."""
    kept: list[int] = []
    halves: list[list[int]] = []
    for index in np.lexsort((-every.scores, cut)).tolist():
        if _is_known(every, tiles, cut, index, kept):
            continue
        if cut[index]:
            joined = [half for half in halves if _belongs(every, tiles, index, half)]
            halves = [half for half in halves if half not in joined]
            halves.append(sorted({index, *(member for half in joined for member in half)}))
        else:
            kept.append(index)
    boxes = [every.boxes[index] for index in kept]
    boxes += [np.concatenate([every.boxes[half, :2].min(0), every.boxes[half, 2:].max(0)]) for half in halves]
    scores = [every.scores[index] for index in kept] + [every.scores[half].max() for half in halves]
    labels = [every.labels[index] for index in kept] + [every.labels[half[0]] for half in halves]
    order = np.argsort(-np.array(scores, np.float32), kind="stable")
    stacked = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(stacked[order], np.array(scores, np.float32)[order], np.array(labels, np.int64)[order])


def _is_known(every: Detections, tiles: NDArray[np.int64], cut: NDArray[np.bool_], index: int, kept: list[int]) -> bool:
    """Say whether another tile has shown an object already."""
    others = np.array(kept, np.int64)
    others = others[(tiles[others] != tiles[index]) & (every.labels[others] == every.labels[index])]
    inter, areas, own = _overlaps(every.boxes[others], every.boxes[index])
    same = inter >= _SAME * (areas + own - inter)
    return bool(same.any() or (cut[index] and (inter >= _PART * own).any()))


def _belongs(every: Detections, tiles: NDArray[np.int64], index: int, half: list[int]) -> bool:
    """Say whether a cut box and those of other tiles are parts of one object."""
    others = np.array(
        [i for i in half if tiles[i] != tiles[index] and every.labels[i] == every.labels[index]], np.int64
    )
    inter, areas, own = _overlaps(every.boxes[others], every.boxes[index])
    return bool((inter >= _HALVES * np.minimum(areas, own)).any())


def _overlaps(boxes: _Floats, box: _Floats) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return the shared area of each box [N, 4] with ``box``, their areas, and its own."""
    wide, one = boxes.astype(np.float64), box.astype(np.float64)
    sides = np.minimum(wide[:, 2:], one[2:]) - np.maximum(wide[:, :2], one[:2])
    areas = np.maximum((wide[:, 2:] - wide[:, :2]).prod(axis=1), 1e-9)
    return np.maximum(sides, 0).prod(axis=1), areas, max(float((one[2:] - one[:2]).prod()), 1e-9)


def _tile(scene: Scene, x: int, y: int, size: int, scale: float) -> NDArray[np.uint8]:
    if scale == 1:
        return scene.window(x, y, size, size)
    side = max(1, round(size / scale))
    part = scene.window(round(x / scale), round(y / scale), side, side)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (size, size), interpolation=way), np.uint8)


def _strong(found: Detections, threshold: float) -> Detections:
    strong = found.scores >= threshold
    return Detections(found.boxes[strong], found.scores[strong], found.labels[strong])
