from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aerodet.detectnet.postprocess import decode
from aerodet.detectnet.targets import ClassShape, TargetMaker, Targets

SIZE = (96, 128)
share = st.floats(0.05, 1.0)
shapes = st.builds(
    ClassShape, st.floats(0.2, 0.8), st.floats(0.2, 0.8), cov_radius_x=share, cov_radius_y=share, bbox_min_radius=share
)


def random_boxes(seed: int, count: int, *, classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures' boxes, some past the frame, and labels with some padding."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(2, count, 2, generator=generator) * 160 - 30
    extent = torch.rand(2, count, 2, generator=generator) ** 2 * 80 + 0.5
    labels = torch.randint(-1, classes, (2, count), generator=generator)
    return torch.cat([corner, corner + extent], dim=-1), labels


def equal(a: Targets, b: Targets) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 12), shapes, shapes, st.floats(0, 1))
def test_targets_keep_their_ranges(seed: int, count: int, first: ClassShape, second: ClassShape, deadzone: float):
    cov, norm, bbox = TargetMaker(SIZE, [first, second], deadzone_radius=deadzone)(*random_boxes(seed, count))

    assert cov.shape == norm.shape == (2, 2, 6, 8)
    assert torch.equal(cov * 16, (cov * 16).round())
    assert ((cov >= 0) & (cov <= 1) & (norm >= 0) & (norm <= cov)).all()
    assert torch.equal(norm > 0, cov > 0)
    assert not bbox.view(2, 2, 4, 6, 8)[(cov == 0)[:, :, None].expand(2, 2, 4, 6, 8)].any()
    assert all(t.isfinite().all() for t in (cov, norm, bbox))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), shapes, st.floats(0, 1))
def test_every_covered_cell_decodes_to_one_of_the_boxes(seed: int, count: int, shape: ClassShape, deadzone: float):
    boxes, labels = random_boxes(seed, count, classes=1)
    cov, _, bbox = TargetMaker(SIZE, [shape], deadzone_radius=deadzone)(boxes, labels)

    decoded = decode(bbox)[:, 0]
    for n in range(2):
        own = boxes[n][labels[n] == 0].clamp(min=0).minimum(torch.tensor([128.0, 96, 128, 96]))
        for box in decoded[n][cov[n, 0] > 0]:
            assert (own - box).abs().amax(dim=1).min() < 1e-2


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 10), shapes, shapes)
def test_neither_the_order_of_the_boxes_nor_padding_matters(
    seed: int, count: int, first: ClassShape, second: ClassShape
):
    maker = TargetMaker(SIZE, [first, second])
    boxes, labels = random_boxes(seed, count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    padded = torch.cat([torch.rand(2, 3, 4) * 90, boxes], dim=1), torch.cat([torch.full((2, 3), -1), labels], dim=1)

    assert equal(maker(boxes, labels), maker(boxes[:, order], labels[:, order]))
    assert equal(maker(boxes, labels), maker(*padded))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 10), st.floats(0, 1))
def test_a_class_is_drawn_as_if_it_were_alone(seed: int, count: int, deadzone: float):
    boxes, labels = random_boxes(seed, count)
    both = TargetMaker(SIZE, [ClassShape(), ClassShape(cov_radius_x=0.4)], deadzone_radius=deadzone)(boxes, labels)

    alone = TargetMaker(SIZE, [ClassShape()], deadzone_radius=deadzone)(boxes, labels.masked_fill(labels == 1, -1))

    assert torch.equal(both.cov[:, :1], alone.cov)
    assert torch.equal(both.bbox[:, :4], alone.bbox)
