"""What a training step costs, part by part, and how near training comes to the bare step.

::

    aerodet bench train --size 512 --batch 32
    PYTHONPATH=src python -m aerodet.detectnet.profile --data tiles --json      needs torch, numpy, OpenCV and protobuf

For each way to run a step three things are timed in turn, A B C C B A, and compared by the medians of their rounds:
*plain*, the step as it is written (eager, channels-last, bfloat16 where the device has it, on the same of cuDNN's
kernels, pictures and targets ready on the device); *bare*, the same step as training runs it; *whole*, training
itself, with data, augmentation and targets.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aerodet.detectnet.device import computes_bfloat16, keep_freed_memory, pick_device
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.detectnet.step import Compile, Step, cudnn_choice, how_to_run
from aerodet.detectnet.targets import Targets
from aerodet.detectnet.train import Job, _Loop
from aerodet.errors import MachineError, UserError
from aerodet.progress import track

if TYPE_CHECKING:
    from aerodet.data import Images

__all__ = ["PARTS", "ProfileOptions", "profile_table", "profile_training"]

PARTS = ("load", "augment", "targets", "forward", "backward", "optimiser")
_EPOCHS = 1000  # more than are run: the schedule must not end
_BATCHES, _BOXES = 4, 12  # of drawn pictures; boxes on each
_GPU_STEPS = 45  # of an epoch, by repeating the pictures: that many 1,440 tiles make; at its end the GPU is waited for
_WARM_UP = 6  # steps: more than a recording waits for
_ALL_MODES: tuple[Compile, ...] = ("off", "graph", "inductor")


@dataclass(frozen=True)
class ProfileOptions:
    """What is measured.

    Args:
        arch: resnet10, resnet18 or resnet34.
        width: multiplies the backbone's channels.
        size: side of the pictures in pixels.
        batch: pictures of a step.
        steps: timed steps of each kind.
        compile: ways to run a step, see :mod:`aerodet.detectnet.step`; empty: all that the device can.
        device: cpu or cuda; empty: the GPU when there is one.
        data: image set to train on; without one, noise with rectangles.

    Raises:
        UserError: there are no steps to time, or no such way to run them.
    """

    arch: str = "resnet18"
    width: float = 1.0
    size: int = 512
    batch: int = 32
    steps: int = 100
    compile: tuple[Compile, ...] = ()
    device: str = ""
    data: Path | None = None

    def __post_init__(self) -> None:
        if wrong := set(self.compile) - set(_ALL_MODES):
            raise UserError(f"--compile should be off, graph or inductor, not {min(wrong)}")
        if self.steps < 1:
            raise UserError(f"--steps is {self.steps}; time at least one")


class _Drawn:
    """Noise with rectangles, as an image set."""

    classes = ("aircraft",)

    def __init__(self, count: int, size: int) -> None:
        rng = np.random.default_rng(0)
        self._pixels = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        corners = rng.uniform(0, 0.8 * size, (count, _BOXES, 2)).astype(np.float32)
        sides = rng.uniform(0.06 * size, 0.2 * size, (count, _BOXES, 2)).astype(np.float32)
        boxes = np.concatenate([corners, corners + sides], axis=2)
        labels = np.zeros(_BOXES, np.int64)
        no = np.zeros((0, 4), np.float32)
        self.records: Sequence[Any] = [
            SimpleNamespace(boxes=b, labels=labels, ignored=no, truth=(b, labels), width=size, height=size)
            for b in boxes
        ]

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return the pixels [H, W, 3]."""
        pixels: NDArray[np.uint8] = self._pixels[index]
        return pixels

    def encoded(self, index: int) -> bytes:
        """Return the pixels as bytes."""
        return self.image(index).tobytes()


