"""The options of `Routing` for training against NumPy, and the temperature over the steps of `fit`."""

import keras
import numpy as np
import pytest

from condconv_keras import AnnealedTemperature, CondConv2D, Routing
from condconv_keras.layers.annealing import inverse_temperature

X = np.random.default_rng(1).normal(1, 2, (6, 3, 3, 4)).astype("float32")
POOLED = X.mean(axis=(1, 2))


def built(**options):
    layer = Routing(3, **options)
    layer.build((None, 3, 3, 4))
    rng = np.random.default_rng(0)
    for variable in (layer.kernel, layer.bias):
        variable.assign(rng.standard_normal(variable.shape))
    return layer


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def logits(layer, features=POOLED):
    return features @ array(layer.kernel) + array(layer.bias)


def array(value):
    return keras.ops.convert_to_numpy(value)


def test_no_option_no_trace():
    layer = built()
    assert [v.name for v in layer.variables] == ["kernel", "bias"]
    assert not {"temperature", "anchored", "expert_dropout", "normalize_inputs"} & layer.get_config().keys()
    np.testing.assert_array_equal(array(layer(X, training=True)), array(layer(X)))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_temperature_divides_the_logits(activation, training):
    layer = built(temperature=8, activation=activation)
    z = logits(layer) / 8
    expected = sigmoid(z) if activation == "sigmoid" else np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(array(layer(X, training=training)), expected, rtol=1e-5)
    layer.inverse_temperature.assign(0.5)
    assert layer.inverse_temperature.dtype == "float32"
    assert [v.name for v in layer.trainable_variables] == ["kernel", "bias"]
    if activation == "sigmoid":
        np.testing.assert_allclose(array(layer(X)), sigmoid(4 * z), rtol=1e-5)


def test_normalized_inputs():
    layer = built(normalize_inputs=True)
    mean, variance = POOLED.mean(axis=0), POOLED.var(axis=0)
    expected = sigmoid(logits(layer, (POOLED - mean) / np.sqrt(variance + 1e-3)))
    np.testing.assert_allclose(array(layer(X, training=True)), expected, rtol=1e-4)
    moving_mean, moving_variance = 0.1 * mean, 0.9 + 0.1 * variance
    expected = sigmoid(logits(layer, (POOLED - moving_mean) / np.sqrt(moving_variance + 1e-3)))
    np.testing.assert_allclose(array(layer(X)), expected, rtol=1e-4)


def test_an_anchored_expert_is_always_on():
    layer = built(anchored=True)
    for training in (True, False):
        weights = array(layer(X, training=training))
        np.testing.assert_array_equal(weights[:, 0], np.ones(6))
        np.testing.assert_allclose(weights[:, 1:], sigmoid(logits(layer))[:, 1:], rtol=1e-5)
    with pytest.raises(ValueError, match=r"`anchored` must be False .* Received: anchored=True, activation='softmax'"):
        Routing(3, activation="softmax", anchored=True)


def test_dropped_experts():
    layer = built(anchored=True, expert_dropout=0.25)
    x = np.repeat(X[:1], 4000, axis=0)
    kept, weights = array(layer(x)), array(layer(x, training=True))
    np.testing.assert_array_equal(weights[:, 0], 1)
    for values, value in zip(weights.T[1:], kept[0, 1:], strict=True):
        assert (values == 0).mean() == pytest.approx(0.25, abs=0.03)
        np.testing.assert_allclose(values[values > 0], value / 0.75, rtol=1e-5)
    # Each on its own: both are dropped as often as chance has it.
    assert (weights[:, 1:] == 0).all(axis=1).mean() == pytest.approx(0.0625, abs=0.02)


@pytest.mark.parametrize("anchored", [False, True])
def test_penalties(anchored):
    layer = built(diversity_penalty=0.5, balance_penalty=0.2, anchored=anchored)
    layer(X)
    assert not layer.losses
    layer(X, training=True)
    weights = sigmoid(logits(layer))[:, int(anchored) :]
    means = weights.mean(axis=0)
    expected = -0.5 * weights.var(axis=0).mean() + 0.2 * means.var() / means.mean() ** 2
    np.testing.assert_allclose([float(loss) for loss in layer.losses], [expected], rtol=1e-4)


