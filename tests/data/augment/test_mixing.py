"""Mixup and cutmix against NumPy, from the weights and boxes that were drawn."""

import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.data import AugmentationOptions
from condconv_keras.data.augment.mixing import cut_box, cutmix, mix, mixup, sample_weight

SEEDS = [(seed, 3) for seed in range(60)]
CLASSES = 5
LABELS = np.array([4, 0, 2, 1], np.int32)
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[LABELS]
IMAGES = np.random.default_rng(0).normal(size=(4, 12, 20, 3)).astype(np.float32)


def _blend(values, weight):
    """The last example is the partner of the first, the last but one of the second, and so on."""
    return np.stack([weight * values[i] + (1 - weight) * values[len(values) - 1 - i] for i in range(len(values))])


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_is_the_weighted_sum(alpha):
    for seed in SEEDS[:10]:
        weight = float(sample_weight(alpha, seed))
        images, probabilities = mixup(IMAGES, ONE_HOT, alpha, seed)
        np.testing.assert_allclose(images, _blend(IMAGES, weight), atol=1e-6)
        np.testing.assert_allclose(probabilities, _blend(ONE_HOT, weight), atol=1e-6)
        np.testing.assert_allclose(np.sum(probabilities, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 4.0])
def test_the_weight_is_beta_distributed(alpha):
    draw = tf.function(lambda seed: sample_weight(alpha, seed))
    weights = np.array([draw(tf.constant([seed, 9])) for seed in range(1500)])
    assert np.isfinite(weights).all() and weights.min() >= 0 and weights.max() <= 1
    # Moments of Beta(alpha, alpha); four standard errors.
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(weights.mean() - 0.5) < 4 * np.sqrt(variance / len(weights))
    assert abs(weights.var() - variance) < 0.15 * variance


@pytest.mark.parametrize(("height", "width"), [(12, 20), (20, 12), (16, 16)])
def test_the_box_has_the_area_and_the_ratio_of_the_image_where_it_is_not_cut_off(height, width):
    for weight in (0.0, 0.36, 0.51, 0.75, 0.99, 1.0):
        box = [int(side) for side in cut_box(weight, np.array([0.5, 0.5], np.float32), height, width)]
        top, left, bottom, right = box
        side = np.sqrt(1 - weight)
        assert (bottom - top, right - left) == (int(np.float32(side * height)), int(np.float32(side * width)))
        assert abs((top + bottom) / 2 - height / 2) <= 0.5
        assert abs((left + right) / 2 - width / 2) <= 0.5


@pytest.mark.parametrize(
    ("center", "expected"),
    [  # a box of 10 x 20 in an image of 20 x 40
        ((0.0, 0.0), (0, 0, 5, 10)),
        ((0.5, 0.999), (5, 29, 15, 40)),
        ((0.999, 0.5), (14, 10, 20, 30)),
        ((0.5, 0.5), (5, 10, 15, 30)),
    ],
)
def test_the_image_cuts_the_box_off(center, expected):
    assert tuple(int(side) for side in cut_box(0.75, np.array(center, np.float32), 20, 40)) == expected


def test_cutmix_pastes_the_box_and_weighs_by_what_is_pasted():
    shares = []
    for seed in SEEDS:
        images, probabilities = (array.numpy() for array in cutmix(IMAGES, ONE_HOT, 1.0, seed))
        pasted = (images != IMAGES).any(axis=(0, 3))
        rows, columns = np.nonzero(pasted.any(axis=1))[0], np.nonzero(pasted.any(axis=0))[0]
        box = np.zeros_like(pasted)
        if pasted.any():
            box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        np.testing.assert_array_equal(pasted, box)
        np.testing.assert_array_equal(images, np.where(box[..., None], IMAGES[::-1], IMAGES))
        np.testing.assert_allclose(probabilities, _blend(ONE_HOT, 1 - box.mean()), atol=1e-6)
        shares.append(box.mean())
    assert len(set(shares)) > 30
    assert 0.1 < np.mean(shares) < 0.5  # of a mean of 0.5 that the border cuts off


def _is_mixup(images):
    """Whether some value is neither the example's own nor its partner's."""
    return bool(((images != IMAGES) & (images != IMAGES[::-1])).any())


@pytest.mark.parametrize(("mixup_alpha", "cutmix_alpha", "low", "high"), [(1, 0, 60, 60), (0, 1, 0, 0), (1, 1, 18, 42)])
def test_each_batch_takes_one_of_both(mixup_alpha, cutmix_alpha, low, high):
    options = AugmentationOptions(mixup_alpha=mixup_alpha, cutmix_alpha=cutmix_alpha)
    assert options.mixes
    results = [mix(IMAGES, LABELS, options, CLASSES, seed) for seed in SEEDS]
    assert low <= sum(_is_mixup(images.numpy()) for images, _ in results) <= high
    assert all(
        probabilities.dtype == tf.float32 and probabilities.shape == (4, CLASSES) for _, probabilities in results
    )


def test_the_seed_alone_decides():
    options = AugmentationOptions(mixup_alpha=0.4, cutmix_alpha=0.4)
    results = []
    for global_seed in (1, 2):
        tf.random.set_seed(global_seed)
        results.append([mix(IMAGES, LABELS, options, CLASSES, seed)[0].numpy() for seed in SEEDS[:10]])
    np.testing.assert_array_equal(*results)
    assert len({result.tobytes() for result in results[0]}) > 5
