"""Fused batch normalisation against Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.layers.batch_normalization import fuse
from condconv_keras.models.saving import load_model
from condconv_keras.pretrained import create_model
from tests import processes

KERAS_OWN = keras.layers.BatchNormalization
SHAPE = (4, 3, 5, 6)  # few pixels: the variance of n pixels and of n - 1 differ


def _fused(**options):
    return fuse(keras.layers.BatchNormalization(**options))


def _network(kind=_fused, policy="float32", shape=SHAPE, **options):
    keras.utils.set_random_seed(1)
    initializers = {
        f"{name}_initializer": keras.initializers.RandomUniform(0.5, 2.0)
        for name in ("beta", "gamma", "moving_mean", "moving_variance")
    }
    inputs = keras.Input(shape[1:], dtype=keras.DTypePolicy(policy).compute_dtype)
    outputs = kind(momentum=0.7, dtype=policy, **initializers, **options)(inputs)
    return keras.Model(inputs, outputs)


def _step(network, shape=SHAPE):
    """One step in training; returns the outputs, all gradients and the statistics, and the operations by type."""
    rng = np.random.default_rng(2)
    images = tf.constant(rng.normal(3, 2, shape), network.inputs[0].dtype)
    direction = tf.constant(rng.normal(size=shape), tf.float32)

    @tf.function
    def step(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = network(images, training=True)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * direction)
        return outputs, tape.gradient(loss, [images, *network.trainable_variables])

    operations = {operation.type for operation in step.get_concrete_function(images).graph.get_operations()}
    before = [weight.numpy() for weight in network.weights]
    outputs, gradients = step(images)
    network_state = [weight.numpy() for weight in network.weights]
    for weight, value in zip(network.weights, before, strict=True):
        weight.assign(value)
    return [np.asarray(tf.cast(v, tf.float32)) for v in (outputs, *gradients)] + network_state, operations


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("float32", 2e-6), ("mixed_bfloat16", 0.02), ("mixed_float16", 0.003)]
)
def test_the_numbers_are_those_of_keras(policy, tolerance):
    expected, unfused = _step(_network(KERAS_OWN, policy))
    received, fused = _step(_network(policy=policy))
    assert "FusedBatchNormV3" in fused and "FusedBatchNormV3" not in unfused
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


def test_one_pixel_has_no_variance():
    shape = (1, 1, 1, 6)
    received, expected = (_step(_network(kind, shape=shape), shape)[0] for kind in (_fused, KERAS_OWN))
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"axis": 1}, SHAPE),
        ({"center": False}, SHAPE),
        ({"scale": False}, SHAPE),
        ({"epsilon": 1e-6}, SHAPE),
        ({"renorm": True}, SHAPE),
        ({"synchronized": True}, SHAPE),
        ({"policy": "float64"}, SHAPE),
        ({}, (7, 6)),
    ],
)
def test_what_cannot_be_fused_is_left_to_keras(options, shape):
    received, operations = _step(_network(shape=shape, **options), shape)
    assert "FusedBatchNormV3" not in operations
    for one, other in zip(received, _step(_network(KERAS_OWN, shape=shape, **options), shape)[0], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("float32", 2e-6), ("mixed_bfloat16", 0.02), ("mixed_float16", 0.003)]
)
@pytest.mark.parametrize("shape", [SHAPE, (0, *SHAPE[1:])])
def test_inference_is_that_of_keras(policy, tolerance, shape):
    network = _network(policy=policy)
    images = tf.cast(np.random.default_rng(0).normal(size=shape), network.inputs[0].dtype)
    expected, before = _network(KERAS_OWN, policy)(images, training=False), network.get_weights()
    function = tf.function(lambda x: network(x, training=False)).get_concrete_function(images)
    assert "FusedBatchNormV3" in {operation.type for operation in function.graph.get_operations()}
    received = function(images)
    assert received.dtype == expected.dtype
    np.testing.assert_allclose(
        tf.cast(received, tf.float32), tf.cast(expected, tf.float32), atol=tolerance * np.abs(expected).max(initial=1.0)
    )
    for one, other in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_frozen_layers_keep_their_statistics():
    network = _network()
    images = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    expected, before = _network(KERAS_OWN)(images), network.get_weights()
    network.layers[1].trainable = False
    np.testing.assert_allclose(network(images, training=True), expected, atol=1e-6)
    for one, other in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_saved_networks_are_keras_own_and_fused_when_loaded(tmp_path):
    network = create_model("mobilenet_v1", width_multiplier=0.25, input_shape=(32, 32, 3), classes=3)
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    path = tmp_path / "network.keras"
    network.save(path)
    loaded, _ = load_model(path)
    bare = keras.saving.load_model(path)
    for other, fused in ((network, True), (loaded, True), (bare, False)):
        function = tf.function(lambda x, network=other: network(x, training=False))
        operations = {op.type for op in function.get_concrete_function(images).graph.get_operations()}
        assert ("FusedBatchNormV3" in operations) == fused
        np.testing.assert_allclose(other(images), network(images), atol=1e-5)
    # Nothing of this package is needed.
    script = f"import keras; print(len(keras.saving.load_model({str(path)!r}).layers))"
    assert int(processes.run("-c", script).stdout) == len(network.layers)


def test_a_mask_is_left_to_keras():
    images = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    mask = np.arange(SHAPE[1] * SHAPE[2]).reshape(1, *SHAPE[1:3]).repeat(SHAPE[0], 0) % 2 == 0
    received, expected = (kind()(images, training=True, mask=mask) for kind in (_fused, KERAS_OWN))
    np.testing.assert_array_equal(received, expected)
