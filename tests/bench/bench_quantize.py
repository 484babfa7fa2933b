"""What each way to INT8 leaves of a float detector's AP50, run by ONNX Runtime on the CPU.

::

    python tests/bench/bench_quantize.py runs/latest                             the run's own QAT, and calibration only
    python tests/bench/bench_quantize.py runs/latest --steps 150                        and training of so many steps
    PYTHONPATH=site python tests/bench/bench_quantize.py runs/latest --steps 150 --modelopt        and nvidia-modelopt

Calibrated by the same pictures, tested on the run's test set. Ours is TAO's quantisation-aware training as the run did
it. *ours, calibrated* puts the same fake quantisation into the float network and only measures extents. *ONNX Runtime*
is its own static quantisation of the float graph, one scale a channel. nvidia-modelopt gets its default INT8
configuration, with the heads left float, and then as many steps of training as ours; it is scored by its own fake
quantisation in PyTorch, as its ONNX export does not take our network.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from aerodet.data import ImageSet
from aerodet.deploy import OnnxDetector, export_float, export_int8
from aerodet.detectnet.checkpoint import load_model
from aerodet.detectnet.dataset import TrainingSet, in_unit
from aerodet.detectnet.inference import Predictor, TorchPredictor, detect
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.quantize import activation_quantizers, prepare_qat
from aerodet.detectnet.settings import Settings, settings_of
from aerodet.detectnet.spec import parse_spec, read_spec
from aerodet.detectnet.train import Job, _Loop
from aerodet.metrics import coco_ap

BATCH, BATCHES = 16, 8  # of the pictures that calibrate
CPU = torch.device("cpu")


class Bench:
    """A run's networks and pictures."""

    def __init__(self, run: Path, folder: Path) -> None:
        self.artifacts, self.folder = run / "artifacts", folder
        self.settings: Settings = settings_of(read_spec(self.artifacts / "train-retrain/model/spec.txt"))
        self.test = ImageSet(self.artifacts / "render-test/dataset")
        self.real = ImageSet(self.artifacts / "render-real/dataset")
        data = TrainingSet([(self.real, range(BATCH * BATCHES))], self.settings.size, CPU)
        self.images = [in_unit(data.batch(range(n * BATCH, (n + 1) * BATCH)).images) for n in range(BATCHES)]

    def network(self, arm: str) -> DetectNet:
        """Load a checkpoint of the run."""
        return load_model(self.artifacts / f"train-{arm}/model")[0].eval()

    def score(self, name: str, predictor: Predictor) -> None:
        """Print AP50 and AP75 on the test set."""
        truth = [(record.boxes, record.labels) for record in self.test.records]
        result = coco_ap(truth, detect(predictor, self.test, self.settings, show=False), len(self.settings.classes))
        print(f"{name:44}{100 * result.ap50:8.2f}{100 * result.ap75:8.2f}", flush=True)

    def score_int8(self, name: str, model: DetectNet) -> None:
        """Export our INT8 graph and score it."""
        path = self.folder / f"{len(list(self.folder.iterdir()))}.onnx"
        export_int8(model, path, size=self.settings.size, target="onnxruntime")
        self.score(name, OnnxDetector(path, 1))


def calibrated(bench: Bench, extent: Callable[[torch.Tensor], torch.Tensor]) -> DetectNet:
    """Return the float network with fake quantisation whose extents are measured, not trained."""
    model = prepare_qat(bench.network("retrain")).eval()
    seen: dict[str, list[torch.Tensor]] = {}
    hooks = []
    for name, quantizer in activation_quantizers(model).items():
        quantizer.forward = lambda x: x  # type: ignore[method-assign]  # measured on float activations

        def note(_: Any, inputs: tuple[torch.Tensor], __: Any, name: str = name) -> None:
            seen.setdefault(name, []).append(extent(inputs[0].abs().flatten()))

        hooks.append(quantizer.register_forward_hook(note))
    with torch.inference_mode():
        for images in bench.images:
            model(images)
    for hook in hooks:
        hook.remove()
    for name, quantizer in activation_quantizers(model).items():
        del quantizer.forward
        quantizer.steps.fill_(10**6)  # the average's start no longer counts
        quantizer.average.copy_(torch.stack(seen[name]).max())
    return model


