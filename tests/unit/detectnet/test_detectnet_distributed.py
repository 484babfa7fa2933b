"""Training in several processes: the same weights as one process with as many pictures a step, and one way to fail."""

from __future__ import annotations

import pytest
import torch
from detectnet_pictures import rectangles, small_spec

from aerodet.data import ImageRecord, ImageSet, ImageSetWriter
from aerodet.detectnet.checkpoint import load_model
from aerodet.detectnet.distributed import Worker
from aerodet.detectnet.train import train
from aerodet.errors import TrainingError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Eight pictures in a folder, which other processes can open."""
    source, folder = rectangles(8), tmp_path_factory.mktemp("pictures") / "set"
    with ImageSetWriter(folder, source.classes) as writer:
        for record, image in zip(source.records, source.pictures, strict=True):
            writer.add(
                ImageRecord(
                    record.id + 1, record.file_name, 64, 64, record.group, boxes=record.boxes, labels=record.labels
                ),
                image,
            )
    return ImageSet(folder)


def test_two_processes_with_half_the_batch_learn_what_one_learns(pictures, tmp_path):
    items, histories = [(pictures, range(8))], []
    for count, batch in ((1, 4), (2, 2)):
        spec = small_spec(epochs=2, batch_size=batch, color_shift_stddev=0.0, vflip_probability=0.0)
        spec.model_config.use_batch_norm = False  # its statistics would be of other pictures
        result = train(spec, items, out=tmp_path / str(count), seed=3, processes=count, validation=items)
        assert result.epochs == 2
        assert "ap50" in result.history[-1]
        assert load_model(tmp_path / str(count))[1]["result"]["history"] == result.history
        histories.append(result.history)
    for one, two in zip(*histories, strict=True):  # to bfloat16's rounding, which Adam makes larger
        assert two["cov"] == pytest.approx(one["cov"], rel=5e-3)
        assert two["bbox"] == pytest.approx(one["bbox"], rel=5e-3)
        assert two["lr"] == pytest.approx(one["lr"])


def test_a_failure_in_a_process_is_the_caller_s(pictures, tmp_path):
    spec = small_spec(max_learning_rate=1e18, min_learning_rate=1e17, epochs=2)
    with pytest.raises(TrainingError, match="not finite"):
        train(spec, [(pictures, range(8))], out=tmp_path / "out", processes=2)
    assert not (tmp_path / "out").exists()


def test_a_lone_worker_leads_and_changes_nothing():
    worker, value = Worker(), torch.ones(3)
    worker.average([value])
    assert worker.leads
    assert value.tolist() == [1, 1, 1]
