"""Distillation: the loss is least where student and teacher agree, and training with it follows the teacher."""

from __future__ import annotations

import pytest
import torch
from detectnet_pictures import rectangles, small_spec

from aerodet.detectnet.checkpoint import load_model, save_checkpoint
from aerodet.detectnet.distill import Distillation
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.train import train
from aerodet.errors import SpecError, UserError

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def networks(teacher_width: float = 0.5, student_width: float = 0.25) -> tuple[DetectNet, DetectNet]:
    torch.manual_seed(0)
    return (
        DetectNet(layers=10, num_classes=1, width=teacher_width).eval(),
        DetectNet(layers=10, num_classes=1, width=student_width).eval(),
    )


def test_the_answers_of_the_teacher_itself_cost_least():
    teacher, student = networks()
    distillation = Distillation(teacher, student, 1.0)
    with torch.no_grad():
        features = student.features(IMAGES)
        cov, bbox = teacher(IMAGES)
        agreed = distillation(IMAGES, features, cov, bbox)
        for other_cov, other_bbox in ((1 - cov, bbox), (cov, bbox + 1), (cov * 0.5, bbox)):
            assert distillation(IMAGES, features, other_cov, other_bbox) > agreed


def test_the_weight_scales_the_loss_and_gradients_reach_student_and_reader_but_not_the_teacher():
    teacher, student = networks()
    losses = []
    for weight in (1.0, 2.0):
        torch.manual_seed(1)
        distillation = Distillation(teacher, student, weight)
        features = student.features(IMAGES)
        losses.append(distillation(IMAGES, features, *student.heads(features)))
    losses[1].backward()
    assert losses[1].item() == pytest.approx(2 * losses[0].item(), rel=1e-5)
    assert student.conv1.weight.grad is not None
    assert distillation.reader.weight.grad is not None
    assert all(p.grad is None for p in teacher.parameters())


def test_the_teacher_stays_in_evaluation_mode():
    teacher, student = networks()
    distillation = Distillation(teacher, student, 1.0).train()
    assert distillation.training
    assert not teacher.training


def test_networks_of_other_classes_and_negative_weights_are_refused():
    teacher, student = networks()
    with pytest.raises(SpecError, match="same classes"):
        Distillation(DetectNet(layers=10, num_classes=2, width=0.25), student, 1.0)
    with pytest.raises(SpecError, match="negative"):
        Distillation(teacher, student, -1.0)


def trained(out, teacher, weight: float):
    """Train on pictures without labels of use, and return how far the student's coverage is from the teacher's."""
    pictures = rectangles(8)
    train(small_spec(epochs=6), [(pictures, range(8))], out=out, teacher=teacher, distillation=weight, seed=1)
    images = torch.stack([torch.from_numpy(p).permute(2, 0, 1) for p in pictures.pictures]).float() / 255
    with torch.inference_mode():
        wanted = load_model(teacher)[0].eval()(images)[0]
        return float((load_model(out)[0].eval()(images)[0] - wanted).abs().mean())


def test_a_student_comes_nearer_to_a_teacher_that_it_listens_to(tmp_path):
    torch.manual_seed(3)
    save_checkpoint(tmp_path / "model.pt", DetectNet(layers=10, width=0.25), spec="", classes=("aircraft",))
    ignored, followed = (trained(tmp_path / str(w), tmp_path, w) for w in (0.0, 30.0))
    assert followed < 0.8 * ignored


def test_a_stopped_training_goes_on_with_its_teacher_and_not_without(tmp_path):
    torch.manual_seed(3)
    save_checkpoint(tmp_path / "model.pt", DetectNet(layers=10, width=0.25), spec="", classes=("aircraft",))
    items = [(rectangles(4), range(4))]

    class Stop(Exception):
        pass

    from aerodet.detectnet import train as module

    def run(state, out, **options):
        return train(small_spec(epochs=3), items, out=out, state=state, seed=1, **options)

    whole = run(None, tmp_path / "whole", teacher=tmp_path)
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "_STATE_SECONDS", 0.0)
    saved = module._Loop.save_state

    def stopping(loop):
        saved(loop)
        if loop.result.epochs == 2:
            raise Stop

    patch.setattr(module._Loop, "save_state", stopping)
    with pytest.raises(Stop):
        run(tmp_path / "state", tmp_path / "resumed", teacher=tmp_path)
    patch.undo()
    with pytest.raises(UserError, match="another spec"):
        run(tmp_path / "state", tmp_path / "resumed")
    resumed = run(tmp_path / "state", tmp_path / "resumed", teacher=tmp_path)
    assert [e["loss"] for e in resumed.history] == pytest.approx([e["loss"] for e in whole.history])
