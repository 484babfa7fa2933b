from __future__ import annotations

import numpy as np
import pytest
import torch
from detectnet_pictures import PictureSet, rectangles

from aerodet.detectnet.dataset import Mix, TrainingSet, fit_image, in_unit

CPU = torch.device("cpu")


def pictures(*sizes: tuple[int, int], boxes: list[list[list[float]]] | None = None) -> PictureSet:
    """Pictures of the given (height, width), each of one value; by default one box each."""
    images = [np.full((h, w, 3), 10 * (n + 1), np.uint8) for n, (h, w) in enumerate(sizes)]
    boxes = boxes if boxes is not None else [[[1.0, 2.0, 9.0, 8.0]] for _ in sizes]
    return PictureSet(images, boxes, [[0] * len(b) for b in boxes], classes=("aircraft",))


def test_a_picture_of_the_right_size_is_not_touched():
    image, boxes = np.zeros((32, 48, 3), np.uint8), np.zeros((1, 4), np.float32)

    for resize in (True, False):
        fitted = fit_image(image, boxes, (32, 48), resize=resize)
        assert fitted[0] is image
        assert fitted[1] is boxes


def test_a_small_picture_is_padded_with_black_right_and_below():
    image = np.full((10, 12, 3), 200, np.uint8)
    boxes = np.array([[1, 2, 3, 4]], np.float32)

    fitted, same = fit_image(image, boxes, (16, 32), resize=False)

    assert fitted.shape == (16, 32, 3)
    assert (fitted[:10, :12] == 200).all()
    assert fitted.sum() == image.sum()
    assert same.tolist() == boxes.tolist()


def test_a_large_picture_is_cut_right_and_below_and_one_side_may_be_padded_while_the_other_is_cut():
    image = np.arange(40 * 20 * 3, dtype=np.uint64).reshape(40, 20, 3).astype(np.uint8)

    fitted, _ = fit_image(image, np.zeros((0, 4), np.float32), (16, 32), resize=False)

    assert (fitted[:, :20] == image[:16]).all()
    assert not fitted[:, 20:].any()


def test_with_resize_picture_and_boxes_are_stretched_alike():
    image = np.zeros((20, 40, 3), np.uint8)
    image[4:12, 8:24] = 255

    fitted, boxes = fit_image(image, np.array([[8, 4, 24, 12]], np.float32), (80, 80), resize=True)

    assert boxes.tolist() == [[16, 16, 48, 48]]
    assert boxes.dtype == np.float32
    rows, columns = np.nonzero(fitted[..., 0] > 127)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (16, 16, 48, 48)


def test_a_batch_holds_pixels_in_zero_to_one_and_boxes_padded_to_the_fullest_picture():
    boxes = [[[0, 0, 4, 4], [5, 5, 9, 9]], [], [[1, 1, 2, 2]]]
    data = TrainingSet([(pictures((16, 16), (16, 16), (16, 16), boxes=boxes), [0, 1, 2])], (16, 16), CPU)

    batch = data.batch([2, 0])

    assert batch.images.shape == (2, 3, 16, 16)
    assert batch.images.dtype == torch.uint8
    assert batch.images[:, 0, 0, 0].tolist() == [30, 10]
    assert in_unit(batch.images)[:, 0, 0, 0].tolist() == pytest.approx([30 / 255, 10 / 255])
    assert batch.boxes.tolist() == [[[1, 1, 2, 2], [0, 0, 0, 0]], [[0, 0, 4, 4], [5, 5, 9, 9]]]
    assert batch.labels.tolist() == [[0, -1], [0, 0]]


def test_a_batch_is_padded_no_further_than_its_own_fullest_picture():
    boxes = [[[0, 0, 4, 4]] * 9, [[1, 1, 2, 2]], []]
    data = TrainingSet([(pictures((16, 16), (16, 16), (16, 16), boxes=boxes), [0, 1, 2])], (16, 16), CPU)

    assert data.batch([1, 2]).boxes.shape == (2, 1, 4)
    assert data.batch([2, 2]).labels.shape == (2, 0)
    assert data.batch([2, 0]).boxes.shape == (2, 9, 4)


def test_pictures_without_any_box_make_batches_too():
    data = TrainingSet([(pictures((16, 16), boxes=[[]]), [0])], (16, 16), CPU)

    assert data.batch([0]).boxes.shape == (1, 0, 4)