def profile_training(options: ProfileOptions) -> dict[str, Any]:
    """Measure.

    Returns:
        Under ``modes`` for each way to run a step ``plain``, ``bare`` and ``whole``: ``step_ms`` and
        ``images_per_s``, with the ratios ``bare_over_plain`` and ``whole_over_bare`` (of speeds) and ``start_s``, the
        seconds of the first steps, compiling among them; ``parts_ms`` and ``parts_percent``, each part run as written
        and waited for; ``conditions``.

    Raises:
        SpecError: an option is out of a spec's limits.
        MachineError: there is no such device, or it cannot run steps in a wanted way.
    """
    keep_freed_memory()  # as a run's trainings do
    device, source = _device(options), _source(options)
    pixels = options.batch * options.size**2
    for mode in options.compile:
        how_to_run(mode, device, steps=options.steps, pixels=pixels)
    modes = options.compile or tuple(mode for mode in _ALL_MODES if _possible(mode, device, pixels))
    with get_context("spawn").Pool(1, _end_with_the_bench, maxtasksperchild=1) as pool:
        rows = pool.starmap(_measured, [(options, mode) for mode in modes], chunksize=1)
    plain = _loop(options, source, device, "off")
    parts = _parts(plain, min(options.steps, 30))
    total = sum(parts.values())
    return {
        "modes": dict(zip(modes, rows, strict=True)),
        "parts_ms": parts,
        "parts_percent": {name: 100 * value / total for name, value in parts.items()},
        "conditions": _conditions(options, device, len(source.records)),
    }


def _end_with_the_bench() -> None:
    """End this process when the bench has ended in whatever way: killed, it cannot end those that it started."""
    bench = parent_process()
    assert bench is not None

    def wait() -> None:
        bench.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _measured(options: ProfileOptions, mode: Compile) -> dict[str, Any]:
    """Compare one way to run a step with plain PyTorch, in a process of its own: cuDNN keeps what it chose first."""
    keep_freed_memory()
    device, source = _device(options), _source(options)
    plain = _loop(options, source, device, "off")
    with cudnn_choice(mode):
        loop = _loop(options, source, device, mode)
        bare, whole = _bare(loop), _whole(loop)
        start = _clock(device, bare, _WARM_UP)
        _clock(device, whole, _WARM_UP)
        times = _in_turn(device, {"plain": _bare(plain), "bare": bare, "whole": whole}, options.steps, mode)
    speeds = {name: _speed(values, options.batch) for name, values in times.items()}
    return {
        **speeds,
        "bare_over_plain": speeds["plain"]["step_ms"] / speeds["bare"]["step_ms"],
        "whole_over_bare": speeds["bare"]["step_ms"] / speeds["whole"]["step_ms"],
        "start_s": start,
    }


def profile_table(result: dict[str, Any]) -> str:
    """Return the figures as text."""
    c = result["conditions"]
    lines = [
        f"{c['arch']} width {c['width']:g}, {c['size']} px, batch {c['batch']}, {c['precision']}: {c['device']}",
        f"{c['pictures']} pictures, {c['steps']} steps of each in turn, {c['versions']}, {c['date']}",
        "",
        f"{'steps run':10}{'plain':>12}{'bare':>12}{'whole':>12}{'bare/plain':>12}{'whole/bare':>12}{'start':>9}",
    ]
    for mode, row in result["modes"].items():
        speeds = "".join(f"{row[name]['images_per_s']:>10.1f}/s" for name in ("plain", "bare", "whole"))
        ratios = f"{row['bare_over_plain']:>12.2f}{100 * row['whole_over_bare']:>10.1f} %"
        lines.append(f"{mode:10}{speeds}{ratios}{row['start_s']:>7.1f} s")
    lines += ["", f"{'part, as written and waited for':34}{'ms':>8}{'share':>10}"]
    for name in PARTS:
        lines.append(f"{name:34}{result['parts_ms'][name]:>8.2f}{result['parts_percent'][name]:>8.1f} %")
    return "\n".join(lines)


def _device(options: ProfileOptions) -> torch.device:
    if options.device == "cuda" and not torch.cuda.is_available():
        raise MachineError("--device is cuda, and PyTorch sees no GPU here; leave it out, or set cpu")
    return torch.device(options.device) if options.device else pick_device()


def _source(options: ProfileOptions) -> Images:
    if options.data is None:
        return _Drawn(_BATCHES * options.batch, options.size)
    from aerodet.data import ImageSet

    return ImageSet(options.data)


def _possible(mode: Compile, device: torch.device, pixels: int) -> bool:
    """Say whether it runs here, and is worth a look: Inductor on a CPU has to be asked for."""
    if mode == "off" or device.type != "cuda":
        return mode == "off"
    return mode == "graph" or how_to_run("auto", device, steps=10**9, pixels=pixels) == mode


