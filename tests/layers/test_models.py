"""The layers inside Keras models: `fit`, `predict`, precision policies, shared routing, frozen layers."""

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing, use_fused_batch_norm
from tests.layers import saved_models
from tests.layers.backends import JIT, requires_tensorflow
from tests.seeds import set_seed


def data(batch=8, channels_first=False):
    """Images whose label is the sign of their mean."""
    rng = np.random.default_rng(0)
    y = np.arange(batch) % 2
    x = rng.standard_normal((batch, 8, 8, 3)).astype("float32") + 2 * y[:, None, None, None] - 1
    return (x.transpose(0, 3, 1, 2) if channels_first else x), y


def network(policy="float32", data_format="channels_last"):
    """Both layers on one routing, one that routes itself, a conditional classifier."""
    common = {"dtype": policy, "data_format": data_format}
    axis = 3 if data_format == "channels_last" else 1
    x = keras.Input((8, 8, 3) if axis == 3 else (3, 8, 8))
    routing_weights = Routing(4, name="routing", **common)(x)
    h = CondConv2D(8, 3, 4, padding="same", activation="relu", **common)(x, routing_weights)
    h = DepthwiseCondConv2D(3, 4, strides=2, padding="same", **common)(h, routing_weights)
    h = keras.layers.BatchNormalization(axis=axis, dtype=policy)(h)
    h = CondConv2D(8, 1, 4, activation="relu", **common)(h)
    h = keras.layers.GlobalAveragePooling2D(keepdims=True, **common)(h)
    h = CondConv2D(2, 1, 4, **common)(h)
    return keras.Model(x, keras.layers.Flatten(dtype="float32", **{"data_format": data_format})(h))


def losses_of_three_steps(model, x, y, jit_compile=JIT):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, jit_compile=jit_compile)
    history = model.fit(x, y, batch_size=len(x), epochs=4, verbose=0, shuffle=False)
    return history.history["loss"]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_three_steps_lower_the_loss(policy):
    set_seed(1)
    model = network(policy)
    before = [np.array(w) for w in model.get_weights()]
    # One has XLA on every backend, as a model that is compiled without a word.
    losses = losses_of_three_steps(model, *data(), jit_compile="auto" if policy == "float32" else JIT)
    assert np.isfinite(losses).all()
    assert losses[3] < losses[0]
    assert model.get_layer("routing").output.dtype == "float32"
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    names = [w.path for w in model.weights]
    unchanged = [n for n, a, b in zip(names, before, model.get_weights(), strict=True) if np.array_equal(a, b)]
    assert unchanged == []


@pytest.mark.parametrize("make", saved_models.MODELS.values(), ids=saved_models.MODELS)
def test_every_kind_of_model_fits(make):
    set_seed(1)
    model, (x, _) = make(), data()
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=JIT)
    target = np.zeros(model(x).shape, "float32")
    losses = model.fit(x, target, batch_size=8, epochs=4, verbose=0).history["loss"]
    assert losses[3] < losses[0]


