"""Which layers share a router, and its activation."""

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.models import build_model
from tests.seeds import set_seed

SMALL = {"width_multiplier": 0.25, "num_experts": 3, "start_block": 11, "classes": 4, "input_shape": (32, 32, 3)}


def build(**options):
    set_seed(0)
    return build_model("condconv_mobilenet_v1", **SMALL, **options)


def values_of(model, *layers):
    """The outputs of layers for two random images."""
    images = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype(np.float32)
    return keras.Model(model.input, [model.get_layer(name).output for name in layers]).predict(images, verbose=0)


def expected_logits(router, features):
    kernel, bias = router.get_weights()
    return features.mean(axis=(1, 2)) @ kernel + bias


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_router_for_every_layer_is_fed_by_its_input():
    model = build(routing_per="layer")
    routers = {layer.name for layer in model.layers if isinstance(layer, Routing)}
    layers = {layer.name for layer in model.layers if isinstance(layer, CondConv2D | DepthwiseCondConv2D)}
    assert routers == {f"{name}_routing" for name in layers}
    assert {"block_12_depthwise", "block_12_pointwise", "classifier"} <= layers and len(layers) == 7
    features, weights = values_of(model, "block_12_depthwise_activation", "block_12_pointwise_routing")
    router = model.get_layer("block_12_pointwise_routing")
    np.testing.assert_allclose(weights, sigmoid(expected_logits(router, features)), rtol=1e-4)


def test_one_router_for_the_network_is_fed_by_the_first_block():
    model = build(routing_per="network")
    (router,) = (layer for layer in model.layers if isinstance(layer, Routing))
    assert router.name == "network_routing"
    features, weights = values_of(model, "block_10_pointwise_activation", "network_routing")
    np.testing.assert_allclose(weights, sigmoid(expected_logits(router, features)), rtol=1e-4)
    conditional = [layer for layer in model.layers if isinstance(layer, CondConv2D | DepthwiseCondConv2D)]
    assert len(conditional) == 7
    assert all(router.output in layer.input for layer in conditional)


def test_the_softmax():
    model = build(routing_activation="softmax")
    features, weights = values_of(model, "block_10_pointwise_activation", "block_11_routing")
    exponentials = np.exp(expected_logits(model.get_layer("block_11_routing"), features))
    np.testing.assert_allclose(weights, exponentials / exponentials.sum(axis=1, keepdims=True), rtol=1e-4)


def test_the_default_is_the_papers():
    default, explicit = build(), build(routing_per="block", routing_activation="sigmoid")
    assert [layer.name for layer in default.layers] == [layer.name for layer in explicit.layers]
    for a, b in zip(default.get_weights(), explicit.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stored_model_keeps_them(tmp_path):
    model = build(routing_per="layer", routing_activation="softmax")
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(1).standard_normal((2, 32, 32, 3)).astype(np.float32)
    restored = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(restored.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-5)


def test_a_detectors_predictors_start_like_plain_ones_under_a_softmax():
    """Scores start at 0.01 whatever the routing weights, which sum to 1."""
    options = {"width_multiplier": 0.25, "num_experts": 4, "start_block": 13, "classes": 2, "input_shape": (96, 96, 3)}
    options |= {"condconv_predictors": True, "routing_activation": "softmax"}
    model = build_model("condconv_ssd300_mobilenet_v1", **options)
    images = np.random.default_rng(0).standard_normal((1, 96, 96, 3)).astype(np.float32)
    logits = model.predict(images, verbose=0)["class_logits"]
    assert logits.mean() == pytest.approx(-4.6, abs=0.1)


@pytest.mark.parametrize("option", [{"routing_per": "model"}, {"routing_activation": "relu"}])
def test_unknown_choices(option):
    (name,) = option
    with pytest.raises(ValueError, match=f"`{name}` must be one of"):
        build(**option)
