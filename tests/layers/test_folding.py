"""Folded networks compute what the networks of training do, and have no trace of them."""

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, Routing
from condconv_keras.layers import fold_routing, with_routing
from condconv_keras.models import build_model

X = np.random.default_rng(1).normal(1, 2, (5, 4, 4, 3)).astype("float32")
OPTIONS = {"temperature": 3.0, "normalize_inputs": True, "expert_dropout": 0.5, "balance_penalty": 1.0}


def array(value):
    return keras.ops.convert_to_numpy(value)


def randomized(model):
    """Every variable of a model at random values, variances positive."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        value = rng.standard_normal(variable.shape)
        variable.assign(np.abs(value) + 0.5 if variable.name in ("moving_variance", "inverse_temperature") else value)
    return model


def network(activation="sigmoid", use_bias=True):
    """A shared router, a layer with its own, and one in a model that is called twice."""
    inner_inputs = keras.Input((4, 4, 3), name="inner_image")
    inner = keras.Model(inner_inputs, CondConv2D(3, 3, num_experts=2, padding="same")(inner_inputs), name="inner")
    inputs = keras.Input((4, 4, 3))
    routing = Routing(4, activation=activation, use_bias=use_bias, name="routing")(inputs)
    x = CondConv2D(3, 3, num_experts=4, padding="same")(inputs, routing)
    x = inner(inner(keras.layers.BatchNormalization()(x)))
    return keras.Model(inputs, {"a": CondConv2D(2, 1, num_experts=4)(x, routing), "b": routing}, name="net")


def assert_same(model, other):
    for key, expected in model(X).items():
        np.testing.assert_allclose(array(other(X)[key]), array(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(("activation", "anchored"), [("sigmoid", False), ("sigmoid", True), ("softmax", False)])
def test_the_folded_network_computes_the_same(activation, anchored, use_bias):
    plain = network(activation, use_bias)
    model = randomized(with_routing(plain, **OPTIONS, anchored=anchored))
    folded = fold_routing(model)
    assert_same(model, folded)
    assert np.ptp(array(model(X)["b"])[:, 1:]) > 0.05
    if anchored:
        np.testing.assert_array_equal(array(folded(X)["b"])[:, 0], np.ones(5, "float32"))
    assert folded.get_config() == network_config(activation, plain)
    assert [v.name for v in folded.get_layer("routing").variables] == ["kernel", "bias"]


def network_config(activation, plain):
    """The configuration of a network, its router with a bias."""
    for layer in (config := plain.get_config())["layers"]:
        if layer["name"] == "routing":
            layer["config"]["use_bias"] = True
    return config


def test_options_are_given_and_weights_are_kept():
    plain = randomized(network())
    model = with_routing(plain, temperature=2.0)
    routing = model.get_layer("routing")
    assert routing.options.chosen() == {"temperature": 2.0}
    assert model.get_layer("inner").layers[1].router.options.chosen() == {"temperature": 2.0}
    routing.inverse_temperature.assign(1.0)
    model.get_layer("inner").layers[1].router.inverse_temperature.assign(1.0)
    assert_same(plain, model)
    assert_same(plain, with_routing(model))


@pytest.mark.parametrize("name", ["ssd300_mobilenet_v1", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_networks_of_the_zoo(name):
    size = {"width_multiplier": 0.25, "input_shape": (96, 96, 3)} if name.startswith("ssd") else {}
    plain = build_model(f"condconv_{name}", **{"classes": 3, "num_experts": 2, "input_shape": (64, 64, 3), **size})
    model = with_routing(plain, **OPTIONS)
    for layer in model.layers:
        if isinstance(layer, Routing):
            layer.normalization.moving_variance.assign(layer.normalization.moving_variance * 0.01)
            layer.kernel.assign(layer.kernel * 5)
    folded = fold_routing(model)
    x = np.random.default_rng(0).uniform(-1, 1, (2, *plain.input_shape[1:])).astype("float32")
    for expected, actual in zip(*(keras.tree.flatten(net(x)) for net in (model, folded)), strict=True):
        np.testing.assert_allclose(array(actual), array(expected), rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert folded.to_json() == plain.to_json()


def test_half_precision():
    inputs = keras.Input((4, 4, 3))
    policy = {"dtype": "mixed_bfloat16"}
    x = CondConv2D(4, 3, num_experts=2, routing_options=OPTIONS, **policy)(inputs)
    model = randomized(keras.Model(inputs, x))
    folded = fold_routing(model)
    np.testing.assert_allclose(
        array(folded(X)).astype("float32"), array(model(X)).astype("float32"), rtol=0.02, atol=0.1
    )
    assert folded.layers[1].compute_dtype == "bfloat16"
    router = folded.layers[1].router
    np.testing.assert_allclose(array(router(X)), array(model.layers[1].router(X)), rtol=1e-5)


def test_a_network_without_options_is_returned_itself():
    model = network()
    assert fold_routing(model) is model


def test_saved_and_loaded_with_options(tmp_path):
    model = randomized(with_routing(network(), **OPTIONS))
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    assert loaded.get_layer("routing").options == model.get_layer("routing").options
    assert_same(model, loaded)


def test_a_router_inside_a_layer_that_is_no_model_is_refused():
    inputs = keras.Input((2, 4, 4, 3))
    layer = keras.layers.TimeDistributed(CondConv2D(2, 1, num_experts=2, routing_options={"temperature": 2}), name="td")
    with pytest.raises(ValueError, match="Received: the layer 'td', which contains some"):
        fold_routing(keras.Model(inputs, layer(inputs)))


def test_unknown_options():
    with pytest.raises(ValueError, match=r"Options of routers must be of .* Received: heat"):
        with_routing(network(), heat=3)


def test_an_anchor_beside_a_softmax_is_one_line():
    with pytest.raises(ValueError, match="`anchored` must be False") as error:
        with_routing(network("softmax"), anchored=True)
    assert "\n" not in str(error.value)


class _Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.conv = CondConv2D(2, 1, num_experts=2)

    def call(self, inputs):
        return self.conv(inputs)


def test_a_subclassed_model_is_refused():
    model = _Subclassed()
    model(X)
    with pytest.raises(ValueError, match=r"in a functional or sequential model. Received: 'own'"):
        with_routing(model, temperature=2.0)


def test_a_sequential_model():
    model = keras.Sequential([keras.Input((4, 4, 3)), CondConv2D(2, 1, num_experts=2)])
    heated = randomized(with_routing(model, **OPTIONS))
    folded = fold_routing(heated)
    np.testing.assert_allclose(array(folded(X)), array(heated(X)), rtol=1e-4, atol=1e-4)
    assert folded.layers[0].router.options.chosen() == {}


def test_the_copy_of_a_compiled_model_is_not_compiled():
    """Its loss has no name by which Keras could compile the copy, nor has that of the model inside it."""

    def loss(targets, outputs):
        return keras.ops.mean(outputs)

    model = with_routing(network(), **OPTIONS)
    compiled = [model, model.get_layer("inner")]
    for each in compiled:
        each.compile("sgd", loss)
    folded = fold_routing(model)
    assert_same(model, folded)
    assert [each.compiled for each in (*compiled, folded, folded.get_layer("inner"))] == [True, True, False, False]


def test_an_adapted_normalization_is_kept():
    normalization = keras.layers.Normalization(name="normalization")
    normalization.adapt(X)
    inputs = keras.Input((4, 4, 3))
    x = CondConv2D(2, 1, num_experts=2, routing_options=OPTIONS)(normalization(inputs))
    model = keras.Model(inputs, {"a": x, "b": normalization.output})
    folded = fold_routing(model)
    assert np.abs(array(model(X)["b"]) - X).max() > 0.5
    assert_same(model, folded)