def test_channels_first_equals_channels_last_and_fits():
    set_seed(1)
    last, first = network(), network(data_format="channels_first")
    first.set_weights(last.get_weights())
    x, y = data()
    x_first = x.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(first.predict(x_first, verbose=0), last.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(losses_of_three_steps(first, x_first, y), losses_of_three_steps(last, x, y), rtol=1e-3)


def test_predict_of_a_last_partial_batch():
    model = network()
    x, _ = data(11)
    whole = model.predict(x, batch_size=11, verbose=0)
    for batch_size in (1, 4, 10):
        np.testing.assert_allclose(model.predict(x, batch_size=batch_size, verbose=0), whole, rtol=1e-4, atol=1e-5)


def test_shared_routing_gets_the_gradient_of_every_layer():
    set_seed(1)
    model = network()
    model.layers[2].trainable = False
    losses_before = model.get_layer("routing").get_weights()
    losses_of_three_steps(model, *data())
    after = model.get_layer("routing").get_weights()
    assert all(np.abs(a - b).max() > 0 for a, b in zip(after, losses_before, strict=True))


def test_a_frozen_layer_keeps_its_values_and_its_router():
    layer = CondConv2D(4, 3, 2)
    model = keras.Sequential([keras.Input((8, 8, 3)), layer, keras.layers.Flatten(), keras.layers.Dense(2)])
    layer.trainable = False
    assert len(layer.trainable_variables) == 0
    assert len(layer.non_trainable_variables) == 4
    before = [np.array(w) for w in layer.get_weights()]
    losses_of_three_steps(model, *data())
    for one, other in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_layer_that_is_made_frozen_computes_as_in_inference():
    layer = CondConv2D(4, 3, 2, trainable=False, routing_options={"expert_dropout": 0.9, "normalize_inputs": True})
    x = np.random.default_rng(0).normal(1, 2, (8, 8, 8, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x, training=True)), expected)
    assert layer.trainable_variables == [] and not layer.router.trainable


def test_static_output_size_inside_a_fitted_model():
    # Flatten and Dense need the size that the per-example form computed.
    x = keras.Input((8, 8, 3))
    h = CondConv2D(4, 3, 2, padding="same")(x)
    h = keras.layers.Reshape((64 * 4,))(DepthwiseCondConv2D(3, 2, padding="same")(h))
    model = keras.Model(x, keras.layers.Dense(2)(h))
    losses = losses_of_three_steps(model, *data())
    assert losses[3] < losses[0]


def test_unknown_height_and_width():
    set_seed(1)
    x = keras.Input((None, None, 3))
    h = CondConv2D(4, 3, 2, padding="same", strides=2)(x)
    h = DepthwiseCondConv2D(3, 2, padding="same")(h)
    model = keras.Model(x, keras.layers.GlobalAveragePooling2D()(h))
    assert h.shape == (None, None, None, 4)
    for size in (8, 9, 5):
        image = np.random.default_rng(size).standard_normal((3, size, size, 3)).astype("float32")
        eager = keras.ops.convert_to_numpy(model(image))
        np.testing.assert_allclose(model.predict(image, verbose=0), eager, rtol=1e-4, atol=1e-5)


@requires_tensorflow
def test_a_replica_without_an_image():
    """The last batch of several devices may leave one without: its step changes nothing, and its predictions are none.

    What `fit` and `predict` trace on each of them is a function of a batch of unknown size.
    """
    import tensorflow as tf

    model = use_fused_batch_norm(network())  # Keras's own would have statistics of nothing
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    targets, expected = tf.zeros((8, 2)), model.predict(data()[0], verbose=0)

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3)), tf.TensorSpec((None, 2))])
    def step(images, targets):
        return model.train_step((images, targets))

    before = model.get_weights()
    assert np.isfinite(step(tf.zeros((0, 8, 8, 3)), targets[:0])["loss"])
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    predict = tf.function(model, input_signature=[tf.TensorSpec((None, 8, 8, 3))])
    assert predict(tf.zeros((0, 8, 8, 3))).shape == (0, 2)
    np.testing.assert_allclose(predict(data()[0]), expected, rtol=1e-4, atol=1e-5)
    step(data()[0], targets)
    assert all(np.abs(one - other).max() > 0 for one, other in zip(model.get_weights(), before, strict=True))


@requires_tensorflow
def test_jit_compile_of_a_whole_step():
    import tensorflow as tf

    model, (x, _) = network(), data()

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(x, training=True) ** 2)
        return loss, tape.gradient(loss, [v.value for v in model.trainable_variables])

    loss, gradients = tf.function(step, jit_compile=True)(x)
    expected_loss, expected = tf.function(step)(x)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-4)
    for one, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3 * np.abs(other).max() + 1e-7)