def _loop(options: ProfileOptions, source: Images, device: torch.device, mode: Compile) -> _Loop:
    spec = build_spec(
        SpecOptions(
            classes=tuple(source.classes),
            image_width=options.size,
            image_height=options.size,
            layers=int(options.arch.removeprefix("resnet")),
            width=options.width,
            batch_size=options.batch,
            epochs=_EPOCHS,
        )
    )
    pictures = list(range(len(source.records)))
    if device.type == "cuda":
        pictures *= max(1, -(-_GPU_STEPS * options.batch // len(pictures)))
    return _Loop(Job(spec, [(source, pictures)], compile=mode), device)


def _bare(loop: _Loop) -> Iterator[None]:
    """Make steps on one batch that lies ready."""
    images, targets = loop.prepare(loop.data.batch(range(loop.settings.training.batch_size)))
    loop.model.train()
    while True:
        loop.make_step(images, targets)
        yield


def _whole(loop: _Loop) -> Iterator[None]:
    while True:
        for _ in loop.epoch():
            yield


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _clock(device: torch.device, steps: Iterator[None], count: int) -> float:
    """Return the seconds that some steps take, when the device is done with them."""
    _synchronize(device)
    began = time.perf_counter()
    for _ in range(count):
        next(steps)
    _synchronize(device)
    return time.perf_counter() - began


def _in_turn(
    device: torch.device, kinds: dict[str, Iterator[None]], steps: int, mode: Compile
) -> dict[str, list[float]]:
    """Return the seconds a step of each kind, round by round. A round on a GPU is long enough to hide its waiting."""
    long = max(1, min(_GPU_STEPS, steps // 3)) if device.type == "cuda" else 1
    times: dict[str, list[float]] = defaultdict(list)
    for n in track(range(max(1, steps // long) + 1), f"timing {mode}"):
        for name in list(kinds) if n % 2 == 0 else list(kinds)[::-1]:
            times[name].append(_clock(device, kinds[name], long) / long)
    return {name: values[1:] for name, values in times.items()}  # the first round warms up


def _speed(seconds: list[float], batch: int) -> dict[str, float]:
    step = median(seconds)
    return {"step_ms": 1000 * step, "images_per_s": batch / step}


def _parts(loop: _Loop, steps: int) -> dict[str, float]:
    """Return the median milliseconds of each part of a step as written, each waited for."""
    times: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        _synchronize(loop.device)
        began = time.perf_counter()
        result = function(*arguments)
        _synchronize(loop.device)
        times[name].append(time.perf_counter() - began)
        return result

    step, batch = loop.make_step, loop.settings.training.batch_size
    assert isinstance(step, Step)  # the loop was made without recordings
    prepare, size = loop.prepare, loop.settings.size

    def augment(images: Tensor) -> tuple[Tensor, Tensor | None]:
        space, matrix, color = prepare.draw(len(images), *size, loop.device)
        return prepare.images(images, space, color)[0], matrix

    for n in range(steps + 1):
        at = [(n * batch + k) % len(loop.data) for k in range(batch)]
        loaded = timed("load", loop.data.batch, at)
        images, matrix = timed("augment", augment, loaded.images)
        targets = Targets(*timed("targets", prepare.targets, loaded.boxes, loaded.labels, matrix))
        loop.optimizer.zero_grad(set_to_none=True)
        loss, _ = timed("forward", step.losses, images, targets)
        timed("backward", loss.backward)
        timed("optimiser", step.update)
    return {name: 1000 * median(times[name][1:]) for name in PARTS}


def _conditions(options: ProfileOptions, device: torch.device, pictures: int) -> dict[str, Any]:
    gpu = device.type == "cuda"
    return {
        **{k: v for k, v in asdict(options).items() if k not in ("compile", "data")},
        "device": torch.cuda.get_device_name(device) if gpu else f"CPU, {torch.get_num_threads()} threads",
        "precision": "bfloat16" if computes_bfloat16(device) else "float32",
        "pictures": pictures,
        "versions": f"torch {torch.__version__}, Python {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = ProfileOptions()
    for name in ("arch", "width", "size", "batch", "steps", "device"):
        value = getattr(defaults, name)
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--data", type=Path, help="image set")
    parser.add_argument("--compile", nargs="*", choices=_ALL_MODES, default=())
    parser.add_argument("--json", action="store_true")
    given = vars(parser.parse_args())
    as_json = given.pop("json")
    result = profile_training(ProfileOptions(**{**given, "compile": tuple(given["compile"])}))
    print(json.dumps(result, indent=2) if as_json else profile_table(result))


if __name__ == "__main__":
    _main()
