"""Difference hashes: whether two pictures look alike."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

NEAR = 16  # of 256 bits; recompression and a change of brightness flip fewer
_SIDE = 16
_BLOCK = 2048  # rows of the distance matrix at a time: 2048 x 50,000 x 8 bytes = 0.8 GB at most
_FLAT = 2.0  # grey levels; the hash of a flatter thumbnail is noise


def hash_image(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], bool]:
    """Return the 256-bit difference hash of an image, and whether it says anything.

    The image is shrunk to 17x16 grey pixels; each bit tells whether a pixel is brighter than its left neighbour.

    Args:
        image: uint8 RGB [H, W, 3].

    Returns:
        uint64 [4], and False for pictures so flat that noise decides the bits.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = np.asarray(cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA), np.int16)
    bits = np.diff(small, axis=1) > 0
    return np.packbits(bits).view(np.uint64), bool(small.std() >= _FLAT)


def nearest_earlier(
    mine: NDArray[np.uint64],
    distinct: NDArray[np.bool_],
    theirs: NDArray[np.uint64],
    their_distinct: NDArray[np.bool_],
    *,
    same: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each hash the nearest of another set, or of the hashes before it in the same set.

    Args:
        mine: uint64 [N, 4].
        distinct: bool [N], whether each hash says anything.
        theirs: uint64 [M, 4]; ``mine`` again for the same set.
        their_distinct: bool [M].
        same: whether both are the same set.

    Returns:
        int64 [N] indices, -1 for none, and int64 [N] distances in bits.
    """
    index = np.full(len(mine), -1, np.int64)
    distance = np.full(len(mine), 257, np.int64)
    if not len(theirs):
        return index, distance
    for start in range(0, len(mine), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(mine)))
        apart = np.zeros((rows.stop - start, len(theirs)), np.uint16)
        for word in range(mine.shape[1]):
            apart += np.bitwise_count(mine[rows, word, None] ^ theirs[None, :, word])
        apart[~distinct[rows]] = 257
        apart[:, ~their_distinct] = 257
        if same:
            apart[np.arange(len(theirs))[None, :] >= np.arange(start, rows.stop)[:, None]] = 257
        index[rows] = apart.argmin(axis=1)
        distance[rows] = apart.min(axis=1)
    index[distance > 256] = -1
    return index, distance
