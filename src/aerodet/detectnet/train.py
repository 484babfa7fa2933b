"""The training loop: real, synthetic, fine-tune, retrain and quantisation-aware arms are all this one.

::

    aerodet run --profile quickstart                      the whole flow, this loop six times
    train(spec, items, out=Path("model"))                 from scratch
    train(spec, items, out=..., init=Path("other"))       fine-tune; with the spec's load_graph the heads are kept too

What an epoch does: draw batches in a random order, augment, draw targets, one Adam step a batch under the soft-start
annealing schedule, re-weigh the two losses, validate when it is time, and keep what a stopped run needs to go on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from aerodet.detectnet.checkpoint import load_checkpoint, save_checkpoint
from aerodet.detectnet.dataset import Mix, TrainingSet
from aerodet.detectnet.device import computes_bfloat16, pick_device
from aerodet.detectnet.distill import Distillation
from aerodet.detectnet.distributed import Worker, run_workers
from aerodet.detectnet.inference import TorchPredictor, detect
from aerodet.detectnet.initial import freeze, freeze_statistics, initial_model
from aerodet.detectnet.losses import CostWeights, regularize
from aerodet.detectnet.model import channels_last
from aerodet.detectnet.prepare import Preparation
from aerodet.detectnet.quantize import is_quantized
from aerodet.detectnet.record import CudaRecorder
from aerodet.detectnet.schedule import learning_rate, standard_error
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import Experiment, format_spec
from aerodet.detectnet.step import Compile, LateLook, RecordedStep, Step, ahead, cudnn_choice, how_to_run
from aerodet.detectnet.targets import Targets
from aerodet.errors import DataError, SpecError, TrainingError
from aerodet.files import atomic_path, disk_errors, write_json
from aerodet.metrics import coco_ap
from aerodet.progress import progress

if TYPE_CHECKING:  # what a training needs to read files is not needed to train
    from aerodet.data import Images

__all__ = ["Job", "TrainResult", "train"]

Items = Sequence[tuple["Images", Sequence[int]]]
_STATE_SECONDS = 15.0  # a stopped run loses at most about this much
_LOOK_STEPS = 20  # on a GPU the loss is looked at this often


@dataclass
class TrainResult:
    """What a training gave.

    Attributes:
        epochs: epochs run.
        best_epoch: the epoch whose weights were kept.
        best_ap50: its AP50 on the validation pictures in percent; None without validation.
        seconds: time in the loop, without reading images, over all starts.
        images: pictures trained on.
        history: one entry an epoch: ``epoch, loss, cov, bbox, lr`` and, when validated, ``ap50``.
    """

    epochs: int = 0
    best_epoch: int = 0
    best_ap50: float | None = None
    seconds: float = 0.0
    images: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    spec: Experiment,
    items: Items,
    *,
    out: Path,
    state: Path | None = None,
    init: Path | None = None,
    mix: Mix | None = None,
    validation: Items = (),
    teacher: Path | None = None,
    distillation: float = 1.0,
    seed: int = 0,
    device: torch.device | None = None,
    processes: int = 1,
    compile: Compile = "auto",  # noqa: A002 - the profile's and torch's name for it
    deterministic: bool = False,
    description: str = "training",
) -> TrainResult:
    """Train a detector.

    Args:
        spec: the experiment.
        items: (image set, picture indices) pairs to train on.
        out: folder that receives ``model.pt``, ``spec.txt`` and ``history.json``. Kept are the weights of the last
            epoch whose AP50 is the best within its standard error, without validation those of the last of all.
        state: folder for TensorBoard events and for the newest checkpoint, from which a stopped training goes on.
        init: checkpoint to start from, see :func:`aerodet.detectnet.initial.initial_model`.
        mix: pictures of another set, of which each epoch draws some.
        validation: pairs to validate on.
        teacher: checkpoint of a network to distil from, see :mod:`aerodet.detectnet.distill`.
        distillation: weight of what the teacher says, relative to the labels.
        seed: of the weights, the order and the augmentation.
        device: default: the GPU when there is one.
        processes: one a GPU, see :mod:`aerodet.detectnet.distributed`; 0: as many as there are GPUs.
        compile: how steps are run, see :mod:`aerodet.detectnet.step`.
        deterministic: only what gives the same sums again on a GPU, so that a seed gives the same weights again.
        description: shown beside the progress bar.

    Raises:
        SpecError: the spec breaks a limit or asks for what only TAO can do, or ``state`` is of another training.
        DataError: there is nothing to train on, or the images' classes are not the spec's.
        TrainingError: the loss is not finite.
        MachineError: the disk is full, or ``compile`` asks for what this machine has not.
    """
    if not any(len(indices) for _, indices in items):
        raise DataError("there are no pictures to train on")
    job = Job(spec, items, mix, validation, init, teacher, distillation, seed, state, compile, deterministic)
    device = device or pick_device()
    count = processes or max(1, torch.cuda.device_count())
    options = {"job": job, "out": out, "description": description}
    if count > 1:
        result: TrainResult = run_workers(_train, count, device.type, options)
        return result
    return _train(worker=Worker(), device=device, job=job, out=out, description=description)


@dataclass(frozen=True)
class Job:
    """What is to be trained, see :func:`train`."""

    spec: Experiment
    items: Items
    mix: Mix | None = None
    validation: Items = ()
    init: Path | None = None
    teacher: Path | None = None
    distillation: float = 1.0
    seed: int = 0
    state: Path | None = None
    compile: Compile = "auto"
    deterministic: bool = False


def _train(*, worker: Worker, device: torch.device, job: Job, out: Path, description: str) -> TrainResult:
    """Train as one of the workers; the first of them writes."""
    loop = _Loop(job, device, worker)
    with (
        cudnn_choice(loop.mode, deterministic=job.deterministic),
        progress(description, loop.total_steps, done=loop.step) as bar,
        _tensorboard(job.state if worker.leads else None) as board,
    ):
        while loop.result.epochs < loop.settings.training.epochs:
            for loss in loop.epoch():
                bar.advance(note=f"loss {loss:.4f}" if loss is not None else "")
            for name, value in loop.result.history[-1].items() if board else ():
                board.add_scalar(name, value, loop.result.epochs)
            if worker.leads:
                loop.save_state()
    if worker.leads:
        loop.finish(out)
    return loop.result


class _Loop:
    """The state of a training: what an epoch reads and changes."""

    def __init__(self, job: Job, device: torch.device, worker: Worker = Worker()) -> None:  # noqa: B008 - frozen
        torch.manual_seed(job.seed)
        self.job, self.worker = job, worker
        self.settings = settings = settings_of(job.spec)
        self.spec, self.device = format_spec(job.spec), device
        _check_classes([source for source, _ in (*job.items, *job.validation)], settings.classes)
        _check_classes([job.mix.source] if job.mix else [], settings.classes)
        t = settings.training
        self.data = TrainingSet(job.items, settings.size, device, resize=settings.auto_resize, mix=job.mix)
        self.result = TrainResult(images=len(self.data))
        self.steps_per_epoch = self.data.steps(t.batch_size, worker.count)
        self.total_steps = t.epochs * self.steps_per_epoch
        self.generator = torch.Generator()
        self.costs = CostWeights(settings.costs, auto=t.autoweighting, limits=t.weight_limits).to(device)
        self.model = channels_last(initial_model(settings, job.init).to(device))
        freeze(self.model, settings)
        taught = job.distillation if job.teacher else 0.0
        self.teacher = Distillation.of(job.teacher, self.model, taught).to(device) if job.teacher else None
        learners = (self.model, self.teacher) if self.teacher else (self.model,)
        trainable = [p for learner in learners for p in learner.parameters() if p.requires_grad]
        gpu = device.type == "cuda"
        self.optimizer = torch.optim.Adam(trainable, betas=t.adam_betas, eps=t.adam_epsilon, fused=True, capturable=gpu)
        # TAO regularises the kernels and biases of all convolutions, heads included, and no batch norm. Here biases in
        # front of batch statistics have no gradient, see model.py, and stay as they are.
        self.regularized: list[Tensor] = [
            p for m in self.model.modules() if isinstance(m, nn.Conv2d) for p in m.parameters() if p.requires_grad
        ]
        self.best: dict[str, Tensor] = {}
        held = [source.records[i].labels for source, chosen in job.validation for i in chosen]
        self.objects = [sum(int((labels == c).sum()) for labels in held) for c in range(len(settings.classes))]
        self.trainable = trainable
        self._origin = {"seed": job.seed, "images": len(self.data), "taught": taught, "workers": worker.count}
        self._state = job.state / "last.pt" if job.state else None
        self._saved = time.monotonic()
        if self._state is not None and self._state.is_file():
            self._resume(self._state)
        self._rate = torch.zeros((), device=device)
        for group in self.optimizer.param_groups:  # a resumed optimiser has its own, perhaps of another device
            group |= {"capturable": gpu, "lr": self._rate if gpu else 0.0}
        pixels = t.batch_size * settings.size[0] * settings.size[1]
        self.mode = how_to_run(
            job.compile, device, steps=self.total_steps, pixels=pixels, deterministic=job.deterministic
        )
        self._side = torch.cuda.Stream(device) if gpu else None  # type: ignore[no-untyped-call]
        dtype = torch.bfloat16 if self._in_bfloat16() else torch.float32
        self.prepare = Preparation(settings, self.generator, dtype, device, self.mode)
        self.make_step = self._step()

    @property
    def step(self) -> int:
        """Steps made so far."""
        return self.result.epochs * self.steps_per_epoch

    def epoch(self) -> Iterator[float | None]:
        """Run one epoch; yield the loss of a step, or None where it was not looked at."""
        began, t = time.monotonic(), self.settings.training
        self.model.train()
        freeze_statistics(self.model, self.settings)
        sums = torch.zeros(3, device=self.device)
        rate, late = 0.0, LateLook()
        worker, order = self.worker, torch.Generator().manual_seed(self._draw(0))
        self.generator.manual_seed(self._draw(1 + worker.rank))
        batches = self.data.epoch(t.batch_size, order, worker=worker.rank, workers=worker.count)
        for at, (images, targets) in enumerate(ahead(map(self.prepare, batches), self._side)):
            rate = learning_rate((self.step + at) / self.total_steps, self.settings)
            self._set_rate(rate)
            sums += self.make_step(images, targets)
            seen: tuple[Tensor, int] | None = (sums, at)
            if self.device.type == "cuda":
                seen = late(sums, at) if at % _LOOK_STEPS == 0 else None
            yield self._checked(*seen) if seen else None
        self._end_epoch(sums / self.steps_per_epoch, rate, began)

    def _step(self) -> Step | RecordedStep:
        network = torch.compile(self._network, dynamic=False) if self.mode == "inductor" else self._network

        def losses(images: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
            with self._autocast():
                cov, bbox, taught = network(images)
            loss, raw = self.costs(cov, bbox, targets)
            return loss + taught, raw

        step = Step(
            losses,
            self.optimizer,
            average=lambda: self.worker.average(p.grad for p in self.trainable if p.grad is not None),
            regularize=lambda: regularize(self.regularized, self.settings.training),
        )
        if self.mode == "off" or self.device.type != "cuda":
            return step
        return RecordedStep(step, CudaRecorder(self.device))

    def _network(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor | float]:
        features = self.model.features(images)
        cov, bbox = self.model.heads(features)
        return cov, bbox, self.teacher(images, features, cov, bbox) if self.teacher else 0.0

    def _set_rate(self, rate: float) -> None:
        self._rate.fill_(rate)
        if self.device.type != "cuda":  # there the optimisers read the tensor
            for group in self.optimizer.param_groups:
                group["lr"] = rate

    def _checked(self, sums: Tensor, at: int) -> float:
        """Return the mean loss so far, or stop when it is not a number."""
        mean = float(sums[0]) / (at + 1)
        if not math.isfinite(mean):
            raise TrainingError(
                f"the loss is not finite in epoch {self.result.epochs + 1}, step {at + 1} of {self.steps_per_epoch}; "
                f"lower the learning rate (max_learning_rate is {self.settings.training.max_learning_rate:g}) "
                "or look for broken boxes with `aerodet data audit`"
            )
        return mean

    def _draw(self, purpose: int) -> int:
        """Return the seed of this epoch's draws: a training that goes on draws as one that never stopped."""
        words = np.random.SeedSequence([self.job.seed, self.result.epochs, purpose]).generate_state(2)
        return int(words[0]) << 31 ^ int(words[1])

    def _end_epoch(self, means: Tensor, rate: float, began: float) -> None:
        self.worker.average([means, self.costs.sums])
        self.worker.average_statistics(self.model)
        loss = self._checked(means * self.steps_per_epoch, self.steps_per_epoch - 1)
        self.costs.end_epoch()
        self.result.epochs += 1
        entry = {"epoch": self.result.epochs, "loss": loss, "cov": float(means[1]), "bbox": float(means[2]), "lr": rate}
        if self._is_validated():
            entry["ap50"] = ap50 = self._validate()
            top = max([ap50, *(earlier.get("ap50", 0.0) for earlier in self.result.history)])
            # A few objects tell epochs apart by luck; of those that may be equal the schedule meant the last.
            if ap50 >= top - standard_error(top, self.objects):
                self.result.best_ap50, self.result.best_epoch = ap50, self.result.epochs
                self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.result.history.append(entry)
        self.result.seconds += time.monotonic() - began

    def _is_validated(self) -> bool:
        e, epoch = self.settings.evaluation, self.result.epochs
        due = epoch >= e.first_epoch and (epoch - e.first_epoch) % e.period == 0
        return self.worker.leads and any(self.objects) and (due or epoch == self.settings.training.epochs)

    def _validate(self) -> float:
        predictor = TorchPredictor(self.model, self.device)
        truth, found = [], []
        for source, indices in self.job.validation:
            truth += [source.records[i].truth for i in indices]
            found += detect(predictor, source, self.settings, indices=indices, show=False)
        return 100 * coco_ap(truth, found, len(self.settings.classes)).ap50

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self._in_bfloat16() else nullcontext()

    def _in_bfloat16(self) -> bool:
        return computes_bfloat16(self.device) and not is_quantized(self.model)  # an 8-bit grid needs more than 8 bits

    def save_state(self) -> None:
        """Keep what a stopped run needs, not more often than every few seconds."""
        if self._state is None or time.monotonic() - self._saved < _STATE_SECONDS:
            return
        self._save(
            self._state,
            self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            costs=self.costs.state_dict(),
            reader=self.teacher.reader.state_dict() if self.teacher else None,
            result=asdict(self.result),
            best=self.best,
            origin=self._origin,
        )
        self._saved = time.monotonic()

    def finish(self, out: Path) -> None:
        """Write the result folder; the state that only a stopped run needs goes."""
        if not self.best:
            self.result.best_epoch, self.best = self.result.epochs, self.model.state_dict()
        with atomic_path(out) as folder:
            folder.mkdir()
            timeless = replace(self.result, seconds=0.0)  # the same training gives the same bytes
            self._save(folder / "model.pt", self.best, result=asdict(timeless))
            (folder / "spec.txt").write_text(self.spec, encoding="utf-8")
            write_json(folder / "history.json", self.result.history)
        if self._state is not None:
            self._state.unlink(missing_ok=True)

    def _save(self, path: Path, weights: dict[str, Tensor], **extra: Any) -> None:
        save_checkpoint(path, self.model, weights=weights, spec=self.spec, classes=self.settings.classes, **extra)

    def _resume(self, path: Path) -> None:
        content = load_checkpoint(path, self.device)
        if (content["spec"], content.get("origin")) != (self.spec, self._origin):
            raise SpecError(
                f"{path} was left by a training with another spec, seed or number of pictures; "
                "delete it or name another state folder"
            )
        self.model.load_state_dict(content["weights"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.costs.load_state_dict(content["costs"])
        self.result = TrainResult(**content["result"])
        self.best = content["best"]
        if self.teacher:
            self.teacher.reader.load_state_dict(content["reader"])


@contextmanager
def _tensorboard(state: Path | None) -> Iterator[Any]:
    """Yield a TensorBoard writer, or None when there is no folder."""
    if state is None:
        yield None
        return
    from torch.utils.tensorboard.writer import SummaryWriter

    with disk_errors(state), SummaryWriter(str(state / "events")) as board:
        yield board


def _check_classes(sources: Sequence[Images], wanted: tuple[str, ...]) -> None:
    """Refuse sets whose labels would mean other output channels."""
    for source in sources:
        if tuple(source.classes) != wanted:
            raise DataError(
                f"the images are labelled {', '.join(source.classes)}, the spec's classes are {', '.join(wanted)}; "
                "give both the same names in the same order"
            )