def test_an_empty_batch_costs_nothing():
    layer = built(diversity_penalty=0.5, balance_penalty=0.2)
    layer(X[:0], training=True)
    assert [float(loss) for loss in layer.losses] == [0]


def test_a_frozen_router_computes_as_in_inference():
    layer = built(normalize_inputs=True, expert_dropout=0.5, balance_penalty=1.0)
    layer.trainable = False
    np.testing.assert_array_equal(array(layer(X, training=True)), array(layer(X)))
    assert not layer.losses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "`temperature` must be a positive number .* Received: temperature=0"),
        ({"temperature": "30"}, "`temperature` must be a positive number"),
        ({"temperature": True}, "`temperature` must be a positive number"),
        ({"temperature": 1e-50}, "`temperature` must be a positive number"),
        ({"balance_penalty": None}, "`balance_penalty` must be a number of at least 0"),
        ({"temperature": float("nan")}, "`temperature` must be a positive number"),
        ({"expert_dropout": 1.0}, r"`expert_dropout` must be in \[0, 1\). Received: expert_dropout=1.0"),
        ({"balance_penalty": -1}, "`balance_penalty` must be a number of at least 0. Received: balance_penalty=-1"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Routing(3, **options)
    with pytest.raises(ValueError, match=message):
        CondConv2D(2, 3, num_experts=3, routing_options=options)


def test_options_of_a_layer_with_its_own_router():
    layer = CondConv2D(2, 3, num_experts=3, routing_options={"temperature": 4, "anchored": False})
    assert layer.get_config()["routing_options"] == {"temperature": 4}
    copy = CondConv2D.from_config(layer.get_config())
    copy(X)
    assert float(copy.router.inverse_temperature) == 0.25
    assert "routing_options" not in CondConv2D(2, 3, num_experts=3).get_config()
    with pytest.raises(ValueError, match="`routing_options` must have names of"):
        CondConv2D(2, 3, num_experts=3, routing_options={"heat": 3})


def test_mixed_precision_keeps_routing_in_float32():
    layer = Routing(3, temperature=2.0, normalize_inputs=True, expert_dropout=0.1, dtype="mixed_bfloat16")
    weights = layer(keras.ops.cast(X, "bfloat16"), training=True)
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    assert {v.dtype for v in layer.weights} == {"float32"}


def test_inverse_temperature():
    values = [float(inverse_temperature(step, 30.0, 10)) for step in (0, 1, 5, 10, 1000)]
    np.testing.assert_allclose(values, [1 / 30, 1 / 30 + 0.1 * 29 / 30, 1 / 30 + 0.5 * 29 / 30, 1, 1], rtol=1e-6)
    assert values[-1] == 1


class _Seen(keras.callbacks.Callback):
    """The inverse temperature that each step was taken with."""

    def __init__(self, router):
        super().__init__()
        self.router, self.values = router, []

    def on_train_batch_end(self, batch, logs=None):
        getattr(self.model, "jax_state_sync", lambda: None)()
        self.values.append(float(self.router.inverse_temperature))


def _routed_model(**options):
    inputs = keras.Input((3, 3, 4))
    routing = Routing(2, name="routing", **options)(inputs)
    x = CondConv2D(2, 1, num_experts=2)(inputs, routing)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def test_the_temperature_follows_the_steps_of_several_fits():
    model = _routed_model(temperature=10.0)
    model.compile("sgd", "mse", run_eagerly=False)
    seen = _Seen(model.get_layer("routing"))
    for _ in range(2):
        model.fit(X, np.zeros((6, 2)), 2, epochs=1, verbose=0, callbacks=[AnnealedTemperature(epochs=4 / 3), seen])
    expected = [0.1 + 0.9 * min(step / 4, 1) for step in range(6)]
    np.testing.assert_allclose(seen.values, expected, rtol=1e-6)


def test_annealing_needs_a_temperature_and_steps():
    model = _routed_model()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="AnnealedTemperature is for a model whose routers have a temperature"):
        model.fit(X, np.zeros((6, 2)), verbose=0, callbacks=[AnnealedTemperature()])
    with pytest.raises(ValueError, match=r"`epochs` must be positive. Received: epochs=0"):
        AnnealedTemperature(epochs=0)
