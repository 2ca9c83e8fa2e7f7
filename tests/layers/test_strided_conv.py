"""No strided 1x1 convolution is differentiated: TensorFlow 2.20 corrupts memory in its gradient on CPUs."""

import keras
import numpy as np
import pytest

from condconv_keras.layers import slice_strided_1x1
from condconv_keras.layers.forms import selection
from condconv_keras.utils.lazy import tensorflow as tf
from tests.layers.backends import requires_tensorflow
from tests.layers.cases import Case, build_layer

pytestmark = requires_tensorflow


def strides_of_convolutions(layer, *specs):
    """The strides of every convolution in the graph of a layer's outputs and gradients, loops included; a set."""

    def gradients(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(*inputs)
        return outputs, tape.gradient(outputs, [*inputs, *layer.trainable_variables])

    graph = tf.function(gradients, autograph=False).get_concrete_function(*specs).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {tuple(node.attr["strides"].list.i)[1:3] for node in nodes if "Conv2" in node.op or "Depthwise" in node.op}


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("batch", [1, None])
def test_a_strided_1x1_layer_convolves_the_pixels_it_sees(batch, depthwise):
    """By values the forms agree with the oracle in test_forms.py."""
    found = set()
    for form in selection.supported_forms(depthwise, groups=1, strides=(2, 2)):
        if form == "single_conv" and batch is None:
            continue
        case = Case((1, 1), strides=(2, 2), size=(6, 6), channels=4, features=2, depthwise=depthwise)
        layer = build_layer(case, form)
        specs = tf.TensorSpec((batch, 6, 6, 4)), tf.TensorSpec((batch, case.experts))
        layer.build(*(spec.shape for spec in specs))
        found |= strides_of_convolutions(layer, *specs)
    assert found == {(1, 1)}


def test_the_strides_of_larger_kernels_stay():
    layer = build_layer(Case((3, 3), strides=(2, 2)), "mixture")
    specs = tf.TensorSpec((2, 7, 6, 4)), tf.TensorSpec((2, 4))
    layer.build(*(spec.shape for spec in specs))
    assert strides_of_convolutions(layer, *specs) == {(2, 2)}


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    "options", [{"strides": 2, "padding": "same"}, {"strides": (3, 2)}, {"strides": 2, "groups": 2}]
)
def test_a_layer_of_keras_computes_the_same(options, data_format):
    shape = (2, 7, 6, 4) if data_format == "channels_last" else (2, 4, 7, 6)
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    layer = keras.layers.Conv2D(6, 1, activation="relu", bias_initializer="ones", data_format=data_format, **options)
    if data_format == "channels_first" and "groups" in options:
        pytest.skip("TensorFlow has no such convolution on CPUs")
    expected, config = layer(images).numpy(), layer.get_config()
    assert slice_strided_1x1(layer) is layer
    np.testing.assert_allclose(layer(images), expected, rtol=1e-5, atol=1e-6)
    assert layer.get_config() == config


def test_layers_of_a_network_of_keras_are_sliced_and_its_file_is_the_same(tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(keras.layers.Conv2D(4, 1)(inputs))
    inner = keras.Sequential([keras.Input((4, 4, 4)), keras.layers.Conv2D(2, 1, strides=2, name="strided")])
    model = keras.Model(inputs, inner(x))
    spec = tf.TensorSpec((1, 8, 8, 3))
    assert strides_of_convolutions(keras.models.clone_model(model), spec) == {(1, 1), (2, 2)}
    slice_strided_1x1(model)
    strided = inner.get_layer("strided")
    assert strides_of_convolutions(strided, tf.TensorSpec((1, 4, 4, 4))) == {(1, 1)}
    assert strides_of_convolutions(model, spec) == {(1, 1), (2, 2)}
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].get_layer("strided").strides == (2, 2)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(loaded(images), model(images), rtol=1e-5, atol=1e-6)
