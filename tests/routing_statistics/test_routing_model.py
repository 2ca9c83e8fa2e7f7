import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.pretrained import create_model
from condconv_keras.routing_statistics.routing_model import RoutingModel
from condconv_keras.utils.errors import UserError
from tests.models.randomize import randomize


def preprocessing(side, channels=3):
    return Preprocessing(input_size=(side, side), channels=channels, mean=127.5, std=127.5)


def images(side, channels=3, batch=3):
    return np.random.default_rng(0).uniform(0, 255, (batch, side, side, channels)).astype(np.float32)


def normalize(model, scaled):
    """Gives every batch normalization the statistics of a batch: random features that differ from image to image."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(scaled, training=True)


def sigmoid_routing(features, router):
    """The routing weights from the router's input in NumPy (paper, section 3)."""
    features = np.asarray(features, np.float64)
    pooled = features.mean(axis=(1, 2)) if features.ndim == 4 else features
    return 1 / (1 + np.exp(-(pooled @ np.asarray(router.kernel) + np.asarray(router.bias))))


@pytest.mark.parametrize(
    ("name", "side", "options", "expected"),
    [
        (
            "condconv_mobilenet_v1",
            32,
            {"start_block": 11},
            ["block_11_routing", "block_12_routing", "block_13_routing", "classifier_routing"],
        ),
        (
            "condconv_ssd300_mobilenet_v1",
            96,
            {"start_block": 13},
            ["block_13_routing", *(f"extra_{i}_routing" for i in range(1, 5))],
        ),
    ],
)
def test_the_weights_of_a_zoo_model_are_the_formula_on_the_features(name, side, options, expected):
    options = {"width_multiplier": 0.25, "num_experts": 2, "classes": 3, **options}
    model = create_model(name, input_shape=(side, side, 3), **options)
    randomize(model)
    scaled = (images(side) - 127.5) / 127.5
    normalize(model, scaled)
    routing = RoutingModel(model, preprocessing(side))
    assert routing.layers == tuple((layer, 2) for layer in expected)
    weights = routing(images(side))
    routers = [model.get_layer(layer) for layer in expected]
    features = keras.Model(model.input, [router.input for router in routers])(scaled)
    for received, router, x in zip(weights, routers, features, strict=True):
        np.testing.assert_allclose(received, sigmoid_routing(x, router), atol=1e-3)
        assert np.ptp(received, axis=0).max() > 0.05  # each image its own


def test_layers_that_route_themselves_wherever_they_are_nested():
    inner = keras.Sequential([keras.Input((8, 8, 4)), DepthwiseCondConv2D(3, num_experts=3, name="deep")], name="inner")
    inputs = keras.Input((8, 8, 3))
    first = CondConv2D(4, 1, num_experts=2, name="first")
    shared = Routing(2, name="shared")
    x = first(inputs)
    y = CondConv2D(5, 1, num_experts=2)(inner(x), shared(x))
    outputs = CondConv2D(5, 1, num_experts=2)(inner(x), shared(inner(x)))
    model = keras.Model(inputs, keras.layers.Add()([y, outputs]))
    randomize(model)
    routing = RoutingModel(model, preprocessing(8))
    by_name = dict(zip(routing.layers, routing(images(8)), strict=True))
    assert sorted(by_name) == [
        ("deep", 3), ("deep_2", 3), ("deep_3", 3), ("first", 2), ("shared", 2), ("shared_2", 2)
    ]  # fmt: skip
    scaled = (images(8) - 127.5) / 127.5
    after = np.asarray(first(scaled))
    np.testing.assert_allclose(by_name["first", 2], sigmoid_routing(scaled, first.router), atol=1e-5)
    deep = inner.get_layer("deep").router
    np.testing.assert_allclose(by_name["deep", 3], sigmoid_routing(after, deep), atol=1e-5)
    expected = sorted([sigmoid_routing(after, shared).tolist(), sigmoid_routing(inner(after), shared).tolist()])
    received = sorted([by_name["shared", 2].tolist(), by_name["shared_2", 2].tolist()])
    np.testing.assert_allclose(received, expected, atol=1e-5)
    # The model is as it was.
    assert "call" not in vars(shared)


def test_what_no_router_needs_is_not_computed():
    import tensorflow as tf

    @keras.saving.register_keras_serializable(package="tests")
    class Refusing(keras.layers.Layer):
        def call(self, x):
            # No place 4 on an axis of that length: an error when it is computed, on the CPU.
            return tf.gather(x, tf.shape(x)[1:2], axis=1)

    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, Refusing()(CondConv2D(2, 1, num_experts=2)(inputs)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="indices"):
        model(images(4), training=False)
    (weights,) = RoutingModel(model, preprocessing(4))(images(4))
    assert weights.shape == (3, 2)


def test_a_plain_model_is_refused():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs), name="little")
    with pytest.raises(UserError, match="expected a model with CondConv layers, 'little'"):
        RoutingModel(model, preprocessing(8))
