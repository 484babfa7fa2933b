"""Where a network runs, and in which numbers."""

from __future__ import annotations

from collections.abc import Mapping

import torch

__all__ = ["computes_bfloat16", "pick_device"]


def pick_device() -> torch.device:
    """Return the GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_bfloat16(device: torch.device) -> bool:
    """Say whether a device multiplies bfloat16 by instructions of its own; emulated, it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    probe = getattr(torch.cpu, "get_capabilities", dict)  # older torch has none: then a CPU trains in float32
    capabilities: Mapping[str, object] = probe()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
