import numpy as np
import pytest

from condconv_keras.data.sources import clean_boxes as module
from condconv_keras.data.sources.clean_boxes import Boxes, clean_boxes


def _annotation(boxes, classes=None, is_crowd=None, area=None):
    count = len(boxes)
    return Boxes(
        np.array(boxes, np.float64).reshape(count, 4),
        np.zeros(count, np.int32) if classes is None else np.array(classes),
        np.zeros(count, bool) if is_crowd is None else np.array(is_crowd),
        np.full(count, np.nan) if area is None else np.array(area, np.float64),
    )


def test_pixels_become_fractions_of_height_and_width():
    cleaned, skipped = clean_boxes(_annotation([[10, 40, 30, 120]], [3], [True], [77.5]), (100, 200))
    np.testing.assert_allclose(cleaned.boxes, [[0.1, 0.2, 0.3, 0.6]], rtol=1e-6)
    assert (cleaned.classes.tolist(), cleaned.is_crowd.tolist(), cleaned.area.tolist()) == ([3], [True], [77.5])
    assert [array.dtype for array in vars(cleaned).values()] == [np.float32, np.int32, bool, np.float32]
    assert skipped == {}


def test_what_is_clipped_and_what_is_left_out():
    cleaned, skipped = clean_boxes(
        _annotation(
            [
                [-5, 10, 50, 250],  # clipped to [0, 10, 50, 200]
                [0, 0, 10, 10],  # of an unknown class
                [np.nan, 0, 10, 10],
                [0, 0, np.inf, 10],
                [5, 5, 5, 10],  # no height
                [5, 10, 9, 8],  # the edges the wrong way round
                [-20, 0, -1, 10],  # above
                [0, 200, 10, 220],  # right of the image, touching it
            ],
            classes=[1, -1, 1, 1, 1, 1, 1, 1],
        ),
        (100, 200),
    )
    np.testing.assert_allclose(cleaned.boxes, [[0, 0.05, 0.5, 1]])
    np.testing.assert_allclose(cleaned.area, [50 * 190])
    assert skipped == {"unknown class": 1, "not finite": 2, "no area": 2, "outside the image": 2}


@pytest.mark.parametrize("area", [np.nan, -1.0, np.inf])
def test_an_area_that_is_none_is_the_boxs(area):
    cleaned, _ = clean_boxes(_annotation([[10, 10, 20, 30], [0, 0, 4, 4]], area=[area, 5.0]), (50, 50))
    np.testing.assert_allclose(cleaned.area, [10 * 20, 5], rtol=1e-6)


def test_no_boxes():
    cleaned, skipped = clean_boxes(_annotation([]), (10, 10))
    assert cleaned.boxes.shape == (0, 4) and cleaned.classes.shape == (0,) and skipped == {}


def test_the_largest_boxes_stay_in_their_order(monkeypatch):
    monkeypatch.setattr(module, "MAX_BOXES", 2)
    annotation = _annotation([[0, 0, 5, 5], [0, 0, 1, 1], [0, 0, 9, 9], [0, 0, 3, 3]], [0, 1, 2, 3])
    cleaned, skipped = clean_boxes(annotation, (10, 10))
    assert cleaned.classes.tolist() == [0, 2]
    assert list(skipped.values()) == [2]


def test_hundred_boxes_stay():
    cleaned, skipped = clean_boxes(_annotation([[0, 0, 1 + i, 5] for i in range(130)]), (200, 10))
    np.testing.assert_allclose(cleaned.boxes[:, 2] * 200, np.arange(31, 131), rtol=1e-5)
    assert skipped == {"more than 100 in the image": 30}


def test_random_boxes_leave_only_good_ones_and_all_are_counted():
    random = np.random.default_rng(0)
    for _ in range(50):
        boxes = random.choice([-30.0, 0.0, 5.0, 19.9999999, 20.0, 50.0, np.nan, np.inf, -np.inf, 1e308], (150, 4))
        annotation = _annotation(boxes, random.integers(-1, 3, 150), area=random.choice([np.nan, 1.0, -np.inf], 150))
        cleaned, skipped = clean_boxes(annotation, (20, 40))
        assert all(np.isfinite(array).all() for array in vars(cleaned).values())
        assert (cleaned.boxes >= 0).all() and (cleaned.boxes <= 1).all()
        assert (cleaned.boxes[:, 2:] > cleaned.boxes[:, :2]).all()
        assert len(cleaned.boxes) + sum(skipped.values()) == 150
