"""Training on several devices: one process each, which sees its own share of every step's pictures.

Gradients are averaged after the backward pass (NCCL on GPUs, Gloo on CPUs), so all processes keep the same weights. As
with TAO's Horovod, the batch size is per device and the learning rate is not scaled with the number of devices.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing import get_context
from torch.multiprocessing.spawn import ProcessRaisedException, spawn

from aerodet.errors import AerodetError
from aerodet.progress import QUIET_VARIABLE

__all__ = ["Worker", "run_workers"]


@dataclass(frozen=True)
class Worker:
    """One of the processes of a training.

    Args:
        rank: its number, from 0.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Say whether it is the one that validates, writes and shows progress."""
        return self.rank == 0

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace float tensors by their mean over the processes, in place; all must call it with the same shapes."""
        members = list(tensors) if self.count > 1 else []
        if not members:
            return
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in members])  # one message for all
        distributed.all_reduce(flat)
        flat /= self.count
        sizes = [tensor.numel() for tensor in members]
        for tensor, part in zip(members, torch.split(flat, sizes), strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def average_statistics(self, model: nn.Module) -> None:
        """Average the running statistics, which each process took from its own pictures."""
        self.average(buffer for buffer in model.buffers() if buffer.is_floating_point())


def run_workers(function: Callable[..., Any], count: int, device_type: str, options: dict[str, Any]) -> Any:
    """Call ``function(worker=..., device=..., **options)`` in ``count`` processes; return what the first returns.

    Args:
        function: importable by its name.
        count: processes; each gets a GPU, or a share of the CPU's threads.
        device_type: ``cuda`` or ``cpu``.
        options: keyword arguments that can be pickled.

    Raises:
        AerodetError: what a process raised; the others are ended.
    """
    answers = get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="aerodet-") as folder:
        arguments = (function, count, Path(folder) / "store", device_type, options, answers)
        try:
            spawn(_work, arguments, nprocs=count)  # type: ignore[no-untyped-call]
        except ProcessRaisedException:
            if answers.empty():  # a defect: its traceback is in the message
                raise
    kind, value = answers.get()
    if kind == "error":
        raise value
    return value


def _work(
    rank: int,
    function: Callable[..., Any],
    count: int,
    store: Path,
    device_type: str,
    options: dict[str, Any],
    answers: Any,
) -> None:
    if rank:
        os.environ[QUIET_VARIABLE] = "1"
    device = torch.device(device_type, rank) if device_type == "cuda" else torch.device("cpu")
    if device_type == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // count))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all on one host, which may have no other network
    backend = "nccl" if device_type == "cuda" else "gloo"
    distributed.init_process_group(backend, init_method=store.as_uri(), rank=rank, world_size=count)
    try:
        result = function(worker=Worker(rank, count), device=device, **options)
        if rank == 0:
            answers.put(("result", result))
    except AerodetError as error:
        answers.put(("error", error))
        raise
    finally:
        distributed.destroy_process_group()
