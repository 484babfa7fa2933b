"""Recorded functions give what the functions give, and batches are prepared alike whether recorded or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from detectnet_pictures import rectangles, small_spec

from aerodet.detectnet.prepare import Preparation
from aerodet.detectnet.record import CudaRecorder, RecordedFunction
from aerodet.detectnet.step import LateLook
from aerodet.detectnet.train import Job, _Loop

CPU, GPU = torch.device("cpu"), torch.device("cuda")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="records on a GPU")


class Repeater:
    """Stands for a recorder: a replay calls the function again and leaves its results in the same memory."""

    def __init__(self) -> None:
        self.apart_calls = self.recordings = 0

    def apart(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.apart_calls += 1
        return function(*arguments)

    def record(self, function: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
        self.recordings += 1
        results = tuple(torch.full_like(result, torch.nan) for result in function())

        def replay() -> None:
            for kept, new in zip(results, function(), strict=True):
                kept.copy_(new)

        return replay, results


def test_each_shape_is_recorded_once_after_a_call_as_written():
    recorder = Repeater()
    double = RecordedFunction(lambda x, y: (2 * x, x + 1), recorder)

    for length in (3, 3, 5, 3, 5, 5):
        twice, more = double(torch.arange(float(length)), None)
        assert twice.tolist() == [2.0 * n for n in range(length)]
        assert more.tolist() == [n + 1.0 for n in range(length)]

    assert (recorder.apart_calls, recorder.recordings) == (2, 2)


def test_an_argument_that_is_there_and_one_that_is_not_are_different_shapes():
    recorder = Repeater()
    added = RecordedFunction(lambda x, y: (x if y is None else x + y,), recorder)
    one, two = torch.ones(2), torch.full((2,), 2.0)

    results = [added(one, other)[0].tolist() for other in (None, two, None, two)]

    assert results == [[1, 1], [3, 3], [1, 1], [3, 3]]
    assert recorder.recordings == 2


def test_results_survive_the_next_call():
    same = RecordedFunction(lambda x: (x * 1,), Repeater())
    results = [same(torch.tensor([float(n)]))[0] for n in range(4)]

    assert [float(result) for result in results] == [0, 1, 2, 3]


def test_a_function_is_recorded_on_memory_of_its_own():
    seen: list[int] = []
    noted = RecordedFunction(lambda x: (seen.append(x.data_ptr()), x.clone())[1:], Repeater())
    inputs = [torch.full((4,), float(n)) for n in range(4)]
    results = [noted(tensor)[0].tolist() for tensor in inputs]

    assert results == [[n] * 4 for n in range(4)]
    assert len(set(seen[1:])) == 1
    assert set(seen[1:]).isdisjoint(tensor.data_ptr() for tensor in inputs)


def test_recorded_batches_are_those_as_written():
    source = rectangles(12)
    loops = [_Loop(Job(small_spec(batch_size=3), [(source, range(12))], seed=5), CPU) for _ in range(2)]
    recorder, recorded = Repeater(), loops[1].prepare
    recorded.images = RecordedFunction(recorded.images, recorder)
    recorded.targets = RecordedFunction(recorded.targets, recorder)

    for n in range(4):
        written, replayed = (loop.prepare(loop.data.batch([n, n + 4, n + 8])) for loop in loops)
        assert torch.equal(written.images, replayed.images)
        for one, other in zip(written.targets, replayed.targets, strict=True):
            assert torch.equal(one, other)
    assert recorder.recordings >= 2


def test_images_come_in_the_numbers_and_the_order_that_the_network_wants():
    loop = _Loop(Job(small_spec(batch_size=3), [(rectangles(3), range(3))]), CPU)
    prepare = Preparation(loop.settings, torch.Generator(), torch.bfloat16, CPU, "off")

    images = prepare(loop.data.batch([0, 1, 2])).images

    assert images.dtype == torch.bfloat16
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= float(images.min()) < float(images.max()) <= 1


@needs_gpu
def test_a_gpu_replays_what_it_recorded():
    double = RecordedFunction(lambda x: (2 * x,), CudaRecorder(GPU))
    results = [double(torch.full((4,), float(n), device=GPU))[0] for n in range(5)]

    assert [float(result.sum()) for result in results] == [8.0 * n for n in range(5)]


@needs_gpu
@pytest.mark.parametrize("mode", ["graph", "inductor"])
def test_a_gpu_prepares_recorded_batches_as_written_ones(mode):
    source = rectangles(12)
    job = Job(small_spec(batch_size=3), [(source, range(12))], seed=5)
    loop = _Loop(job, GPU)
    for seed in range(2):
        batches = []
        for way in ("off", mode):
            prepare = Preparation(loop.settings, torch.Generator().manual_seed(seed), torch.float32, GPU, way)
            batches.append([prepare(loop.data.batch([n, n + 4, n + 8])) for n in range(4)])
        for written, recorded in zip(*batches, strict=True):
            assert torch.allclose(written.images, recorded.images, atol=1e-5)
            for one, other in zip(written.targets, recorded.targets, strict=True):
                assert torch.allclose(one, other)


@needs_gpu
def test_a_late_look_sees_what_was_there():
    look, sums = LateLook(), torch.zeros(3, device=GPU)
    seen = []
    for n in range(4):
        sums += 1
        seen.append(look(sums, n))

    assert seen[0] is None
    assert [(tensor.tolist(), at) for tensor, at in filter(None, seen)] == [([n + 1.0] * 3, n) for n in range(3)]
