"""Where a network runs, and in which numbers."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import torch
from torch import Tensor

from aerodet.errors import MachineError

__all__ = ["computes_bfloat16", "keep_freed_memory", "pick_device", "processes", "send"]

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h


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


def keep_freed_memory() -> bool:
    """Have this process keep the memory that it frees, for what it allocates next.

    A training step on a CPU frees what the next one allocates again, hundreds of megabytes. Returned to the system in
    between, each page is emptied and mapped anew, which took a sixth of the time (2 cores, 28 November 2026).

    Returns:
        Whether the C library is glibc, which can be told so.

    Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))


def processes(gpus: int) -> int:
    """Return in how many processes to train when ``gpus`` were asked for: one a GPU, or one on a CPU.

    Raises:
        MachineError: there are GPUs, but not so many.
    """
    there = torch.cuda.device_count()
    if 0 < there < gpus:
        raise MachineError(f"{gpus} GPUs were asked for and this machine has {there}; lower training.gpus")
    return gpus if there else 1


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to where it is needed, without waiting for what that device still has to do.

    A copy from ordinary memory waits for all work queued before it; from pinned memory it takes its turn.
    """
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
