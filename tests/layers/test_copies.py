"""A copy of a layer or of a model computes what the original computes, with weights of its own."""

import copy

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from tests.layers import saved_models

_RNG = np.random.default_rng(0)
IMAGES = _RNG.standard_normal((3, 6, 6, 3)).astype("float32")
WEIGHTS = _RNG.uniform(0, 1, (3, 2)).astype("float32")


@keras.saving.register_keras_serializable(package="tests")
class Ramp(keras.Initializer):
    """An initializer of a user: values that depend on the shape."""

    def __init__(self, slope):
        self.slope = slope

    def __call__(self, shape, dtype=None):
        return keras.ops.reshape(keras.ops.linspace(-self.slope, self.slope, int(np.prod(shape))), shape)

    def get_config(self):
        return {"slope": self.slope}


@keras.saving.register_keras_serializable(package="tests")
def shifted(x):
    """An activation of a user."""
    return keras.ops.tanh(x + 0.25)


def _rules(kernel, axes):
    """Every rule of a layer given as an object, those of a user among them."""
    return {
        f"{kernel}_initializer": Ramp(0.5),
        f"{kernel}_regularizer": keras.regularizers.L1L2(0.1, 0.2),
        f"{kernel}_constraint": keras.constraints.MaxNorm(2.0, axis=axes),
        "bias_initializer": keras.initializers.RandomNormal(seed=3),
        "bias_regularizer": keras.regularizers.L2(0.3),
        "bias_constraint": keras.constraints.NonNeg(),
        "activation": shifted,
    }


LAYERS = {
    "conv": (lambda: CondConv2D(4, 3, 2, **_rules("kernel", [0, 1, 2])), (IMAGES,)),
    "conv_shared": (lambda: CondConv2D(4, 3, 2, **_rules("kernel", [0, 1, 2])), (IMAGES, WEIGHTS)),
    "depthwise": (lambda: DepthwiseCondConv2D(3, 2, **_rules("depthwise", [0, 1, 2])), (IMAGES,)),
    "depthwise_shared": (lambda: DepthwiseCondConv2D(3, 2, **_rules("depthwise", [0, 1, 2])), (IMAGES, WEIGHTS)),
    "conv_with_a_layer_as_activation": (lambda: CondConv2D(4, 3, 2, activation=keras.layers.ReLU(0.5)), (IMAGES,)),
    "routing": (lambda: Routing(2, **_rules("kernel", [0])), (IMAGES,)),
}
BY_CONFIG = {
    "from_config": lambda layer: type(layer).from_config(layer.get_config()),
    "deserialize": lambda layer: keras.layers.deserialize(keras.layers.serialize(layer)),
}
COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy}


def _randomize(layer):
    rng = np.random.default_rng(1)
    layer.set_weights([rng.uniform(0.1, 0.3, w.shape).astype(w.dtype) for w in layer.get_weights()])


def _assert_independent(duplicate, original, inputs):
    """New weights of the copy leave the original's outputs as they are."""
    before = np.asarray(original(*inputs))
    duplicate.set_weights([w + 1 for w in duplicate.get_weights()])
    np.testing.assert_array_equal(original(*inputs), before)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", LAYERS)
def test_a_copy_of_a_built_layer(name, how):
    make, inputs = LAYERS[name]
    layer = make()
    layer(*inputs)
    _randomize(layer)
    expected = np.asarray(layer(*inputs))
    assert expected.std() > 1e-3
    duplicate = COPIES[how](layer)
    assert duplicate is not layer
    assert duplicate.get_config() == layer.get_config()
    np.testing.assert_allclose(duplicate(*inputs), expected, rtol=1e-6)
    np.testing.assert_allclose(sum(duplicate.losses), sum(layer.losses), rtol=1e-6)
    _assert_independent(duplicate, layer, inputs)


@pytest.mark.parametrize("how", [*COPIES, *BY_CONFIG])
@pytest.mark.parametrize("name", LAYERS)
def test_a_copy_of_a_layer_that_is_not_built(name, how):
    make, inputs = LAYERS[name]
    layer = make()
    duplicate = {**COPIES, **BY_CONFIG}[how](layer)
    assert not duplicate.built
    for each in (layer, duplicate):
        each(*inputs)
        _randomize(each)
    assert duplicate.get_config() == layer.get_config()
    np.testing.assert_allclose(duplicate(*inputs), layer(*inputs), rtol=1e-6)


@pytest.mark.parametrize("how", BY_CONFIG)
@pytest.mark.parametrize("name", LAYERS)
def test_the_configuration_of_a_built_layer(name, how):
    make, inputs = LAYERS[name]
    layer = make()
    layer(*inputs)
    _randomize(layer)
    duplicate = BY_CONFIG[how](layer)
    # What `deserialize` builds has the variables of the layer, a router of its own or none.
    assert duplicate.built == (how == "deserialize")
    duplicate(*inputs)
    duplicate.set_weights(layer.get_weights())
    np.testing.assert_allclose(duplicate(*inputs), layer(*inputs), rtol=1e-6)


def test_the_rules_of_a_copy_are_applied():
    make, inputs = LAYERS["conv"]
    duplicate = copy.deepcopy(make())
    duplicate(*inputs)
    # Ramp over each expert in the shape of one kernel, and not over the bank.
    expert = np.linspace(-0.5, 0.5, 3 * 3 * 3 * 4)
    np.testing.assert_allclose(duplicate.condconv_kernel, [expert, expert], atol=1e-6)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", saved_models.MODELS)
def test_a_copy_of_a_model(name, how):
    model, images = saved_models.MODELS[name](), saved_models.images()
    model(images)
    saved_models.randomize(model)
    expected = np.asarray(model(images))
    duplicate = COPIES[how](model)
    np.testing.assert_allclose(duplicate(images), expected, rtol=1e-5, atol=1e-6)
    _assert_independent(duplicate, model, (images,))


@pytest.mark.parametrize("name", ["sequential", "functional"])
def test_clone_model_and_a_clone_function(name):
    model, images = saved_models.MODELS[name](), saved_models.images()
    saved_models.randomize(model)
    copied = keras.models.clone_model(model, clone_function=copy.copy)
    np.testing.assert_allclose(copied(images), model(images), rtol=1e-5, atol=1e-6)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(clone(images), model(images), rtol=1e-5, atol=1e-6)
