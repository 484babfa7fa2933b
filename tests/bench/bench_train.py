"""What a training step is spent on, and what turning outputs into boxes costs beside the network.

::

    python tests/bench/bench_train.py                    both shapes, on the GPU when there is one
    python tests/bench/bench_train.py --threads 1 --seconds 5

The clock runs around the parts of the training loop itself, so that nothing is measured that is not run. Augmentation
and targets together should take no more than 20 % of a step, decoding and clustering no more than 20 % of a forward
pass.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aerodet.data import ImageRecord, encode_image
from aerodet.detectnet.device import pick_device
from aerodet.detectnet.inference import TorchPredictor
from aerodet.detectnet.postprocess import cluster
from aerodet.detectnet.spec import parse_spec
from aerodet.detectnet.targets import Targets
from aerodet.detectnet.train import Job, _Loop
from aerodet.pipelines._specs import arm_spec
from aerodet.pipelines.profiles import load_profile
from aerodet.synth import CLASSES, SceneSettings, render_scene

SHAPES = {
    "quickstart: 256 px, width 0.25, batch 16": [],
    "512 px, width 1.0, batch 4": ["size=512", "model.width=1.0", "training.batch_size=4"],
}
LIMIT = 20  # percent
WARM_UP, LEAST, MOST = 2, 3, 100  # steps
PARTS = ("batch", "augmentation", "targets", "optimiser")


class Scenes:
    """Rendered scenes in memory, as an image set."""

    classes = CLASSES

    def __init__(self, size: int, count: int) -> None:
        scenes = [render_scene(SceneSettings(size=size), seed=1, index=n) for n in range(count)]
        self.pictures = [scene.image for scene in scenes]
        self.records = [
            ImageRecord(n, f"{n}.png", size, size, scene.group, scene.boxes, scene.labels)
            for n, scene in enumerate(scenes)
        ]

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return the pixels."""
        return self.pictures[index]

    def encoded(self, index: int) -> bytes:
        """Return the picture as PNG."""
        return encode_image(self.pictures[index])


class Clock:
    """Takes the time of calls, waiting for the GPU where there is one."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.times: dict[str, list[float]] = defaultdict(list)

    def now(self) -> float:
        """Return seconds, when all that was asked of the device is done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` with its time noted under ``name``."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = self.now()
            result = function(*args, **kwargs)
            self.times[name].append(self.now() - began)
            return result

        return timed


def measured_loop(overrides: list[str], device: torch.device) -> tuple[_Loop, Scenes, Clock]:
    """Return the training loop of the quickstart profile's real arm, with a clock around its parts."""
    profile = load_profile("quickstart", overrides)
    source = Scenes(profile.size, 2 * profile.training.batch_size)
    spec = parse_spec(arm_spec(profile, profile.real, load_graph=False, qat=False))
    spec.training_config.num_epochs = MOST
    loop, clock = _Loop(Job(spec, [(source, range(len(source.records)))]), device), Clock(device)
    setattr(loop.data, "batch", clock.around("batch", loop.data.batch))  # noqa: B010 - mypy knows it as a method
    loop.prepare.images = clock.around("augmentation", loop.prepare.images)
    loop.prepare.targets = clock.around("targets", loop.prepare.targets)
    setattr(loop.optimizer, "step", clock.around("optimiser", loop.optimizer.step))  # noqa: B010
    return loop, source, clock


def time_steps(loop: _Loop, clock: Clock, seconds: float) -> dict[str, float]:
    """Return the median milliseconds of a whole step and of its parts."""
    steps: list[float] = []
    end = time.perf_counter() + seconds
    while len(steps) < WARM_UP + LEAST or (time.perf_counter() < end and len(steps) < MOST):
        began = clock.now()
        for _ in loop.epoch():
            steps.append(clock.now() - began)
            began = clock.now()
    parts = {name: clock.times[name][WARM_UP : len(steps)] for name in PARTS}
    rest = [step - sum(own) for step, *own in zip(steps[WARM_UP:], *parts.values(), strict=True)]
    columns = {**parts, "forward + backward": rest, "step": steps[WARM_UP:]}
    return {name: 1000 * median(times) for name, times in columns.items()}


def time_outputs(loop: _Loop, source: Scenes, clock: Clock) -> dict[str, float]:
    """Return the median milliseconds a picture of the forward pass and of decoding and clustering.

    The boxes are looked for in what a trained network would put out, the targets with some noise, and in the output of
    a network that fires everywhere, as before training.
    """
    s, count = loop.settings, loop.settings.training.batch_size
    predictor = clock.around("forward", TorchPredictor(loop.model, loop.device))
    truth = loop.data.batch(range(count))
    exact = Targets(*loop.prepare.targets(truth.boxes, truth.labels, None))
    rng = np.random.default_rng(0)
    cov, bbox = exact.cov.cpu().numpy(), exact.bbox.cpu().numpy()
    noisy = (cov * rng.uniform(0.6, 1.0, cov.shape), bbox + rng.normal(0, 0.03, bbox.shape))
    outputs = {"trained": noisy, "everywhere": (np.full_like(cov, 0.5), rng.uniform(0, 1, bbox.shape))}
    images = np.stack(source.pictures[:count])
    for _ in range(WARM_UP + LEAST):
        predictor(images)
        for name, (cells, distances) in outputs.items():
            clock.around(f"cluster, {name}", cluster)(
                cells.astype(np.float32),
                distances.astype(np.float32),
                s.clusters,
                scale=s.box_scale,
                offset=s.box_offset,
            )
    names = ["forward", *(f"cluster, {name}" for name in outputs)]
    return {name: 1000 * median(clock.times[name][WARM_UP:]) / count for name in names}


def report(name: str, step: dict[str, float], output: dict[str, float]) -> None:
    """Print one shape's figures."""
    print(f"\n{name}")
    for part, value in step.items():
        print(f"  {part:24}{value:10.2f} ms{100 * value / step['step']:8.1f} %")
    share = 100 * (step["augmentation"] + step["targets"]) / step["step"]
    print(f"  augmentation + targets are {share:.1f} % of a step: {verdict(share)}")
    for part, value in output.items():
        print(f"  {part:24}{value:10.3f} ms a picture")
    share = 100 * output["cluster, trained"] / output["forward"]
    print(f"  decode + cluster take {share:.1f} % of a forward pass: {verdict(share)}")


def verdict(share: float) -> str:
    """Say whether a share is within the limit."""
    return f"{'within' if share <= LIMIT else 'ABOVE'} the limit of {LIMIT} %"


def machine(device: torch.device) -> str:
    """Describe what this runs on, and when."""
    info = Path("/proc/cpuinfo")
    models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
    cpu = models[0] if models else platform.processor()
    gpu = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {cpu}, {threads}{gpu}, {versions}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, help="of PyTorch; all cores by default")
    parser.add_argument("--seconds", type=float, default=15.0, help="for the steps of a shape, at least")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = pick_device()
    print(machine(device))
    for name, overrides in SHAPES.items():
        loop, source, clock = measured_loop(overrides, device)
        step = time_steps(loop, clock, options.seconds)
        report(name, step, time_outputs(loop, source, clock))


if __name__ == "__main__":
    main()
