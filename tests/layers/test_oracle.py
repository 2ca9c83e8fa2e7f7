"""The oracle itself: against Keras' plain layers, and its gradients against finite differences."""

import dataclasses

import keras
import numpy as np
import pytest

from tests import oracle
from tests.layers.cases import CONV_CASES, DEPTHWISE_CASES, random_arrays


@pytest.mark.parametrize("case", [c for c in CONV_CASES if c.groups == 1] + DEPTHWISE_CASES, ids=str)
def test_one_expert_is_the_plain_keras_operation(case):
    if case.depthwise and case.strides[0] != case.strides[1]:
        pytest.skip("TensorFlow has no depthwise convolution with asymmetric strides")
    x, _, experts, _, _ = random_arrays(dataclasses.replace(case, experts=1))
    convolve = keras.ops.depthwise_conv if case.depthwise else keras.ops.conv
    expected = convolve(x, experts[0], case.strides, case.padding, "channels_last", case.dilation)
    actual = oracle.forward(case.convolution, x, np.ones((case.batch, 1)), experts)
    assert oracle.relative_error(actual, keras.ops.convert_to_numpy(expected)) < 1e-5


@pytest.mark.parametrize("case", [CONV_CASES[5], CONV_CASES[11], CONV_CASES[12], DEPTHWISE_CASES[3]], ids=str)
def test_gradients_are_the_finite_differences(case):
    x, routing, experts, bias, upstream = (a if a is None else a.astype("float64") for a in random_arrays(case))
    arrays = {"x": x, "routing": routing, "experts": experts, "bias": bias}
    gradients = oracle.gradients(case.convolution, x, routing, experts, upstream, bias)
    rng = np.random.default_rng(1)
    for name, gradient in gradients.items():
        direction = rng.standard_normal(gradient.shape)
        moved = [
            (oracle.forward(case.convolution, **{**arrays, name: arrays[name] + step * direction}) * upstream).sum()
            for step in (1e-4, -1e-4)
        ]
        np.testing.assert_allclose((gradient * direction).sum(), (moved[0] - moved[1]) / 2e-4, rtol=1e-6)


def test_a_hand_computed_value():
    x = np.arange(1.0, 5.0).reshape(1, 2, 2, 1)
    experts = np.ones((2, 2, 2, 1, 1)) * np.array([1.0, 10.0]).reshape(2, 1, 1, 1, 1)
    y = oracle.forward(oracle.Convolution(), x, [[0.5, 0.25]], experts, bias=[[2.0], [4.0]])
    # The sum of the pixels is 10, the mixed kernel 3 everywhere, the mixed bias 2.
    assert y.item() == 32.0
