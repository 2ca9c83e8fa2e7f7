"""Rounding keeps, beside each weight, what all of them do to the mean of their inputs."""

import numpy as np
import pytest

from condconv_keras.export.tflite.rounding import round_keeping_means

_RNG = np.random.default_rng(0)


@pytest.mark.parametrize("experts", [(), (3,)])
@pytest.mark.parametrize("means", [None, _RNG.normal(size=64), np.abs(_RNG.normal(size=64))])
def test_sums_by_the_means_are_kept(experts, means):
    kernels = _RNG.normal(size=(*experts, 64, 24)).astype("float32")
    scales = np.abs(kernels).max(axis=-2, keepdims=True) / 127
    rounded = round_keeping_means(kernels, scales, means)
    levels = rounded / scales
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)
    assert np.abs(levels).max() <= 127.001
    assert (np.abs(rounded - kernels) <= 1.001 * scales).all()
    means = np.ones(64) if means is None else means

    def shift(values):
        return np.abs(np.einsum("...kf,k->...f", (values - kernels).astype(np.float64), means)) / scales[..., 0, :]

    nearest = np.round(kernels / scales) * scales
    # Half of what the cheapest weight mends is the least that can be left for sure.
    assert shift(rounded).max() <= np.abs(means).max() / 2 + 1e-3
    assert shift(rounded).mean() < shift(nearest).mean() / 4


def test_weights_that_are_on_a_step_stay():
    kernels = _RNG.integers(-127, 128, (9, 16)).astype("float32")
    np.testing.assert_array_equal(round_keeping_means(kernels, np.float32(1)), kernels)


def test_nothing_leaves_the_range():
    kernels = np.full((9, 4), 126.6, "float32")
    kernels[0] = 127
    rounded = round_keeping_means(kernels, np.float32(1), np.full(9, 100.0))
    assert rounded.max() == 127
    assert (np.abs((rounded - kernels).sum(axis=0)) <= 0.51).all()