def test_boxes_are_stretched_with_their_pictures():
    stretched = TrainingSet([(pictures((16, 32)), [0])], (32, 32), CPU, resize=True)
    padded = TrainingSet([(pictures((16, 32)), [0])], (32, 32), CPU)

    assert stretched.batch([0]).boxes.tolist() == [[[1, 4, 9, 16]]]
    assert padded.batch([0]).boxes.tolist() == [[[1, 2, 9, 8]]]


def test_several_sets_and_chosen_pictures_are_joined_in_order():
    first, second = pictures((16, 16), (16, 16)), pictures((16, 16), (16, 16), (16, 16))

    data = TrainingSet([(first, [1]), (second, [2, 0])], (16, 16), CPU)

    assert len(data) == 3
    assert data.batch([0, 1, 2]).images[:, 0, 0, 0].tolist() == [20, 30, 10]


def test_a_set_that_does_not_fit_into_the_cache_is_decoded_batch_by_batch_to_the_same_pixels():
    source = rectangles(5)
    cached = TrainingSet([(source, range(5))], (64, 64), CPU)
    streamed = TrainingSet([(source, range(5))], (64, 64), CPU, cache_bytes=0)

    for a, b in zip(cached.batch([3, 1, 3]), streamed.batch([3, 1, 3]), strict=True):
        assert torch.equal(a, b)
    source.pictures[1] = np.zeros_like(source.pictures[1])
    assert cached.batch([1]).images.any()
    assert not streamed.batch([1]).images.any()


def drawn(count: int, batch_size: int, seed: int = 0) -> list[list[int]]:
    """The pictures of an epoch's batches, by number."""
    data = TrainingSet([(pictures(*[(16, 16)] * count), range(count))], (16, 16), CPU)
    batches = data.epoch(batch_size, torch.Generator().manual_seed(seed))
    return [(b.images[:, 0, 0, 0].long() // 10 - 1).tolist() for b in batches]


@pytest.mark.parametrize(("count", "batch_size"), [(8, 4), (7, 4), (5, 5), (3, 8), (1, 4), (9, 2)])
def test_an_epoch_has_full_batches_with_every_picture_and_the_last_one_wraps_round(count: int, batch_size: int):
    batches = drawn(count, batch_size)

    assert len(batches) == -(-count // batch_size)
    assert {len(batch) for batch in batches} == {batch_size}
    flat = [n for batch in batches for n in batch]
    assert sorted(flat[:count]) == list(range(count))
    assert flat[count:] == (flat[:count] * batch_size)[: len(flat) - count]


def test_the_generator_decides_the_order_and_the_next_epoch_has_another():
    assert drawn(12, 4, seed=1) == drawn(12, 4, seed=1)
    assert drawn(12, 4, seed=1) != drawn(12, 4, seed=2)

    data = TrainingSet([(pictures(*[(16, 16)] * 12), range(12))], (16, 16), CPU)
    generator = torch.Generator().manual_seed(0)
    first, second = ([b.images[:, 0, 0, 0].tolist() for b in data.epoch(12, generator)] for _ in range(2))
    assert first != second


def mixed(own: int, pool: int, count: int, epochs: int) -> list[list[int]]:
    """The pictures of each epoch, by number: 0 to own-1, then those of the mix."""
    everything = pictures(*[(16, 16)] * (own + pool))
    theirs = PictureSet(everything.pictures[own:], [[]] * pool, [[]] * pool, classes=everything.classes)
    data = TrainingSet([(everything, range(own))], (16, 16), CPU, mix=Mix(theirs, count))
    assert len(data) == own + count
    generator = torch.Generator().manual_seed(0)
    batches = [list(data.epoch(own + count, generator)) for _ in range(epochs)]
    return [(b.images[:, 0, 0, 0].long() // 10 - 1).tolist() for (b,) in batches]


def test_every_epoch_has_all_of_its_own_pictures_and_others_of_the_mix():
    epochs = mixed(own=4, pool=8, count=3, epochs=6)

    for epoch in epochs:
        assert sorted(n for n in epoch if n < 4) == [0, 1, 2, 3]
        assert len({n for n in epoch if n >= 4}) == 3
    assert {n for epoch in epochs for n in epoch} == set(range(12))


def test_a_mix_smaller_than_its_share_repeats_no_picture_before_all_were_drawn():
    (epoch,) = mixed(own=1, pool=2, count=5, epochs=1)

    assert sorted(epoch.count(n) for n in (1, 2)) == [2, 3]
