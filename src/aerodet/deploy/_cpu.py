"""What the processor is and can do."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

__all__ = ["cpu_name", "saturates_int8"]


def cpu_name() -> str:
    """Return the processor's model name."""
    return _information().get("model name") or platform.processor() or platform.machine()


def saturates_int8() -> bool:
    """Say whether this is an x86 processor whose int8 products saturate when added in pairs: one without VNNI."""
    flags = _information().get("flags", "").split()
    return bool(flags) and not {"avx_vnni", "avx512_vnni", "amx_int8"} & set(flags)


@cache
def _information() -> dict[str, str]:
    """Return the first processor's entries of Linux's ``/proc/cpuinfo``; elsewhere, nothing."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    entries = (line.partition(":") for line in path.read_text(encoding="utf-8").split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in entries}
