import numpy as np
import pytest

from condconv_keras.routing_statistics.statistics import BIN_EDGES, BINS, RoutingStatistics, mean_of_layers
from condconv_keras.utils.errors import UserError
from tests.analysis.stored import CLASSES, IMAGES, LAYERS, gathered, one_layer, stored_weights


@pytest.mark.parametrize("batch_size", [1, 7, IMAGES])
def test_every_statistic_equals_numpy_on_the_stored_weights(batch_size):
    weights, presence = stored_weights()
    statistics = gathered(weights, presence, batch_size)
    assert statistics.images == IMAGES
    for layer, (name, experts), stored in zip(statistics.layers(), LAYERS, weights, strict=True):
        stored = stored.astype(np.float64)
        assert (layer.name, layer.experts) == (name, experts)
        np.testing.assert_array_equal(layer.class_count, presence.sum(axis=0))
        for i in range(3):
            of_class = stored[presence[:, i]]
            np.testing.assert_allclose(layer.mean[i], of_class.mean(axis=0), rtol=1e-12)
            np.testing.assert_allclose(layer.std[i], of_class.std(axis=0), rtol=1e-12)
        assert np.isnan(layer.mean[3]).all() and np.isnan(layer.std[3]).all()
        np.testing.assert_allclose(layer.overall_mean, stored.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(layer.overall_std, stored.std(axis=0), rtol=1e-12)
        np.testing.assert_allclose(layer.above_half, (stored > 0.5).mean(axis=0), rtol=1e-12)
        for expert in range(experts):
            np.testing.assert_array_equal(layer.histogram[expert], np.histogram(stored[:, expert], BIN_EDGES)[0])
        assert layer.near_0 == pytest.approx((stored < 0.1).mean())
        assert layer.near_1 == pytest.approx((stored >= 0.9).mean())
        outside = (stored < 0.05) | (stored > 0.95)
        assert outside.any() and not outside.all()
        np.testing.assert_array_equal(layer.saturated, outside.sum(axis=0) / IMAGES)
        assert layer.saturation == pytest.approx(outside.mean(), rel=1e-12)
        assert layer.spread == pytest.approx(stored.std(axis=0).mean(), rel=1e-12)
        _check_specificity(layer, stored, presence)


def _check_specificity(layer, stored, presence):
    """Checks the law of total variance with every image once for each of its classes."""
    pairs = np.concatenate([stored[presence[:, i]] for i in range(3)])
    counts = presence[:, :3].sum(axis=0)
    between = np.mean(
        np.repeat([stored[presence[:, i]].mean(axis=0) - pairs.mean(axis=0) for i in range(3)], counts, axis=0) ** 2,
        axis=0,
    )
    np.testing.assert_allclose(layer.class_variance, between, rtol=1e-10)
    assert layer.class_specificity == pytest.approx(between.sum() / pairs.var(axis=0).sum(), rel=1e-10)
    assert layer.classed_images == (images := presence.any(axis=1).sum())
    assert layer.chance_specificity == pytest.approx((3 * images - len(pairs)) / (len(pairs) * (images - 1)))


def test_a_layer_that_knows_the_class_is_specific_and_one_that_varies_inside_is_not():
    known = one_layer([[0.2, 0.5], [0.2, 0.5], [0.8, 0.5]], [0, 0, 1], ["a", "b"])
    assert known.class_specificity == pytest.approx(1)
    inside = one_layer([[0.2], [0.8], [0.8], [0.2]], [0, 0, 1, 1], ["a", "b"])
    assert inside.class_specificity == pytest.approx(0)
    # By hand: class means 0.3 and 0.7, variances 0.04 and 0.01 within.
    halfway = one_layer([[0.1], [0.5], [0.6], [0.8]], [0, 0, 1, 1], ["a", "b"])
    assert halfway.class_specificity == pytest.approx(0.04 / (0.04 + 0.025))
    assert one_layer([[0.5], [0.5]], [0, 1], ["a", "b"]).class_specificity == 0


def test_labels_at_random_have_the_chance_specificity():
    rng = np.random.default_rng(0)
    layer = one_layer(rng.random((4000, 4)), rng.integers(0, 1000, 4000), range(1000))
    assert layer.class_specificity == pytest.approx(layer.chance_specificity, rel=0.1)
    assert layer.chance_specificity == pytest.approx((len(np.unique(layer.class_count.nonzero())) - 1) / 3999)


def test_several_classes_at_random_have_the_chance_specificity():
    """Images of a detector: four of ten classes each, some without any."""
    rng = np.random.default_rng(0)
    found, chance = [], []
    for _ in range(40):
        presence = np.zeros((320, 10), bool)
        for row in presence[:300]:
            row[rng.choice(10, 4, replace=False)] = True
        (layer,) = gathered([rng.random((320, 4))], presence, 320, [("routing", 4)], range(10)).layers()
        found.append(layer.class_specificity)
        chance.append(layer.chance_specificity)
    assert np.mean(found) == pytest.approx(np.mean(chance), rel=0.1)


def test_images_without_classes_count_in_the_overall_statistics_alone():
    statistics = RoutingStatistics([("routing", 1)], ["a"])
    statistics.add([[[0.25], [0.75]]], [[False], [False]])
    (layer,) = statistics.layers()
    assert layer.overall_mean == [0.5] and layer.above_half == [0.5]
    assert layer.class_count == [0] and np.isnan(layer.mean).all()
    assert (layer.class_specificity, layer.chance_specificity) == (0, 0)
    assert layer.class_variance == [0] and layer.top_classes(10).shape == (1, 0)


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_a_small_deviation_far_from_zero_is_kept(batch_size):
    values = 0.999 + 1e-9 * np.random.default_rng(0).standard_normal((3000, 1))
    statistics = RoutingStatistics([("routing", 1)], ["a"])
    for start in range(0, 3000, batch_size):
        statistics.add([values[start : start + batch_size]], np.ones((batch_size, 1), bool))
    (layer,) = statistics.layers()
    assert layer.std[0, 0] == pytest.approx(values.std(), rel=1e-6)
    assert layer.overall_std[0] == pytest.approx(values.std(), rel=1e-6)


def test_the_edges_of_the_histogram():
    layer = one_layer([[0.0], [0.02], [0.5], [0.999], [1.0], [-3.0], [7.0]], [0] * 7, ["a"])
    expected = np.zeros(BINS, int)
    expected[[0, 1, 25, 49]] = 2, 1, 1, 3  # what is outside counts in the bin next to it
    np.testing.assert_array_equal(layer.histogram[0], expected)


def test_saturated_weights_are_counted_between_the_edges_of_the_histogram():
    layer = one_layer([[0.049, 0.951], [0.05, 0.95], [0.041, 0.959], [0.059, 0.941]], [0] * 4, ["a"])
    np.testing.assert_array_equal(layer.saturated, [0.5, 0.5])
    assert layer.saturation == 0.5
    # Half of the images at either end is all that a weight in [0, 1] can vary.
    assert one_layer([[0.0, 1.0], [1.0, 0.0]], [0, 0], ["a"]).spread == 0.5


def test_an_anchored_expert_counts_in_neither_saturation_nor_spread():
    weights = np.array([[1.0, 0.2, 0.96], [1.0, 0.4, 0.5]])
    layer = one_layer(weights, [0, 0], ["a"])
    # By hand: one of four weights, and deviations of 0.1 and 0.23.
    assert layer.saturation == 0.25
    assert layer.spread == pytest.approx(0.165)
    assert (layer.experts, layer.routed) == (3, slice(1, 3))
    # Elsewhere, or not for every image, it is a router's choice; and a single expert is all that there is.
    assert one_layer(weights[:, ::-1], [0, 0], ["a"]).saturation == 0.5
    assert one_layer(np.where(weights == 1, 0.99, weights), [0, 0], ["a"]).saturation == 0.5
    assert one_layer(weights[:, :1], [0, 0], ["a"]).saturation == 1
    other = one_layer([[0.0], [0.0]], [0, 0], ["a"])
    assert mean_of_layers([layer, other], "saturation") == pytest.approx((1 + 2) / (4 + 2))


def test_dead_and_always_on_experts():
    # Never on and low; never on but used; low, but on once; always on; always above a half, but low; at a half.
    rows = [[0.01, 0.4, 0.0, 0.95, 0.6, 0.5]] * 20 + [[0.02, 0.3, 0.9, 0.99, 0.7, 0.5]]
    layer = one_layer(rows, [0] * 21, ["a"])
    assert layer.dead == [0]
    assert layer.in_use == 5
    assert layer.always_on == [3]
    np.testing.assert_allclose(layer.above_half, [0, 0, 1 / 21, 1, 1, 0])


def test_the_top_classes():
    layer = one_layer([[0.1, 0.9], [0.3, 0.9], [0.9, 0.2], [0.6, 0.4]], [0, 0, 2, 3], ["a", "none", "b", "c"])
    np.testing.assert_array_equal(layer.top_classes(10), [[2, 3, 0], [0, 3, 2]])
    np.testing.assert_array_equal(layer.top_classes(1), [[2], [0]])
    equal = one_layer([[0.5], [0.5], [0.5]], [2, 0, 1], ["a", "b", "c"])
    np.testing.assert_array_equal(equal.top_classes(2), [[0, 1]])


def test_errors():
    statistics = RoutingStatistics(LAYERS, CLASSES)
    with pytest.raises(ValueError, match="at least one image"):
        statistics.layers()
    weights, presence = stored_weights()
    with pytest.raises(ValueError, match=r"Received: .*\(40, 3\)"):
        statistics.add(weights[:1], presence)
    with pytest.raises(ValueError, match="Received: "):
        statistics.add(weights, presence[:, :2])
    weights[1][5, 2] = np.nan
    with pytest.raises(UserError, match="'block_2_routing' are not"):
        statistics.add(weights, presence)
    assert statistics.images == 0
