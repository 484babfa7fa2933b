import numpy as np

from aerodet.metrics import areas, iou, share_inside

A = np.array([[0, 0, 10, 10], [5, 5, 15, 15], [20, 20, 20, 20]], np.float32)
B = np.array([[0, 0, 10, 10], [0, 0, 10, 20]], np.float32)


def test_areas_are_those_of_the_sides_and_none_is_negative():
    assert areas(np.array([[1, 2, 4, 6], [4, 6, 1, 2], [0, 0, 0, 5]], np.float32)).tolist() == [12, 0, 0]


def test_iou_of_every_box_with_every_other():
    expected = [[1, 1 / 2], [25 / 175, 50 / 250], [0, 0]]
    assert np.allclose(iou(A, B), expected)
    assert iou(A, np.zeros((0, 4), np.float32)).shape == (3, 0)
    assert iou(A[2:], A[2:]).tolist() == [[0.0]]  # points share nothing, not even with themselves


def test_iou_of_large_coordinates_is_not_rounded():
    box = np.array([[30_000.25, 30_000.25, 30_001.25, 30_001.25]], np.float32)
    assert np.isclose(iou(box, box + np.float32(0.5)).item(), 0.25 / 1.75)


def test_the_share_inside_is_of_the_box_and_of_the_region_that_holds_most():
    assert share_inside(A[:2], B).tolist() == [1.0, 0.5]
    assert share_inside(A[:2], B[:0]).tolist() == [0.0, 0.0]
