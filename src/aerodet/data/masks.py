"""Instance masks in COCO's compressed run-length form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode_mask", "encode_mask"]


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a mask [H, W] as COCO's RLE object: ``size`` [H, W] and ``counts``, which are JSON values."""
    from hotcoco import mask as rle

    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def decode_mask(encoded: dict[str, Any]) -> NDArray[np.bool_]:
    """Return the mask [H, W] of an RLE object."""
    from hotcoco import mask as rle

    return np.asarray(rle.decode({**encoded, "counts": encoded["counts"].encode("ascii")}), bool)
