"""AutoAugment and RandAugment against the classes of tf-models-official."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from official.vision.ops import augment

from condconv_keras.data import AugmentationOptions
from condconv_keras.data.augment.policies import auto_augment, make_policy, rand_augment

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
SEEDS = [(seed, 5) for seed in range(40)]
UNSIGNED = ("AutoContrast", "Equalize", "Invert", "Posterize", "Color", "Contrast", "Brightness", "Sharpness")
SIGNED = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")


def _official(name, magnitude, translate_const=250):
    """All results of the operation in tf-models-official: one, or one for each sign."""
    policy = augment.AutoAugment(policies=[[(name, 1.0, magnitude)]], translate_const=translate_const)
    tf.random.set_seed(0)
    return {policy.distort(tf.constant(IMAGE)).numpy().tobytes() for _ in range(12)}


@pytest.mark.parametrize("name", [*UNSIGNED, "Solarize", "SolarizeAdd"])
@pytest.mark.parametrize("magnitude", [2, 9])
def test_an_operation_is_that_of_official(name, magnitude):
    result = auto_augment(tf.constant(IMAGE), SEEDS[0], [[(name, 1.0, magnitude)]])
    assert result.dtype == tf.uint8
    assert {result.numpy().tobytes()} == _official(name, magnitude)


@pytest.mark.parametrize("name", SIGNED)
def test_an_operation_that_moves_goes_either_way(name):
    # 25 of 250 pixels at a tenth of the largest magnitude.
    results = {auto_augment(tf.constant(IMAGE), seed, [[(name, 1.0, 1)]]).numpy().tobytes() for seed in SEEDS[:12]}
    assert len(results) == 2
    assert results == _official(name, 1)


def test_solarize_at_the_largest_magnitude_changes_nothing():
    result = auto_augment(tf.constant(IMAGE), SEEDS[0], [[("Solarize", 1.0, 10)]])
    np.testing.assert_array_equal(result, IMAGE)


def test_cutout_grays_out_a_square():
    image = np.zeros((24, 32, 3), np.uint8)
    areas = []
    for seed in SEEDS:
        result = auto_augment(tf.constant(image), seed, [[("Cutout", 1.0, 1)]]).numpy()  # 10 of 100 pixels each way
        assert set(np.unique(result)) == {0, 128}
        rows, columns = np.nonzero(result.any(axis=(1, 2)))[0], np.nonzero(result.any(axis=(0, 2)))[0]
        assert (result[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == 128).all()
        assert len(rows) <= 20 and len(columns) <= 20
        areas.append(len(rows) * len(columns))
    assert max(areas) > 330 and min(areas) < 180


def test_operations_follow_each_other_with_their_probabilities():
    policies = [[("Invert", 0.5, 0), ("Posterize", 0.25, 5)]]
    posterized, inverted = (IMAGE >> 6) << 6, 255 - IMAGE
    outcomes = [IMAGE, inverted, posterized, (inverted >> 6) << 6]
    run = tf.function(functools.partial(auto_augment, tf.constant(IMAGE), policies=policies))
    results = [run(tf.constant([seed, 1])).numpy() for seed in range(300)]
    counts = [sum(np.array_equal(result, outcome) for result in results) for outcome in outcomes]
    assert sum(counts) == 300
    np.testing.assert_allclose(np.array(counts) / 300, [0.375, 0.375, 0.125, 0.125], atol=0.09)


def _draws(distort, count):
    """Outcomes of a random function of the number of the draw, with how often each came."""
    run = tf.function(distort, autograph=False)
    outcomes = [run(tf.constant(i)).numpy().tobytes() for i in range(count)]
    return {outcome: outcomes.count(outcome) for outcome in set(outcomes)}


@pytest.mark.slow
def test_auto_augment_is_v0():
    ours = _draws(lambda i: auto_augment(tf.constant(IMAGE), tf.stack([i, 5])), 400)
    official = augment.AutoAugment("v0")
    tf.random.set_seed(0)
    theirs = _draws(lambda i: official.distort(tf.constant(IMAGE)), 800)
    frequent = {outcome for outcome, count in ours.items() if count >= 5}
    assert len(frequent) > 15
    assert frequent <= set(theirs)


def test_rand_augment_has_the_operations_of_official():
    ours = _draws(lambda i: rand_augment(tf.constant(IMAGE), tf.stack([i, 5]), layers=1, magnitude=3.0), 600)
    official = augment.RandAugment(num_layers=1, magnitude=3.0, exclude_ops=["Cutout"])
    tf.random.set_seed(0)
    theirs = _draws(lambda i: official.distort(tf.constant(IMAGE)), 400)
    assert len(theirs) >= 19  # 10 unsigned operations, both signs of 5
    assert set(theirs) <= set(ours)
    cutout = sum(count for outcome, count in ours.items() if outcome not in theirs)
    assert abs(cutout / 600 - 1 / 17) < 0.04


def test_layers_follow_each_other():
    options = AugmentationOptions(policy="randaugment", policy_layers=3, policy_magnitude=5.0)
    policy = make_policy(options)
    one = functools.partial(rand_augment, layers=1, magnitude=5.0)
    differs = [
        not np.array_equal(policy(tf.constant(IMAGE, tf.float32), seed), one(tf.constant(IMAGE), seed))
        for seed in SEEDS[:8]
    ]
    assert any(differs)


@pytest.mark.parametrize(("name", "channels"), [("autoaugment", 1), ("randaugment", 1), ("randaugment", 3)])
def test_a_policy_of_float_images_of_any_channels(name, channels):
    policy = make_policy(AugmentationOptions(policy=name))
    image = tf.constant(IMAGE[..., :channels] + 0.3, tf.float32)  # as after a resize
    results = []
    for global_seed in (1, 2):
        tf.random.set_seed(global_seed)
        results.append([policy(image, tf.constant(seed)).numpy() for seed in SEEDS])
    np.testing.assert_array_equal(*results)
    assert all(result.shape == (24, 32, channels) and result.dtype == np.float32 for result in results[0])
    assert all(result.min() >= 0 and result.max() <= 255 for result in results[0])
    assert len({result.tobytes() for result in results[0]}) > 10


def test_no_policy():
    assert make_policy(AugmentationOptions()) is None
