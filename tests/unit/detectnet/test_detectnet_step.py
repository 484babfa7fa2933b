"""How a step is run: what is decided, and that a recorded step changes what a step as written changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from detectnet_pictures import rectangles, small_spec

from aerodet.detectnet import step as module
from aerodet.detectnet.losses import ClassCost, CostWeights
from aerodet.detectnet.step import RecordedStep, Step, ahead, cudnn_choice, how_to_run
from aerodet.detectnet.targets import Targets
from aerodet.detectnet.train import Job, _Loop, train
from aerodet.errors import MachineError

CPU, GPU = torch.device("cpu"), torch.device("cuda")
STEP = {"steps": 1000, "pixels": 32 * 512 * 512}


class Repeater:
    """Stands for a recorder: a replay calls the function again, on the memory that it was recorded with."""

    def __init__(self) -> None:
        self.apart_calls = self.replays = 0

    def apart(self, function: Callable[..., torch.Tensor], *arguments: Any) -> torch.Tensor:
        self.apart_calls += 1
        return function(*arguments)

    def record(self, function: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
        result = torch.full((3,), torch.nan)

        def replay() -> None:
            self.replays += 1
            values = function()
            if values is not None:
                result.copy_(values)

        return replay, result


def loop_of(**options: Any) -> _Loop:
    source = rectangles(12)
    return _Loop(Job(small_spec(batch_size=2, epochs=2, **options), [(source, range(12))], seed=3), CPU)


@pytest.mark.parametrize("options", [{}, {"enable_qat": True}, {"autoweighting": True}], ids=["float", "qat", "auto"])
def test_a_recorded_step_changes_what_a_step_as_written_changes(options: dict[str, Any]):
    plain, recorded, recorder = loop_of(**options), loop_of(**options), Repeater()
    assert isinstance(recorded.make_step, Step)
    recorded.make_step = RecordedStep(recorded.make_step, recorder)

    losses = [[loss for _ in range(2) for loss in loop.epoch()] for loop in (plain, recorded)]

    assert losses[0] == losses[1]
    assert (recorder.apart_calls, recorder.replays) == (3, 2 * (12 - 3))
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, recorded.model.state_dict()[name]), name


def test_a_recorded_step_reads_the_memory_it_was_recorded_with():
    seen: list[tuple[int, float]] = []

    def losses(images: torch.Tensor, targets: Targets) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append((images.data_ptr(), float(images.mean())))
        return (weight * images.mean()).sum(), torch.zeros(1, 2)

    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.0)
    step = RecordedStep(Step(losses, optimizer, average=lambda: None, regularize=lambda: None), Repeater())
    for n in range(6):
        images = torch.full((1, 3, 4, 4), float(n))
        step(images, Targets(*(torch.zeros(1) for _ in range(3))))

    assert [mean for _, mean in seen] == [0, 1, 2, 3, 4, 5]
    assert len({place for place, _ in seen[3:]}) == 1
    assert float(weight.grad or 0) == 5.0  # of the last pictures alone


def test_loss_weights_stay_where_they_are_in_memory():
    costs = CostWeights([ClassCost()], auto=True)
    place, before = costs.weights.data_ptr(), costs.state_dict()
    costs.sums += torch.tensor([[1.0, 3.0]])
    costs.end_epoch()

    assert not torch.equal(costs.weights, before["weights"])
    costs.load_state_dict(before)
    assert torch.equal(costs.weights, before["weights"])
    assert costs.weights.data_ptr() == place


def test_a_cpu_makes_batches_when_they_are_asked_for():
    made: list[int] = []

    def batches():
        for n in range(3):
            made.append(n)
            yield torch.full((1,), n), Targets(*(torch.zeros(1) for _ in range(3)))

    prepared = ahead(batches(), None)
    next(prepared)
    assert made == [0]
    assert len(list(prepared)) == 2


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_step_runs_with_convolutions_chosen_by_rule(tmp_path, monkeypatch: pytest.MonkeyPatch, deterministic: bool):
    seen: list[tuple[bool, bool, bool]] = []
    cudnn = torch.backends.cudnn
    update = Step.update
    monkeypatch.setattr(cudnn, "benchmark", True)
    monkeypatch.setattr(
        Step, "update", lambda s: (seen.append((cudnn.enabled, cudnn.benchmark, cudnn.deterministic)), update(s))[1]
    )

    items = [(rectangles(2), range(2))]
    train(small_spec(epochs=1), items, out=tmp_path / "out", device=CPU, deterministic=deterministic)

    assert set(seen) == {(True, False, deterministic)}


@pytest.mark.parametrize(
    ("mode", "deterministic", "trials"),
    [("off", False, False), ("graph", False, False), ("inductor", False, True), ("inductor", True, False)],
)
def test_kernels_are_tried_out_where_steps_are_compiled(mode: Any, deterministic: bool, trials: bool):
    before = torch.backends.cudnn.benchmark

    with cudnn_choice(mode, deterministic=deterministic):
        assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (trials, deterministic)

    assert torch.backends.cudnn.benchmark == before


# ------------------------------------------------------------------------------------------------- what is decided


def test_a_cpu_runs_steps_as_written():
    assert how_to_run("auto", CPU, **STEP) == "off"


@pytest.mark.parametrize(
    ("steps", "compiler", "mode"),
    [(10, True, "off"), (11_000, True, "graph"), (12_000, True, "inductor"), (12_000, False, "graph")],
)
def test_a_gpu_runs_what_pays(monkeypatch: pytest.MonkeyPatch, steps: int, compiler: bool, mode: str):
    monkeypatch.setattr(module, "_has_compiler", lambda device: compiler)

    assert how_to_run("auto", GPU, steps=steps, pixels=STEP["pixels"]) == mode
    assert how_to_run("off", GPU, steps=steps, pixels=STEP["pixels"]) == "off"
    chosen = how_to_run("auto", GPU, steps=steps, pixels=STEP["pixels"], deterministic=True)
    assert chosen == ("off" if steps == 10 else "graph")


def test_what_the_machine_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)

    with pytest.raises(MachineError, match="graph records CUDA graphs, and this training has no GPU"):
        how_to_run("graph", CPU, **STEP)
    with pytest.raises(MachineError, match="inductor needs a C compiler"):
        how_to_run("inductor", CPU, **STEP)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # of torch's own code
@pytest.mark.skipif(not module._has_compiler(CPU), reason="needs a C++ compiler")
def test_inductor_learns_what_a_step_as_written_learns(tmp_path, monkeypatch: pytest.MonkeyPatch):
    # In bfloat16, which some CPUs have, the losses differ by several percent after a few steps with or without it.
    monkeypatch.setattr("aerodet.detectnet.train.computes_bfloat16", lambda device: False)
    items = [(rectangles(4), range(4))]
    spec = small_spec(epochs=3)
    plain = train(spec, items, out=tmp_path / "plain", device=CPU, compile="off")
    compiled = train(spec, items, out=tmp_path / "compiled", device=CPU, compile="inductor")

    assert [e["loss"] for e in compiled.history] == pytest.approx([e["loss"] for e in plain.history], rel=1e-2)
