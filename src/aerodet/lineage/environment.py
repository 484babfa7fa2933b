"""What an artifact was made with: code version, libraries, hardware."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import aerodet

__all__ = ["COMMIT_VARIABLE", "CodeVersion", "code_version", "hardware", "libraries"]

COMMIT_VARIABLE = "AERODET_COMMIT"  # images are built without .git, so their build bakes the commit in
LIBRARIES = ("torch", "numpy", "onnx", "onnxruntime", "opencv-python-headless", "kfp", "tensorrt", "tensorrt-rtx")


@dataclass(frozen=True, slots=True)
class CodeVersion:
    """The version of aerodet's own code.

    Attributes:
        version: the package version.
        commit: the git commit when run from a checkout or an image that knows it, else None.
        dirty: True when the checkout had changes that are not in the commit.
    """

    version: str
    commit: str | None = None
    dirty: bool = False

    @property
    def label(self) -> str:
        """For people: ``0.1.0``, ``0.1.0 (3f2c91d)`` or ``0.1.0 (3f2c91d, modified)``."""
        if self.commit is None:
            return self.version
        return f"{self.version} ({self.commit[:7]}{', modified' if self.dirty else ''})"


@lru_cache(maxsize=1)
def code_version() -> CodeVersion:
    """Return the version of the running code: git commit and state from a checkout, else the package version."""
    baked = os.environ.get(COMMIT_VARIABLE)
    if baked:
        return CodeVersion(aerodet.__version__, baked)
    package = Path(aerodet.__file__).resolve().parent
    checkout = package.parent.parent
    # A virtual environment inside some other repository must not lend us that repository's commit.
    if package != checkout / "src" / "aerodet" or not (checkout / ".git").exists():
        return CodeVersion(aerodet.__version__)
    commit = _git(checkout, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return CodeVersion(aerodet.__version__)
    return CodeVersion(aerodet.__version__, commit, dirty=bool(_git(checkout, "status", "--porcelain")))


def libraries() -> dict[str, str]:
    """Return the versions of Python and of the installed libraries that shape results."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, str | int]:
    """Return CPU model, usable cores, memory in MiB and, when torch is already imported, the GPU's name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    found: dict[str, str | int] = {"cpu": _cpu_model(), "cores": cores, "memory_mib": memory}
    torch = sys.modules.get("torch")  # importing it here would cost seconds in stages that never use it
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


@lru_cache(maxsize=1)
def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        match = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def _git(checkout: Path, *arguments: str) -> str | None:
    """Run git in ``checkout``; None where git is missing, refuses, or there is no commit yet."""
    command = ["git", "-C", str(checkout), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
