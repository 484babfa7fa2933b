"""Pixels in and out of image files."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray

from aerodet.errors import DataError

__all__ = ["decode_image", "encode_image", "image_size", "sniff_suffix"]

# Annotations are made on the stored pixels, so a camera's orientation tag is not applied.
_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_MAGIC = ((b"\x89PNG\r\n\x1a\n", ".png"), (b"\xff\xd8\xff", ".jpg"))
_ENCODERS = {
    # Level 1 with the fast filters: three quarters of the default's size on aerial tiles, and quicker to decode.
    ".png": (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FAST_FILTERS),
    ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 95),
}


def decode_image(data: bytes, where: str, *, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Decode an image file's bytes.

    Args:
        data: the bytes of a PNG, JPEG, TIFF, BMP or WebP file.
        where: the file's name, for the message.
        size: the width and height that its record states, in pixels.

    Returns:
        uint8 RGB [H, W, 3]; grey and palette images are expanded, transparency is dropped.

    Raises:
        DataError: the bytes are no whole image, or its size differs from ``size``.
    """
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS) if data else None
    except cv2.error:  # larger than OpenCV's limit, or a header that makes no sense
        image = None
    if image is None:
        raise DataError(f"image {where} is truncated or not an image; fetch it again or take it out of the data set")
    pixels = np.asarray(image, np.uint8)
    height, width = pixels.shape[:2]
    if size is not None and (width, height) != size:
        raise DataError(
            f"image {where} is {width}x{height} pixels but its annotations are for {size[0]}x{size[1]}; "
            "use the image that was annotated"
        )
    return pixels


def image_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image file, from its header where that is a PNG's or JPEG's.

    Raises:
        DataError: the file cannot be read or is no image.
    """
    try:
        with path.open("rb") as stream:
            size = _header_size(stream)
            if size is None:
                stream.seek(0)
                height, width = decode_image(stream.read(), str(path)).shape[:2]
                size = (width, height)
    except OSError as error:
        raise DataError(f"image {path} cannot be read ({error.strerror}); put it back or leave it out") from error
    return size


def _header_size(stream: IO[bytes]) -> tuple[int, int] | None:
    """Read the width and height that a PNG or JPEG states; None for other files and broken headers."""
    head = stream.read(24)
    if head.startswith(_MAGIC[0][0]) and head[12:16] == b"IHDR":
        return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    if not head.startswith(_MAGIC[1][0]):
        return None
    stream.seek(2)
    while len(marker := stream.read(4)) == 4 and marker[0] == 0xFF:
        length = int.from_bytes(marker[2:])
        # SOF0 to SOF15 hold the size; the three codes among them that are no frame are DHT, JPG and DAC.
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):
            frame = stream.read(5)
            return int.from_bytes(frame[3:5]), int.from_bytes(frame[1:3])
        stream.seek(length - 2, 1)
    return None


def encode_image(image: NDArray[np.uint8], suffix: str = ".png") -> bytes:
    """Encode pixels as a PNG (lossless, fast) or a JPEG (quality 95).

    Args:
        image: uint8 RGB [H, W, 3].
        suffix: ``.png`` or ``.jpg``.

    Returns:
        The bytes of the file; the same pixels give the same bytes.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    if suffix not in _ENCODERS:
        raise ValueError(f"images are written as .png or .jpg, not {suffix!r}")
    done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _ENCODERS[suffix])
    if not done:
        raise ValueError(f"OpenCV could not encode an image of {image.shape[1]}x{image.shape[0]} pixels as {suffix}")
    return data.tobytes()


def sniff_suffix(data: bytes, file_name: str) -> str:
    """Return the suffix that fits an image file's first bytes, or the one of its name."""
    for magic, suffix in _MAGIC:
        if data.startswith(magic):
            return suffix
    return Path(file_name).suffix.lower() or ".png"
