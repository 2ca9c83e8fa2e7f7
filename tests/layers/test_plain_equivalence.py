"""CondConv beside the plain Keras layer it generalizes: values, sizes, and the layer's own router."""

import itertools

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from tests import oracle
from tests.layers.backends import outputs_and_gradients


def plain_and_conditional(depthwise, num_experts, activation="relu", **kwargs):
    """A built plain layer with random bias, and the CondConv layer of the same arguments."""
    if depthwise:
        plain = keras.layers.DepthwiseConv2D(3, activation=activation, **kwargs)
        layer = DepthwiseCondConv2D(3, num_experts, activation=activation, **kwargs)
    else:
        plain = keras.layers.Conv2D(5, 3, activation=activation, **kwargs)
        layer = CondConv2D(5, 3, num_experts, activation=activation, **kwargs)
    return plain, layer


def random(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


SETTINGS = [
    {"padding": "same", "strides": 2},
    {"padding": "valid", "dilation_rate": 2},
    {"padding": "same", "activation": "gelu"},
]


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("kwargs", SETTINGS)
def test_one_expert_at_weight_one_is_the_plain_layer(depthwise, kwargs):
    plain, layer = plain_and_conditional(depthwise, 1, **kwargs)
    x = random((3, 8, 9, 4))
    plain.build(x.shape)
    plain.set_weights([random(w.shape, seed=i) for i, w in enumerate(plain.weights)])
    layer.build(x.shape, (3, 1))
    layer.set_weights([w.reshape(1, -1) for w in plain.get_weights()])
    expected = keras.ops.convert_to_numpy(plain(x))
    assert oracle.relative_error(keras.ops.convert_to_numpy(layer(x, np.ones((3, 1), "float32"))), expected) < 1e-5


@pytest.mark.parametrize("depthwise", [False, True])
def test_one_hot_routing_gives_every_example_the_layer_of_its_expert(depthwise):
    plain, layer = plain_and_conditional(depthwise, 4, padding="same")
    x, chosen = random((6, 7, 6, 4)), [2, 0, 3, 1, 1, 2]
    plain.build(x.shape)
    layer.build(x.shape, (6, 4))
    layer.set_weights([random(w.shape, seed=i) for i, w in enumerate(layer.weights)])
    outputs = keras.ops.convert_to_numpy(layer(x, np.eye(4, dtype="float32")[chosen]))
    for example, expert in enumerate(chosen):
        plain.set_weights(
            [bank[expert].reshape(w.shape) for bank, w in zip(layer.get_weights(), plain.weights, strict=True)]
        )
        expected = keras.ops.convert_to_numpy(plain(x[example : example + 1]))[0]
        assert oracle.relative_error(outputs[example], expected) < 1e-5


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_own_router_is_the_sigmoid_of_the_pooled_input(depthwise, data_format):
    _, layer = plain_and_conditional(depthwise, 3, activation=None, padding="same", data_format=data_format)
    x = random((2, 6, 5, 4))
    to_format = (0, 1, 2, 3) if data_format == "channels_last" else (0, 3, 1, 2)
    inputs = x.transpose(to_format)
    layer.build(inputs.shape)
    layer.set_weights([random(w.shape, seed=i) for i, w in enumerate(layer.weights)])
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in (layer.router.kernel, layer.router.bias))
    routing = 1 / (1 + np.exp(-(x.mean(axis=(1, 2)) @ kernel + bias)))
    bank, biases = (keras.ops.convert_to_numpy(w) for w in (layer.bank, layer.bias))
    experts = bank.reshape(3, 3, 3, 4, -1)
    expected = oracle.forward(oracle.Convolution(padding="same", depthwise=depthwise), x, routing, experts, biases)
    actual = keras.ops.convert_to_numpy(layer(inputs))
    assert oracle.relative_error(actual, expected.transpose(to_format)) < 1e-5


@pytest.mark.parametrize("depthwise", [False, True])
def test_the_gradient_reaches_every_variable_and_the_input(depthwise):
    _, layer = plain_and_conditional(depthwise, 3, activation=None)
    x = random((4, 6, 6, 4))
    outputs = layer(x)
    _, (dx,), gradients = outputs_and_gradients(layer, (x,), random(outputs.shape, seed=1))
    paths = [variable.path.split("/", 1)[1] for variable in layer.trainable_variables]
    kernel = "depthwise_condconv_kernel" if depthwise else "condconv_kernel"
    assert sorted(paths) == sorted(["condconv_bias", kernel, "router/bias", "router/kernel"])
    assert all(np.abs(gradient).min(axis=-1).max() > 0 for gradient in gradients)
    assert np.abs(dx).min() > 0


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_output_shape_is_that_of_the_plain_layer(depthwise, data_format):
    sizes = [(7, 8), (5, 5), (None, 9), (None, None)]
    settings = itertools.product(sizes, [(1, 1), (2, 2), (3, 3)], ["valid", "same"], [1, 2])
    for (height, width), strides, padding, dilation in settings:
        if max(strides) > 1 and dilation > 1:
            continue
        arguments = {"strides": strides, "padding": padding, "dilation_rate": dilation, "data_format": data_format}
        plain, layer = plain_and_conditional(depthwise, 2, **arguments)
        shape = (None, height, width, 4) if data_format == "channels_last" else (None, 4, height, width)
        expected = plain.compute_output_shape(shape)
        assert layer.compute_output_shape(shape) == expected
        assert layer.compute_output_shape(shape, (None, 2)) == expected
        assert layer(keras.Input(shape[1:])).shape == expected
        known = (2, *(size or 6 for size in shape[1:]))
        assert tuple(layer(np.zeros(known, "float32")).shape) == layer.compute_output_shape(known)


def test_symbolic_calls_with_unknown_batch():
    x = keras.Input((8, 8, 4))
    routing_weights = Routing(num_experts=3)(x)
    assert routing_weights.shape == (None, 3)
    assert CondConv2D(6, 3, 3, strides=2, padding="same")(x, routing_weights).shape == (None, 4, 4, 6)
    assert DepthwiseCondConv2D(3, 3, depth_multiplier=2)(x, routing_weights).shape == (None, 6, 6, 8)
