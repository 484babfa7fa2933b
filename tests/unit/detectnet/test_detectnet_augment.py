from __future__ import annotations

from math import cos, radians, sin
from typing import Any

import pytest
import torch

from aerodet.detectnet.augment import Augmenter, AugmentOptions, clip_boxes, color_matrix
from aerodet.metrics import IGNORED

BOX = (40.0, 24.0, 72.0, 44.0)
SIZE = (80, 128)  # H, W


def augmenter(seed: int = 0, **options: Any) -> Augmenter:
    return Augmenter(AugmentOptions(**options), torch.Generator().manual_seed(seed))


def rectangle(count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of grey with a white rectangle, and its box."""
    images = torch.full((count, 3, *SIZE), 0.5)
    x1, y1, x2, y2 = (int(v) for v in BOX)
    images[:, :, y1:y2, x1:x2] = 1.0
    return images, torch.tensor(BOX).expand(count, 1, 4).clone()


def bounds(image: torch.Tensor) -> list[int]:
    """Where a picture is more than half-way from grey to white."""
    rows, columns = (image.amax(dim=0) > 0.75).nonzero(as_tuple=True)
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]


def test_without_options_nothing_changes_and_nothing_is_drawn():
    images, boxes = torch.rand(3, 3, 16, 16), torch.rand(3, 2, 4)
    generator = torch.Generator().manual_seed(5)
    state = generator.get_state()

    new_images, new_boxes = Augmenter(AugmentOptions(), generator)(images, boxes)

    assert new_images is images
    assert new_boxes is boxes
    assert torch.equal(generator.get_state(), state)


def test_left_right_mirror_image():
    images, boxes = rectangle()

    new_images, new_boxes = augmenter(hflip_probability=1.0)(images, boxes)

    torch.testing.assert_close(new_images, images.flip(3), atol=1e-4, rtol=0)
    assert new_boxes[0, 0].tolist() == pytest.approx([128 - 72, 24, 128 - 40, 44])


def test_upside_down_mirror_image():
    images, boxes = rectangle()

    new_images, new_boxes = augmenter(vflip_probability=1.0)(images, boxes)

    torch.testing.assert_close(new_images, images.flip(2), atol=1e-4, rtol=0)
    assert new_boxes[0, 0].tolist() == pytest.approx([40, 80 - 44, 72, 80 - 24])


def test_a_quarter_turn_of_a_square_picture_keeps_every_pixel_and_the_box_tight():
    images, boxes = rectangle(60)
    images = images[..., :80]

    new_images, new_boxes = augmenter(turn_probability=0.5)(images, boxes)

    turned = new_boxes[:, 0, 0] != 40
    assert 15 < int(turned.sum()) < 45
    torch.testing.assert_close(new_images[turned], images[turned].rot90(1, (2, 3)), atol=1e-3, rtol=0)
    torch.testing.assert_close(new_images[~turned], images[~turned], atol=1e-4, rtol=0)
    for box in new_boxes[turned, 0].tolist():
        assert box == pytest.approx([24, 80 - 72, 44, 80 - 40], abs=1e-3)


def test_about_half_of_the_pictures_are_mirrored_at_probability_one_half():
    images, boxes = rectangle(200)

    moved = augmenter(hflip_probability=0.5)(images, boxes)[1][:, 0, 0]

    assert 70 < int((moved > 50).sum()) < 130


def test_translation_moves_picture_and_box_by_the_same_whole_pixels_and_uncovers_grey():
    images, boxes = rectangle(60)

    new_images, new_boxes = augmenter(translate_max_x=20.0, translate_max_y=10.0)(images, boxes)

    for image, box in zip(new_images, new_boxes[:, 0], strict=True):
        assert bounds(image) == pytest.approx(box.tolist(), abs=1e-3)
        assert float(image.min()) == pytest.approx(0.5, abs=1e-3)
    shift = new_boxes[:, 0, 0] - BOX[0]
    assert torch.allclose(shift, shift.round(), atol=1e-3)
    assert -20 <= float(shift.min()) < -15
    assert 15 < float(shift.max()) <= 20


def test_all_whole_shifts_are_as_likely():
    _, boxes = rectangle(4000)
    moved = augmenter(translate_max_x=2.0)(torch.zeros(4000, 3, 1, 1), boxes)[1][:, 0, 0]

    counts = [int((moved - BOX[0]).round().eq(step).sum()) for step in (-2, -1, 0, 1, 2)]

    assert sum(counts) == 4000
    assert all(700 < count < 900 for count in counts)


def test_a_zoom_ratio_above_one_shrinks_the_picture_somewhere_inside_the_frame():
    images, boxes = rectangle(30)

    new_images, new_boxes = augmenter(zoom_min=2.0, zoom_max=2.0)(images, boxes)

    for image, box in zip(new_images, new_boxes[:, 0], strict=True):
        assert bounds(image) == pytest.approx(box.tolist(), abs=1.0)
        assert (box[2:] - box[:2]).tolist() == pytest.approx([16, 10], abs=1e-3)
    lowest, highest = new_boxes[:, 0, :2].amin(dim=0).tolist(), new_boxes[:, 0, :2].amax(dim=0).tolist()
    assert lowest == pytest.approx([20, 12], abs=8)  # offsets go from 0 to half of the frame
    assert highest == pytest.approx([20 + 64, 12 + 40], abs=8)


def test_a_zoom_ratio_below_one_is_an_enlarged_crop():
    images, boxes = rectangle(30)

    new_images, new_boxes = augmenter(zoom_min=0.5, zoom_max=0.5)(images, boxes)

    for image, box in zip(new_images, new_boxes[:, 0], strict=True):
        assert (box[2:] - box[:2]).tolist() == pytest.approx([64, 40], abs=1e-3)
        inside = [min(max(v, 0), limit) for v, limit in zip(box.tolist(), (128, 80) * 2, strict=True)]
        if inside[2] - inside[0] > 2 and inside[3] - inside[1] > 2:
            assert bounds(image) == pytest.approx(inside, abs=1.0)


def test_rotation_turns_about_the_centre_and_the_box_bounds_the_turned_corners():
    images, boxes = rectangle(30)

    new_images, new_boxes = augmenter(rotate_max_degrees=25.0)(images, boxes)

    for image, box in zip(new_images, new_boxes[:, 0], strict=True):
        assert bounds(image) == pytest.approx(box.tolist(), abs=1.6)  # corners are blurred
    assert float(new_boxes[:, 0, 0].std()) > 1


def test_the_rotation_angle_is_in_degrees_and_its_probability_is_obeyed():
    images, boxes = rectangle(300)
    boxes[:] = torch.tensor([64.0, 40.0, 64.0, 20.0])  # a spoke from the centre

    new_boxes = augmenter(rotate_max_degrees=30.0, rotate_probability=0.25)(images, boxes)[1][:, 0]

    width = new_boxes[:, 2] - new_boxes[:, 0]  # 20 · |sin of the angle|
    assert 9.0 < float(width.max()) <= 20 * sin(radians(30)) + 1e-3
    assert 45 < int((width > 1e-3).sum()) < 105


def test_all_changes_together_move_picture_and_box_alike():
    images, boxes = rectangle(40)
    options = {
        "hflip_probability": 0.5,
        "vflip_probability": 0.5,
        "zoom_min": 0.8,
        "zoom_max": 1.4,
        "translate_max_x": 8.0,
        "translate_max_y": 8.0,
        "rotate_max_degrees": 10.0,
    }

    new_images, new_boxes = augmenter(**options)(images, boxes)

    seen = 0
    for image, box in zip(new_images, new_boxes[:, 0], strict=True):
        if box.min() >= 0 and box[2] <= 128 and box[3] <= 80:
            assert bounds(image) == pytest.approx(box.tolist(), abs=1.8)
            seen += 1
    assert seen > 25


def test_a_picture_is_mirrored_then_shifted_then_zoomed_then_turned(monkeypatch: pytest.MonkeyPatch):
    # Draw the largest shift and the upper end of every uniform distribution.
    monkeypatch.setattr(Augmenter, "_shift", lambda self, n, most: torch.full((n,), float(most)))
    monkeypatch.setattr(Augmenter, "_uniform", lambda self, n, low, high: torch.full((n,), float(high)))
    images, boxes = rectangle()
    space = {"hflip_probability": 1.0, "translate_max_x": 6.0, "zoom_min": 2.0, "zoom_max": 2.0}

    straight = augmenter(**space)(images, boxes)[1][0, 0].tolist()
    _, turned = augmenter(**space, rotate_max_degrees=90.0)(images, boxes)

    # x: 40..72, mirrored 56..88, shifted 62..94, halved 31..47, moved by 64; y: 24..44, halved 12..22, moved by 40.
    assert straight == pytest.approx([95, 52, 111, 62], abs=1e-3)
    # A quarter turn about (64, 40).
    quarter = [[64 + 12, 40 - 47, 64 + 22, 40 - 31], [64 - 22, 40 + 31, 64 - 12, 40 + 47]]
    assert any(turned[0, 0].tolist() == pytest.approx(box, abs=1e-3) for box in quarter)


# -------------------------------------------------------------------------------------------------------- the frame


def clipped(*boxes: tuple[float, float, float, float], **options: float) -> tuple[list[list[float]], list[int]]:
    """Boxes of class 3 clipped to a frame of 80 by 128."""
    tensor = torch.tensor([boxes])
    new_boxes, labels = clip_boxes(tensor, torch.full(tensor.shape[:2], 3), SIZE, **options)
    return new_boxes[0].tolist(), labels[0].tolist()


def test_boxes_inside_the_frame_are_left_alone_and_others_are_cut_at_it():
    boxes, labels = clipped((0, 0, 128, 80), (-10, 20, 30, 40), (100, 60, 140, 90))

    assert boxes == [[0, 0, 128, 80], [0, 20, 30, 40], [100, 60, 128, 80]]
    assert labels == [3, 3, 3]


def test_a_box_of_which_less_than_the_share_is_seen_is_ignored():
    assert clipped((-30, 0, 10, 40), (-31, 0, 9, 40))[1] == [3, IGNORED]  # a quarter is seen, and a little less
    assert clipped((-30, 0, 10, 40), (-10, 0, 30, 40), min_visible=0.7)[1] == [IGNORED, 3]


def test_boxes_outside_the_frame_are_left_out_on_every_side():
    outside = [(-50, 10, -10, 30), (130, 10, 170, 30), (10, -50, 30, -10), (10, 90, 30, 120), (-9, -9, -1, -1)]

    assert clipped(*outside)[1] == [IGNORED] * 5
    boxes, labels = clipped((129, 81, 150, 99))
    assert labels == [IGNORED]
    assert boxes[0] == [128, 80, 128, 80]  # no cell is in it


def test_padding_and_regions_to_ignore_stay_what_they_are_and_no_boxes_are_no_boxes():
    boxes, labels = clip_boxes(torch.tensor([[[1.0, 1, 5, 5]] * 2]), torch.tensor([[-1, IGNORED]]), SIZE)
    assert labels.tolist() == [[-1, IGNORED]]
    assert boxes.shape == (1, 2, 4)

    assert clip_boxes(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64), SIZE)[1].shape == (2, 0)


# ------------------------------------------------------------------------------------------------------- colour


def pixel_after_hue_and_saturation(pixel: list[float], hue: float, saturation: float) -> list[float]:
    """The formula of TAO's colour matrix for one pixel."""
    luma = sum(w * v for w, v in zip((0.299, 0.587, 0.114), pixel, strict=True))
    k = [(0.168, 0.330, -0.497), (-0.328, 0.035, 0.292), (1.25, -1.05, -0.203)]
    turned = [sum(w * v for w, v in zip(row, pixel, strict=True)) for row in k]
    c, s = saturation * cos(radians(hue)), saturation * sin(radians(hue))
    return [luma + c * (pixel[i] - luma) + s * turned[i] for i in range(3)]


@pytest.mark.parametrize(("hue", "saturation"), [(0.0, 1.0), (0.0, 0.0), (30.0, 1.0), (-75.0, 1.4), (180.0, 0.7)])
def test_hue_and_saturation_are_taos_formula(hue: float, saturation: float):
    (matrix,) = color_matrix(torch.tensor([hue]), torch.tensor([saturation]))

    for pixel in ([0.2, 0.7, 0.4], [1.0, 0.0, 0.0], [0.5, 0.5, 0.5]):
        expected = pixel_after_hue_and_saturation(pixel, hue, saturation)
        assert (matrix @ torch.tensor(pixel)).tolist() == pytest.approx(expected, abs=1e-5)


def test_a_pixel_sees_contrast_then_hue_and_saturation_then_brightness_then_the_clip(monkeypatch: pytest.MonkeyPatch):
    # Draw one deviation for the normal and the upper end for the uniform distribution.
    monkeypatch.setattr(Augmenter, "_normal", lambda self, n, deviation: torch.full((n,), deviation))
    monkeypatch.setattr(Augmenter, "_uniform", lambda self, n, low, high: torch.full((n,), float(high)))
    images = torch.rand(2, 3, 4, 5)
    options = {"contrast_scale_max": 0.6, "contrast_center": 0.4, "hue_rotation_max": 50.0}

    new_images, _ = augmenter(**options, saturation_shift_max=0.3, color_shift_stddev=0.1)(images, torch.zeros(2, 0, 4))

    for n, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(5)).tolist():
        pixel = [(1 + 0.3) * v - 0.3 * 0.4 for v in images[n, :, y, x].tolist()]
        pixel = pixel_after_hue_and_saturation(pixel, hue=25.0, saturation=1.3)
        expected = [min(max(v + 0.1, 0.0), 1.0) for v in pixel]
        assert new_images[n, :, y, x].tolist() == pytest.approx(expected, abs=1e-5)


