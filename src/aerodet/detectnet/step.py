"""One step of training: losses, gradients, update. Run as it is written, or recorded once and replayed on a GPU.

A recording (:mod:`aerodet.detectnet.record`) launches all kernels of a step at once. Inductor besides fuses batch norm,
sum and ReLU, and compiles for 14 to 39 s first. ``aerodet bench train`` shows what either is worth on a GPU.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from aerodet.detectnet.prepare import Prepared
from aerodet.detectnet.record import Recorder
from aerodet.detectnet.targets import Targets
from aerodet.errors import MachineError

__all__ = ["Compile", "LateLook", "RecordedStep", "Step", "ahead", "cudnn_choice", "how_to_run"]

Compile = Literal["auto", "off", "graph", "inductor"]
_WARM_UP = 3  # steps before a recording: libraries choose their kernels, the optimiser makes its state
_GRAPH_STEPS = 20
# An H200 takes 2.0 s for each Gpx of batches of 32, recorded, in bfloat16 and without a teacher; compiled, and with
# kernels tried out, 1.5 s, but 24 to 39 s to start with nothing in Inductor's cache and the driver's (30 November
# 2026). After this many pixels (12,000 steps of 512 px) that is earned, at the slowest such start 1.4 times over.
_INDUCTOR_PIXELS = 100e9


def how_to_run(
    wanted: Compile, device: torch.device, *, steps: int, pixels: int, deterministic: bool = False
) -> Literal["off", "graph", "inductor"]:
    """Decide how steps are run, by what the machine can do and whether it pays.

    Args:
        wanted: ``auto``: what pays; or one of the three.
        device: the training's.
        steps: of the whole training.
        pixels: of a step's pictures together.
        deterministic: a seed has to give the same weights again: Inductor tries kernels out, so it is not what pays.

    Raises:
        MachineError: the wanted one cannot be had on this machine.
    """
    if wanted == "graph" and device.type != "cuda":
        raise MachineError("compile: graph records CUDA graphs, and this training has no GPU; set auto or off")
    if wanted == "inductor" and not _has_compiler(device):
        raise MachineError(
            "compile: inductor needs a C compiler, and on a GPU Triton too; install them or set auto, graph or off"
        )
    if wanted != "auto":
        return wanted
    if device.type != "cuda" or steps < _GRAPH_STEPS:
        return "off"
    pays = steps * pixels >= _INDUCTOR_PIXELS and not deterministic
    return "inductor" if pays and _has_compiler(device) else "graph"


def cudnn_choice(mode: Compile, *, deterministic: bool = False) -> AbstractContextManager[None]:
    """Have cuDNN choose its kernels within a ``with``: by trial where steps are compiled, else by its rules.

    Trials take 7 to 16 % off a training's time, but begin with compiling what is tried: 7 to 10 s for ResNet18 on an
    H200 whose driver kept nothing from before, as in a fresh container, 2 s where it did (30 November 2026). What a
    process chose for a shape first it uses until it ends.

    Args:
        mode: see :func:`how_to_run`.
        deterministic: only kernels that give the same sums again, by rule.
    """
    trials = mode == "inductor" and not deterministic
    return torch.backends.cudnn.flags(enabled=True, benchmark=trials, deterministic=deterministic)


def _has_compiler(device: torch.device) -> bool:
    """Say whether Inductor's code can be compiled: by Triton, whose launchers are C, or on a CPU by a C++ compiler."""
    names = ("CC", "gcc", "clang") if device.type == "cuda" else ("CXX", "g++", "clang++")
    compiler = any(shutil.which(name) for name in (os.environ.get(names[0], ""), *names[1:]) if name)
    if device.type == "cuda":
        return compiler and find_spec("triton") is not None and torch.cuda.get_device_capability(device) >= (7, 0)
    return compiler


