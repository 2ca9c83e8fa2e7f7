import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.data.augment.erasing import erase_rectangle

IMAGE = np.full((30, 50, 3), 9.0, np.float32)  # a value that the noise does not have
SEEDS = [(seed, 1) for seed in range(300)]


@pytest.fixture(scope="module")
def erased():
    """300 results, as masks of what changed."""
    run = tf.function(lambda seed: erase_rectangle(tf.constant(IMAGE), 1.0, seed))
    return [run(tf.constant(seed)).numpy() for seed in SEEDS]


def _rectangle(result):
    changed = (result != IMAGE).all(axis=-1)
    rows, columns = np.nonzero(changed.any(axis=1))[0], np.nonzero(changed.any(axis=0))[0]
    assert changed.sum() == len(rows) * len(columns) == np.ptp([*rows, *rows + 1]) * np.ptp([*columns, *columns + 1])
    return rows[0], columns[0], len(rows), len(columns)


def test_a_whole_rectangle_of_the_stated_area_and_ratio(erased):
    rectangles = np.array([_rectangle(result) for result in erased])
    heights, widths = rectangles[:, 2], rectangles[:, 3]
    assert ((heights + 0.5) * (widths + 0.5) > 0.02 * 1500).all()
    assert ((heights - 0.5) * (widths - 0.5) < 1500 / 3).all()
    assert ((heights + 0.5) / (widths - 0.5) > 0.3).all() and ((widths + 0.5) / (heights - 0.5) > 0.3).all()
    assert (heights * widths).max() > 0.3 * 1500 and (heights * widths).min() < 0.05 * 1500


def test_every_place_is_possible(erased):
    changed = np.mean([(result != IMAGE).all(axis=-1) for result in erased], axis=0)
    assert changed[0].any() and changed[-1].any() and changed[:, 0].any() and changed[:, -1].any()
    assert changed[15, 25] < 0.5
    np.testing.assert_allclose(changed, changed[::-1, ::-1], atol=0.15)  # no side is preferred


def test_the_noise_is_standard_normal(erased):
    noise = np.concatenate([result[result != IMAGE] for result in erased])
    np.testing.assert_allclose((noise.mean(), noise.std()), (0, 1), atol=0.02)


def test_the_probability():
    run = tf.function(lambda seed: erase_rectangle(tf.constant(IMAGE), 0.25, seed))
    changed = np.mean([(run(tf.constant(seed)).numpy() != IMAGE).any() for seed in SEEDS])
    assert abs(changed - 0.25) < 0.1


def test_an_image_that_no_rectangle_fits():
    image = np.zeros((1, 40, 1), np.float32)
    for seed in SEEDS[:20]:
        np.testing.assert_array_equal(erase_rectangle(tf.constant(image), 1.0, seed), image)
