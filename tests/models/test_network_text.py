"""A network without its weights as text, and the network that is built of it."""

import json

import keras
import numpy as np
import pytest

from condconv_keras import create_model
from condconv_keras.models.network_text import build_network, network_text, put_weights
from condconv_keras.utils.errors import UserError
from tests.models.randomize import randomize


def _scaled():
    """A network whose `Normalization` keeps its statistics as weights, with a frozen layer."""
    normalization = keras.layers.Normalization()
    normalization.adapt(np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype("float32"))
    model = keras.Sequential([keras.Input((8, 8, 3)), normalization, keras.layers.Conv2D(4, 3, name="conv")])
    model.get_layer("conv").trainable = False
    model.compile("adam", "mse")
    return model


def _names(weights):
    """Names of layers and variables; Keras puts that of a sequential model before them only where it was called."""
    return [weight.path.split("/")[-2:] for weight in weights]


@pytest.mark.parametrize(
    "make",
    [_scaled, lambda: create_model("condconv_mobilenet_v1", width_multiplier=0.25, num_experts=2, classes=3)],
    ids=["normalization", "zoo"],
)
def test_the_network_of_a_text_computes_the_same_with_the_same_weights(make):
    model = make()
    rng = np.random.default_rng(1)
    if len(model.layers) > 5:
        randomize(model, rng)
    text = network_text(model)
    again = build_network(text, "the text")
    put_weights(again, model.get_weights())
    images = rng.uniform(0, 255, (2, *(side or 32 for side in model.input_shape[1:]))).astype("float32")
    np.testing.assert_array_equal(np.asarray(again(images)), np.asarray(model(images)))
    assert _names(again.weights) == _names(model.weights)
    assert _names(again.trainable_weights) == _names(model.trainable_weights)
    assert not again.compiled and network_text(again) == text


@pytest.mark.parametrize("text", ["", "[1]", '{"class_name": "Dense"}', '"a"'])
def test_a_damaged_text_is_one_clear_line(text):
    with pytest.raises(UserError, match=r"expected the network of the text, it (cannot be built|is a)") as error:
        build_network(text, "the text")
    assert "\n" not in str(error.value)


def test_code_in_a_text_is_not_run():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    with pytest.raises(UserError, match="cannot be built"):
        build_network(network_text(model), "the text")


def test_a_layer_alone_is_no_network():
    text = json.dumps(keras.saving.serialize_keras_object(keras.layers.Dense(2)))
    with pytest.raises(UserError, match="it is a Dense"):
        build_network(text, "the text")