def test_brightness_is_one_offset_for_a_picture():
    images = torch.rand(40, 3, 4, 4) * 0.2 + 0.4

    change = augmenter(color_shift_stddev=0.1)(images, torch.zeros(40, 0, 4))[0] - images

    assert torch.allclose(change, change[:, :1, :1, :1].expand_as(change), atol=1e-5)
    assert len(change[:, 0, 0, 0].unique()) == 40
    assert float(change.abs().max()) <= 0.2 + 1e-5


def test_contrast_leaves_its_centre_alone():
    images = torch.full((40, 3, 1, 2), 0.3)
    images[..., 1] = 0.5

    new = augmenter(contrast_scale_max=0.4, contrast_center=0.3)(images, torch.zeros(40, 0, 4))[0]

    assert torch.allclose(new[..., 0], images[..., 0], atol=1e-5)
    factor = (new[:, 0, 0, 1] - 0.3) / 0.2
    assert 0.6 - 1e-4 <= float(factor.min()) < 0.8
    assert 1.2 < float(factor.max()) <= 1.4 + 1e-4


def test_normal_draws_are_cut_at_two_deviations():
    drawn = augmenter()._normal(20_000, 3.0)

    assert float(drawn.abs().max()) <= 6.0 + 1e-4
    assert float(drawn.mean()) == pytest.approx(0, abs=0.1)
    assert float(drawn.std()) == pytest.approx(3 * 0.8796, rel=0.02)  # of a normal distribution cut at ±2


