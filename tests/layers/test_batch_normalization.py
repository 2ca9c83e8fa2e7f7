"""`BatchNormalization`, and Keras's with `use_fused_batch_norm`, against Keras's own."""

import keras
import numpy as np
import pytest

from condconv_keras.layers import BatchNormalization, use_fused_batch_norm
from condconv_keras.utils.lazy import tensorflow as tf
from tests.layers.backends import outputs_and_gradients, requires_tensorflow
from tests.seeds import set_seed

KERAS_OWN = keras.layers.BatchNormalization
SHAPE = (4, 3, 5, 6)  # few pixels: the variance of n pixels and of n - 1 differ
TOLERANCES = [("float32", 2e-6), ("mixed_bfloat16", 0.02), ("mixed_float16", 0.003)]


def _told(**options):
    """Keras's layer that was told to compute in one operation."""
    return use_fused_batch_norm(KERAS_OWN(**options))


of_both_kinds = pytest.mark.parametrize("kind", [BatchNormalization, _told])


def _network(kind, policy="float32", shape=SHAPE, **options):
    set_seed(1)
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


@requires_tensorflow
@of_both_kinds
@pytest.mark.parametrize(("policy", "tolerance"), TOLERANCES)
def test_the_numbers_are_those_of_keras(policy, tolerance, kind):
    expected, unfused = _step(_network(KERAS_OWN, policy))
    received, fused = _step(_network(kind, policy))
    assert "FusedBatchNormV3" in fused and "FusedBatchNormV3" not in unfused
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


@requires_tensorflow
@of_both_kinds
def test_one_pixel_has_no_variance(kind):
    shape = (1, 1, 1, 6)
    received, expected = (_step(_network(each, shape=shape), shape)[0] for each in (kind, KERAS_OWN))
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@requires_tensorflow
@of_both_kinds
def test_an_empty_batch_in_training_leaves_the_statistics_as_they_are(kind):
    network = _network(kind)
    before = network.get_weights()
    outputs, *gradients = _step(network, (0, *SHAPE[1:]))[0][:4]
    assert outputs.shape == gradients[0].shape == (0, *SHAPE[1:])
    for gradient in gradients[1:]:
        np.testing.assert_array_equal(gradient, 0)
    network(np.zeros((0, *SHAPE[1:]), "float32"), training=True)
    for one, other in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@requires_tensorflow
@of_both_kinds
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
def test_what_cannot_be_fused_is_left_to_keras(options, shape, kind):
    received, operations = _step(_network(kind, shape=shape, **options), shape)
    assert "FusedBatchNormV3" not in operations
    for one, other in zip(received, _step(_network(KERAS_OWN, shape=shape, **options), shape)[0], strict=True):
        np.testing.assert_array_equal(one, other)


@requires_tensorflow
@of_both_kinds
@pytest.mark.parametrize(("policy", "tolerance"), TOLERANCES)
@pytest.mark.parametrize("shape", [SHAPE, (0, *SHAPE[1:])])
def test_inference_is_that_of_keras(policy, tolerance, shape, kind):
    network = _network(kind, policy)
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


@of_both_kinds
def test_frozen_layers_keep_their_statistics(kind):
    network = _network(kind)
    images = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    expected, before = np.asarray(_network(KERAS_OWN)(images)), network.get_weights()
    network.layers[1].trainable = False
    np.testing.assert_allclose(network(images, training=True), expected, atol=1e-6)
    for one, other in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@of_both_kinds
def test_a_mask_is_left_to_keras(kind):
    images = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    mask = np.arange(SHAPE[1] * SHAPE[2]).reshape(1, *SHAPE[1:3]).repeat(SHAPE[0], 0) % 2 == 0
    received, expected = (np.asarray(each()(images, training=True, mask=mask)) for each in (kind, KERAS_OWN))
    np.testing.assert_array_equal(received, expected)


@of_both_kinds
@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients_on_every_backend(training, kind):
    rng = np.random.default_rng(3)
    images, upstream = rng.normal(3, 2, (2, *SHAPE)).astype("float32")
    received, expected = (
        keras.tree.flatten(outputs_and_gradients(_network(each), (images,), upstream, training))
        for each in (kind, KERAS_OWN)
    )
    assert len(expected) == 4
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


def test_it_is_stored_as_keras_own():
    """Configuration, paths of variables, and the names by which a file of weights finds them."""
    options = {"momentum": 0.8, "epsilon": 0.01, "axis": 3, "name": "norm"}
    ours, theirs = BatchNormalization(**options), KERAS_OWN(**options)
    assert ours.get_config() == theirs.get_config()
    assert keras.saving.get_registered_name(BatchNormalization) == "condconv_keras>BatchNormalization"
    for layer in (ours, theirs):
        layer.build(SHAPE)
    assert [weight.path for weight in ours.weights] == [weight.path for weight in theirs.weights]


@pytest.mark.parametrize(("writer", "reader"), [(KERAS_OWN, BatchNormalization), (BatchNormalization, KERAS_OWN)])
def test_a_file_of_weights_fits_both_classes(writer, reader, tmp_path):
    """Such a file names layers by class and number."""

    def network(kind, seed):
        layers = [keras.Input(SHAPE[1:]), kind(), keras.layers.Conv2D(3, 1), kind()]
        network, rng = keras.Sequential(layers), np.random.default_rng(seed)
        network.set_weights([rng.uniform(0.5, 2.0, weight.shape) for weight in network.weights])
        return network

    written, read = network(writer, 0), network(reader, 1)
    written.save_weights(tmp_path / "network.weights.h5")
    read.load_weights(tmp_path / "network.weights.h5")
    for one, other in zip(written.get_weights(), read.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


class Doubled(KERAS_OWN):
    """A user's class, which computes something else."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


def test_a_class_of_the_user_stays_as_it_is():
    images = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    network = _network(Doubled)
    expected = np.asarray(network(images))
    np.testing.assert_array_equal(np.asarray(use_fused_batch_norm(network)(images)), expected)
    np.testing.assert_allclose(expected, 2 * np.asarray(_network(KERAS_OWN)(images)), rtol=1e-5)
