"""Frames cut into tiles of the network's size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from aerodet.data.records import Boxes, ImageRecord, Images, Pixels
from aerodet.data.shards import ImageSetWriter
from aerodet.errors import SpecError
from aerodet.metrics import areas
from aerodet.progress import track

__all__ = ["Tile", "TileReport", "Truncated", "tile_frame", "tile_grid", "tile_images"]


Truncated = Literal["keep", "drop", "blank"]
"""What becomes of an object that a tile cuts: see :func:`tile_frame`."""

_MOST_OVERLAP = 0.9  # a hundred tiles show each place of a frame


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One tile: its record, with boxes in the tile's pixels, and its pixels, uint8 RGB [size, size, 3]."""

    record: ImageRecord
    image: Pixels


@dataclass(slots=True)
class TileReport:
    """What cutting did to the boxes.

    Args:
        frames: frames cut.
        tiles: tiles kept.
        empty_tiles: tiles without a box among them.
        left_out: empty tiles that were not kept.
        frame_boxes: boxes in the frames.
        tile_boxes: boxes in the tiles; with overlap a box appears in several.
        clipped: boxes in tiles that show only a part of their object.
        slivers: parts of boxes left out because too little of the box is in that tile, or because the tile cuts it and
            ``truncated`` is not ``keep``.
        blanked: of these, parts that were painted over (``truncated="blank"``).
        lost: boxes that appear in no tile at all: too small to be kept anywhere.
    """

    frames: int = 0
    tiles: int = 0
    empty_tiles: int = 0
    left_out: int = 0
    frame_boxes: int = 0
    tile_boxes: int = 0
    clipped: int = 0
    slivers: int = 0
    blanked: int = 0
    lost: int = 0

    def __add__(self, other: TileReport) -> TileReport:
        """Return the sum, count by count."""
        mine, theirs = asdict(self), asdict(other)
        return TileReport(**{name: mine[name] + theirs[name] for name in mine})

    def sentences(self) -> list[str]:
        """Return what a person should know of the boxes, one sentence each."""
        counted = {
            f"{self.slivers} parts of objects in tiles have no label and count neither way": self.slivers,
            f"{self.lost} objects have a label in no tile": self.lost,
        }
        return [sentence for sentence, count in counted.items() if count]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def tile_grid(width: int, height: int, size: int, overlap: float = 0.2) -> list[tuple[int, int]]:
    """Return the top left corners of the tiles that cover a frame, row by row.

    The last row and column are shifted back to end at the frame's edge; a frame smaller than a tile has one tile, at 0.

    Args:
        width: of the frame, pixels.
        height: of the frame, pixels.
        size: side of a tile, pixels, a multiple of 16.
        overlap: share of a tile's side that neighbours have in common, 0 to 0.9.

    Raises:
        SpecError: the size or the overlap is out of its limits.
    """
    if size < 16 or size % 16:
        near = max(16, size // 16 * 16)
        raise SpecError(f"tile size {size} must be 16, the stride of the network, or a multiple; {near} would do")
    if not 0 <= overlap <= _MOST_OVERLAP:
        raise SpecError(f"tile overlap {overlap} must be at least 0 and at most {_MOST_OVERLAP}; 0.2 is usual")
    step = round(size * (1 - overlap))
    return [(x, y) for y in _starts(height, size, step) for x in _starts(width, size, step)]


def tile_frame(
    image: Pixels,
    record: ImageRecord,
    size: int,
    overlap: float = 0.2,
    *,
    scale: float = 1.0,
    min_visible: float = 0.25,
    min_side: float = 2.0,
    truncated: Truncated = "keep",
    keep_empty: float = 1.0,
    generator: np.random.Generator | None = None,
    first_id: int = 1,
) -> tuple[list[Tile], TileReport]:
    """Cut one frame into tiles.

    Args:
        image: uint8 RGB [H, W, 3].
        record: its record.
        size: side of a tile, pixels, a multiple of 16.
        overlap: share of a tile's side that neighbours have in common.
        scale: the frame is resized by this before it is cut; 0.5 turns 0.25 m/px into 0.5 m/px.
        min_visible: a box is left out of a tile that shows less than this share of its area.
        min_side: a box is a region to ignore in a tile where its shorter side is under this, pixels of the tile.
        truncated: what becomes of boxes that the tile cuts. ``keep`` takes those of which it shows ``min_visible``,
            ``drop`` none. What is left out is still to be seen, and becomes an ignored region of the tile; ``blank``
            keeps as ``keep`` does and paints over the rest in the tile's mean colour, for trainers that know no such
            regions.
        keep_empty: share of the tiles without boxes that is kept, drawn with ``generator``.
        generator: needed where ``keep_empty`` is under 1.
        first_id: id of the first tile; the next ones follow.

    Returns:
        The tiles, black where they reach past a frame smaller than a tile, and what became of the boxes. Tile records
        keep the frame's group and attributes and add ``scene``, ``tile_x``, ``tile_y`` (pixels of the resized frame)
        and ``tile_scale``.

    Raises:
        SpecError: an option is out of its limits.
    """
    _check_options(scale, min_visible, keep_empty)
    frame, boxes, regions = _resized(image, record, scale)
    height, width = frame.shape[:2]
    report = TileReport(frames=1, frame_boxes=len(boxes))
    seen = np.zeros(len(boxes), bool)
    tiles: list[Tile] = []
    for x, y in tile_grid(width, height, size, overlap):
        inside, share = _clip_to_tile(boxes, x, y, size)
        # Clipping leaves a share just under 1 by rounding; 1e-6 keeps min_visible=1 meaning "whole".
        visible = (share > 0) & (share >= min_visible - 1e-6) & (_shorter_side(inside) >= min_side)
        if truncated == "drop":
            visible &= share >= 1 - 1e-6
        hidden = inside[(share > 0) & ~visible]
        report.slivers += len(hidden)
        seen |= visible
        empty = not visible.any()
        if empty and keep_empty < 1 and not (generator is not None and generator.random() < keep_empty):
            report.left_out += 1
            continue
        report.empty_tiles += empty
        report.tile_boxes += int(visible.sum())
        report.clipped += int((share[visible] < 1 - 1e-6).sum())
        origin = {"scene": record.file_name, "tile_x": x, "tile_y": y, "tile_scale": scale}
        tile = replace(
            record,
            id=first_id + len(tiles),
            file_name=_tile_name(record.file_name, x, y),
            width=size,
            height=size,
            boxes=inside[visible],
            labels=record.labels[visible],
            details=[_uncut(d) for d, v in zip(record.details, visible, strict=True) if v] if record.details else (),
            attributes={**record.attributes, **origin},
            ignored=_ignored(regions, x, y, size, hidden[:0] if truncated == "blank" else hidden),
        )
        pixels = _cut(frame, x, y, size)
        if truncated == "blank":
            report.blanked += _blank(pixels, hidden, inside[visible])
        tiles.append(Tile(tile, pixels))
    report.tiles = len(tiles)
    report.lost = int((~seen).sum())
    return tiles, report


def tile_images(
    images: Images,
    folder: Path | str,
    size: int,
    overlap: float = 0.2,
    *,
    scale: float = 1.0,
    min_visible: float = 0.25,
    min_side: float = 2.0,
    truncated: Truncated = "keep",
    keep_empty: float = 1.0,
    seed: int = 0,
    suffix: str = ".png",
) -> TileReport:
    """Cut all frames into an image set. The options are those of :func:`tile_frame`.

    Args:
        images: the frames.
        folder: where the image set shall be.
        size: side of a tile, pixels, a multiple of 16.
        overlap: share of a tile's side that neighbours have in common.
        scale: frames are resized by this first.
        min_visible: least share of a box's area that a tile must show.
        min_side: least side of a box in a tile, pixels.
        truncated: what becomes of boxes that a tile cuts.
        keep_empty: share of the empty tiles that is kept.
        seed: of the draw of empty tiles; each frame has its own stream, so frames do not influence each other.
        suffix: ``.png`` keeps the pixels as they are; ``.jpg`` is a third of the size.

    Returns:
        What became of the boxes, over all frames.
    """
    total = TileReport()
    with ImageSetWriter(folder, images.classes) as writer:
        for index, record in enumerate(track(images.records, "cutting tiles")):
            tiles, report = tile_frame(
                images.image(index),
                record,
                size,
                overlap,
                scale=scale,
                min_visible=min_visible,
                min_side=min_side,
                truncated=truncated,
                keep_empty=keep_empty,
                generator=np.random.default_rng([seed, index]),
                first_id=len(writer) + 1,
            )
            for tile in tiles:
                writer.add(tile.record, tile.image, suffix)
            total += report
    return total


def _starts(length: int, size: int, step: int) -> Iterator[int]:
    start = 0
    while start + size < length:
        yield start
        start += step
    yield max(0, length - size)


def _check_options(scale: float, min_visible: float, keep_empty: float) -> None:
    if not 0 < scale < np.inf:
        raise SpecError(f"tile scale {scale} must be greater than 0; 1 leaves the frames as they are")
    if not 0 <= min_visible <= 1:
        raise SpecError(f"min_visible {min_visible} must lie between 0 and 1, a share of a box's area; 0.25 is usual")
    if not 0 <= keep_empty <= 1:
        raise SpecError(f"keep_empty {keep_empty} must lie between 0 and 1, a share of the empty tiles")


def _resized(image: Pixels, record: ImageRecord, scale: float) -> tuple[Pixels, Boxes, Boxes]:
    """Return the frame's pixels, boxes and ignored regions."""
    if scale == 1:
        return image, record.boxes, record.ignored
    height, width = image.shape[:2]
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    ratio = np.array([target[0] / width, target[1] / height] * 2, np.float32)
    resized = np.asarray(cv2.resize(image, target, interpolation=how), np.uint8)
    return resized, record.boxes * ratio, record.ignored * ratio


def _clip_to_tile(boxes: Boxes, x: int, y: int, size: int) -> tuple[Boxes, NDArray[np.float64]]:
    """Return the boxes in a tile's pixels, clipped to it, and the share of each that the tile shows."""
    inside = np.clip(boxes - np.array([x, y, x, y], np.float32), 0, np.float32(size))
    whole = np.maximum(areas(boxes), 1e-12)
    return inside, areas(inside) / whole


def _uncut(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of an object wherever it is cut: not its outline in the frame."""
    return {key: value for key, value in details.items() if key not in ("segmentation", "area")}


def _ignored(regions: Boxes, x: int, y: int, size: int, hidden: Boxes) -> Boxes:
    """Return a frame's ignored regions and the parts of objects without a label, in a tile's pixels."""
    every = np.concatenate([_clip_to_tile(regions, x, y, size)[0], hidden])
    return every[_shorter_side(every) > 0]


def _shorter_side(boxes: Boxes) -> NDArray[np.float32]:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf))


def _cut(frame: Pixels, x: int, y: int, size: int) -> Pixels:
    part = frame[y : y + size, x : x + size]
    if part.shape[:2] == (size, size):
        return np.ascontiguousarray(part)
    tile = np.zeros((size, size, 3), np.uint8)
    tile[: part.shape[0], : part.shape[1]] = part
    return tile


def _blank(pixels: Pixels, hidden: Boxes, shown: Boxes) -> int:
    """Paint over parts of objects without a label, but for the boxes that keep theirs; returns how many there are."""
    if not len(hidden):
        return 0
    colour = pixels.reshape(-1, 3).mean(axis=0).astype(np.uint8)
    before = pixels.copy()
    for x1, y1, x2, y2 in _outward(hidden):
        pixels[y1:y2, x1:x2] = colour
    for x1, y1, x2, y2 in _outward(shown):
        pixels[y1:y2, x1:x2] = before[y1:y2, x1:x2]
    return len(hidden)


def _outward(boxes: Boxes) -> list[list[int]]:
    corners = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1).astype(int)
    return [[int(value) for value in box] for box in corners]


def _tile_name(file_name: str, x: int, y: int) -> str:
    path = PurePosixPath(file_name)
    return path.with_name(f"{path.stem}_x{x}_y{y}{path.suffix}").as_posix()
