"""`Routing`: values on maps and pooled features, gradients, regularization."""

import keras
import numpy as np
import pytest

from condconv_keras import Routing
from tests.layers.backends import outputs_and_gradients


def built(shape, **kwargs):
    layer = Routing(3, **kwargs)
    layer.build(shape)
    rng = np.random.default_rng(0)
    layer.set_weights([rng.standard_normal(w.shape).astype("float32") for w in layer.weights])
    return layer


def features(shape):
    return np.random.default_rng(1).standard_normal(shape).astype("float32")


def expected_logits(layer, pooled):
    kernel, *bias = (keras.ops.convert_to_numpy(w) for w in layer.weights)
    return pooled @ kernel + (bias[0] if bias else 0)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(
    ("shape", "data_format", "axes"),
    [
        ((5, 4, 6, 7), "channels_last", (1, 2)),
        ((5, 7, 4, 6), "channels_first", (2, 3)),
        ((5, 7), "channels_last", ()),
        ((5, 7), "channels_first", ()),
    ],
)
def test_sigmoid_of_the_pooled_features(shape, data_format, axes, use_bias):
    layer, x = built(shape, data_format=data_format, use_bias=use_bias), features(shape)
    expected = 1 / (1 + np.exp(-expected_logits(layer, x.mean(axis=axes))))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), expected, rtol=1e-5)
    assert layer.compute_output_shape(shape) == (5, 3)
    assert layer(keras.Input(shape[1:])).shape == (None, 3)


def test_starts_at_glorot_kernel_and_zero_bias():
    layer = Routing(8)
    layer.build((None, 5, 5, 400))
    kernel, bias = layer.get_weights()
    limit = np.sqrt(6 / (400 + 8))
    assert 0.95 * limit < np.abs(kernel).max() <= limit
    np.testing.assert_array_equal(bias, np.zeros(8))


def test_other_activations_are_not_normalized():
    layer, x = built((2, 3, 3, 4), activation="softplus"), features((2, 3, 3, 4))
    expected = np.log1p(np.exp(expected_logits(layer, x.mean(axis=(1, 2)))))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), expected, rtol=1e-5)


def test_gradients():
    layer, x, upstream = built((2, 3, 3, 4)), features((2, 3, 3, 4)), features((2, 3))
    outputs, (dx,), (dkernel, dbias) = outputs_and_gradients(_WithoutTraining(layer), (x,), upstream)
    dlogits = upstream * outputs * (1 - outputs)
    pooled = x.mean(axis=(1, 2))
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    np.testing.assert_allclose(dbias, dlogits.sum(axis=0), rtol=1e-4)
    np.testing.assert_allclose(dkernel, pooled.T @ dlogits, rtol=1e-4, atol=1e-6)
    expected = np.broadcast_to((dlogits @ kernel.T)[:, None, None] / 9, x.shape)
    np.testing.assert_allclose(dx, expected, rtol=1e-4, atol=1e-6)


class _WithoutTraining(keras.Sequential):
    """`Routing` has no training flag; a model takes one."""

    def __init__(self, layer):
        super().__init__([layer])
        self.build((None, 3, 3, 4))


def test_regularizers_and_constraints():
    layer = built((2, 4), kernel_regularizer="l2", bias_regularizer="l1")
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(
        sum(float(loss) for loss in layer.losses), 0.01 * (kernel**2).sum() + 0.01 * np.abs(bias).sum(), rtol=1e-5
    )
    layer = Routing(3, kernel_constraint="non_neg", bias_constraint="non_neg")
    layer.build((2, 4))
    assert isinstance(layer.kernel.constraint, keras.constraints.NonNeg)
    assert isinstance(layer.bias.constraint, keras.constraints.NonNeg)
