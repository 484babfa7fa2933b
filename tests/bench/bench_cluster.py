"""What decoding and clustering cost beside the INT8 network that they follow, on the same CPU threads.

::

    python tests/bench/bench_cluster.py --threads 2

64 pictures of 512 px, by a full-width ResNet18 pruned to 0.3 of its parameters and by one of about 444,000. The
networks have not learned; the outputs to cluster are what a trained network would put out: the targets of pictures
with twelve aircraft each, with some noise. Forward and clustering alternate; the figures are medians.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from aerodet.deploy import OnnxDetector, export_int8
from aerodet.deploy._cpu import cpu_name
from aerodet.detectnet.model import DetectNet, count_parameters
from aerodet.detectnet.postprocess import ClusterOptions, cluster
from aerodet.detectnet.prune import PruneOptions, prune_to
from aerodet.detectnet.quantize import prepare_qat
from aerodet.detectnet.targets import ClassShape, TargetMaker

PICTURES, SIZE, BATCH, AIRCRAFT = 64, 512, 16, 12
LIMIT = 10  # percent


def detector(path: Path, keep: float, threads: int) -> tuple[OnnxDetector, int]:
    """Return an INT8 network with at most this share of ResNet18's parameters, and how many it has."""
    torch.manual_seed(0)
    network = DetectNet(layers=18, num_classes=1)
    for module in network.modules():  # as after training: channels differ in what they weigh
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data *= torch.rand(module.out_channels, 1, 1, 1) + 0.05
    pruned = prune_to(network, PruneOptions(), keep)[0]
    count = count_parameters(pruned)["total"]
    prepare_qat(pruned).train()
    with torch.no_grad():
        pruned(torch.rand(1, 3, 256, 256))
    export_int8(pruned.eval(), path, size=(SIZE, SIZE), target="onnxruntime")
    return OnnxDetector(path, threads), count


def outputs() -> tuple[np.ndarray, np.ndarray]:
    """Return coverage and box maps as of a trained network."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(PICTURES, AIRCRAFT, 2, generator=generator) * 420
    boxes = torch.cat([corner, corner + 30 + 80 * torch.rand(PICTURES, AIRCRAFT, 2, generator=generator)], dim=2)
    exact = TargetMaker((SIZE, SIZE), [ClassShape()])(boxes, torch.zeros(PICTURES, AIRCRAFT, dtype=torch.int64))
    rng = np.random.default_rng(0)
    cov = exact.cov.numpy() * rng.uniform(0.6, 1.0, exact.cov.shape)
    bbox = exact.bbox.numpy() + rng.normal(0, 0.03, exact.bbox.shape)
    return cov.astype(np.float32), bbox.astype(np.float32)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cov, bbox = outputs()
    kinds = {"dbscan": ClusterOptions(0.05), "nms": ClusterOptions(0.05, algorithm="nms")}
    images = np.random.default_rng(0).random((BATCH, 3, SIZE, SIZE), np.float32)
    print(f"{time.strftime('%Y-%m-%d', time.gmtime())}, {cpu_name()}, {options.threads} threads, ms for {PICTURES}")
    with tempfile.TemporaryDirectory() as folder:
        for keep in (0.3, 444_000 / 11_197_893):
            network, count = detector(Path(folder) / "model.onnx", keep, options.threads)
            times: dict[str, list[float]] = {name: [] for name in ("forward", *kinds)}
            for _ in range(options.rounds + 1):
                began = time.perf_counter()
                for _ in range(PICTURES // BATCH):
                    network.run(images)
                times["forward"].append(time.perf_counter() - began)
                for name, kind in kinds.items():
                    began = time.perf_counter()
                    cluster(cov, bbox, [kind])
                    times[name].append(time.perf_counter() - began)
            ms = {name: 1000 * median(values[1:]) for name, values in times.items()}
            shares = {name: 100 * ms[name] / ms["forward"] for name in kinds}
            said = "; ".join(
                f"{name} {ms[name]:.1f} ms = {share:.1f} %{'' if share <= LIMIT else f', ABOVE {LIMIT} %'}"
                for name, share in shares.items()
            )
            print(f"{count:>9,} parameters: INT8 forward {ms['forward']:.0f} ms; {said}", flush=True)


if __name__ == "__main__":
    main()