class Step:
    """A step as it is written.

    Args:
        losses: maps images [N, 3, H, W] and targets to the loss, a scalar with gradient, and the raw losses [C, 2]
            (coverage, box).
        optimizer: of the weights.
        average: called when the gradients are there: the mean over several processes.
        regularize: called after that, changes the gradients.
    """

    def __init__(
        self,
        losses: Callable[[Tensor, Targets], tuple[Tensor, Tensor]],
        optimizer: torch.optim.Optimizer,
        *,
        average: Callable[[], None],
        regularize: Callable[[], None],
    ) -> None:
        self._optimizer, self._regularize = optimizer, regularize
        self.losses, self.average = losses, average

    def __call__(self, images: Tensor, targets: Targets) -> Tensor:
        """Change the weights; return loss, coverage loss and box loss [3], which the next call may overwrite."""
        values = self.gradients(images, targets)
        self.average()
        self.update()
        return values

    def gradients(self, images: Tensor, targets: Targets) -> Tensor:
        """Compute the gradients anew; return the losses."""
        self._optimizer.zero_grad(set_to_none=True)
        loss, raw = self.losses(images, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return torch.stack([loss.detach(), *raw.mean(dim=0)])

    def update(self) -> None:
        """Change the weights by the gradients."""
        self._regularize()
        self._optimizer.step()


class RecordedStep:
    """A step that is run as written a few times, then recorded and replayed.

    Gradients and update are two recordings, so that what averages the gradients over processes stays outside.

    Args:
        step: its learning rate, weights, statistics and loss weights are tensors that stay where they are in memory.
        recorder: makes the recordings.
    """

    def __init__(self, step: Step, recorder: Recorder) -> None:
        self._step, self._recorder, self._made = step, recorder, 0
        self._inputs: tuple[Tensor, ...] = ()
        self._values = torch.empty(0)
        self._replays: tuple[Callable[[], object], ...] = ()

    def __call__(self, images: Tensor, targets: Targets) -> Tensor:
        """Change the weights; return loss, coverage loss and box loss [3], which the next call overwrites."""
        self._made += 1
        if self._made <= _WARM_UP:
            return self._recorder.apart(self._step, images, targets)
        if not self._replays:
            self._record(images, targets)
        for kept, new in zip(self._inputs, (images, *targets), strict=True):
            kept.copy_(new)
        gradients, update = self._replays
        gradients()
        self._step.average()
        update()
        return self._values

    def _record(self, images: Tensor, targets: Targets) -> None:
        self._inputs = tuple(torch.empty_like(tensor) for tensor in (images, *targets))
        kept_images, *kept_targets = self._inputs
        gradients, self._values = self._recorder.record(
            lambda: self._step.gradients(kept_images, Targets(*kept_targets))
        )
        update, _ = self._recorder.record(self._step.update)
        self._replays = (gradients, update)


def ahead(made: Iterator[Prepared], side: torch.cuda.Stream | None) -> Iterator[Prepared]:
    """Yield what an iterator makes. A GPU makes the next batch, on the stream ``side``, while it trains on this one."""
    if side is None:
        yield from made
        return
    use = torch.cuda.current_stream(side.device)
    side.wait_stream(use)  # the pictures were put there by it
    while True:
        with torch.cuda.stream(side):
            prepared = next(made, None)
        if prepared is None:
            return
        use.wait_stream(side)
        images, targets = prepared
        for tensor in (images, *targets):
            tensor.record_stream(use)  # its memory is free only when that stream is done with it
        yield prepared


class LateLook:
    """Shows a tensor of the GPU one look late, so that nobody waits for the GPU."""

    def __init__(self) -> None:
        self._taken: tuple[Tensor, int, torch.cuda.Event] | None = None

    def __call__(self, tensor: Tensor, at: int) -> tuple[Tensor, int] | None:
        """Take a copy, noted with a number; return the one that was taken before."""
        before = self._taken
        copy, taken = tensor.to("cpu", non_blocking=True), torch.cuda.Event()  # type: ignore[no-untyped-call]
        taken.record(torch.cuda.current_stream(tensor.device))
        self._taken = (copy, at, taken)
        if before is None:
            return None
        before[2].synchronize()
        return before[:2]