def test_colour_stays_in_range_and_leaves_boxes_and_input_alone():
    images, boxes = torch.rand(8, 3, 6, 6), torch.rand(8, 2, 4)
    before = images.clone()
    options = {"color_shift_stddev": 0.5, "hue_rotation_max": 90.0, "saturation_shift_max": 1.0}

    new_images, new_boxes = augmenter(**options, contrast_scale_max=1.0)(images, boxes)

    assert 0 <= float(new_images.min()) <= float(new_images.max()) <= 1
    assert new_boxes is boxes
    assert torch.equal(images, before)


EVERYTHING = {
    "hflip_probability": 0.5,
    "zoom_min": 0.7,
    "zoom_max": 1.3,
    "translate_max_x": 5.0,
    "rotate_max_degrees": 5.0,
    "color_shift_stddev": 0.1,
    "hue_rotation_max": 20.0,
    "contrast_scale_max": 0.2,
}


def test_the_generator_alone_decides():
    images, boxes = rectangle(3)
    torch.manual_seed(1)
    first = augmenter(7, **EVERYTHING)(images, boxes)
    torch.manual_seed(2)

    again, other = augmenter(7, **EVERYTHING)(images, boxes), augmenter(8, **EVERYTHING)(images, boxes)

    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[1], other[1])


def test_the_next_batch_is_changed_in_another_way():
    images, boxes = rectangle(1)
    augment = augmenter(7, **EVERYTHING)

    assert not torch.equal(augment(images, boxes)[1], augment(images, boxes)[1])