def percentile(share: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a measure of extent that leaves the largest values out."""
    return lambda values: values.kthvalue(max(1, round(share * values.numel()))).values


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Pictures for ONNX Runtime's calibration."""

    def __init__(self, images: list[torch.Tensor]) -> None:
        self._batches: Iterator[np.ndarray[Any, Any]] = iter(batch.numpy() for batch in images)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next feed."""
        batch = next(self._batches, None)
        return None if batch is None else {"input_1": batch}


def onnx_runtime(bench: Bench, method: CalibrationMethod) -> Path:
    """Quantise the float graph with ONNX Runtime's own tool."""
    plain, ready, out = (bench.folder / f"ort-{method.name}-{part}.onnx" for part in ("float", "ready", "int8"))
    export_float(bench.network("retrain"), plain, size=bench.settings.size)
    quant_pre_process(str(plain), str(ready))
    quantize_static(
        str(ready),
        str(out),
        Reader(bench.images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=method,
        nodes_to_exclude=["output_bbox", "output_cov", "output_cov/Sigmoid"],
    )
    return out


def training(bench: Bench, steps: int, *, qat: bool) -> _Loop:
    """Return a training of the float network on the run's real pictures, under the spec of its own QAT."""
    spec = parse_spec((bench.artifacts / "train-qat/model/spec.txt").read_text())
    spec.training_config.enable_qat = qat
    count = len(bench.real)
    spec.training_config.num_epochs = -(-steps // -(-count // spec.training_config.batch_size_per_gpu))
    return _Loop(Job(spec, [(bench.real, range(count))], init=bench.artifacts / "train-retrain/model"), CPU)


def run(loop: _Loop) -> None:
    """Train to the end."""
    while loop.result.epochs < loop.settings.training.epochs:
        for _ in loop.epoch():
            pass


def modelopt(bench: Bench, steps: int) -> None:
    """Quantise by nvidia-modelopt, calibrated only and trained."""
    import modelopt.torch.quantization as mtq

    configuration = copy.deepcopy(mtq.INT8_DEFAULT_CFG)
    off = {"quantizer_name": "*output_*quantizer*", "enable": False}
    entries = configuration["quant_cfg"]
    entries.append(off) if isinstance(entries, list) else entries.update({"*output_bbox*": off, "*output_cov*": off})

    def feed(network: torch.nn.Module) -> None:
        with torch.no_grad():
            for images in bench.images:
                network(images)

    loop = training(bench, steps, qat=False)
    loop._in_bfloat16 = lambda: False  # type: ignore[method-assign]
    loop.model = mtq.quantize(loop.model.eval(), configuration, feed)
    bench.score("nvidia-modelopt, calibrated (max)", TorchPredictor(loop.model))
    run(loop)
    bench.score(f"nvidia-modelopt, {loop.step} steps of training", TorchPredictor(loop.model))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run with rendered scenes")
    parser.add_argument(
        "--steps", type=int, default=0, help="of training with fake quantisation, from the float network"
    )
    parser.add_argument("--modelopt", action="store_true", help="compare with nvidia-modelopt too")
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d', time.gmtime())}, torch {torch.__version__}, {os.cpu_count()} cores")
    print(f"{'':44}{'AP50':>8}{'AP75':>8}")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.run, Path(folder))
        bench.score("float (pruned and retrained)", TorchPredictor(bench.network("retrain")))
        bench.score_int8("ours, the run's own training", bench.network("qat"))
        bench.score_int8("ours, calibrated (max)", calibrated(bench, lambda values: values.max()))
        for share in (0.9999, 0.999):
            bench.score_int8(f"ours, calibrated ({100 * share:g} %)", calibrated(bench, percentile(share)))
        for method in (CalibrationMethod.MinMax, CalibrationMethod.Percentile, CalibrationMethod.Entropy):
            bench.score(f"ONNX Runtime ({method.name})", OnnxDetector(onnx_runtime(bench, method), 1))
        if options.steps:
            loop = training(bench, options.steps, qat=True)
            run(loop)
            bench.score_int8(f"ours, {loop.step} steps of training", loop.model.eval())
        if options.modelopt:
            modelopt(bench, options.steps)


if __name__ == "__main__":
    main()
