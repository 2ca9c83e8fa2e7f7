import keras
import numpy as np
import pytest
import tensorflow as tf

from condconv_keras import CondConv2D, Routing
from condconv_keras.data import Preprocessing
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.models import list_models
from condconv_keras.pretrained import create_model
from condconv_keras.serving.served_network import trace_network
from condconv_keras.tasks.classification.serving import answer

GRAY = Preprocessing((32, 32), 1, 127.5, 127.5)
RGB = Preprocessing((32, 32), 3, 127.5, 127.5)


def _images(preprocessing, count):
    shape = (count, *preprocessing.input_size, preprocessing.channels)
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def _network(model, preprocessing):
    return trace_network(model, ModelCard("model", ("class",) * model.output_shape[-1], preprocessing), answer)


def test_features_are_not_guessed():
    inputs = keras.Input((32, 32, 1))
    feature_map = keras.layers.Conv2D(4, 3)(inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(feature_map)
    for output in (
        keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 1)(feature_map)),
        keras.layers.Add()([keras.layers.Dense(3)(pooled), keras.layers.Dense(3)(pooled)]),
        keras.layers.BatchNormalization()(keras.layers.Dense(3)(pooled)),
    ):
        outputs = _network(keras.Model(inputs, output), GRAY).structured_outputs
        assert outputs["features"] == {}
        assert outputs["routing"] == {}


def test_a_nested_model_and_a_router_that_is_called_twice():
    inputs = keras.Input((32, 32, 1))
    router = Routing(2, name="shared", kernel_initializer="random_normal")
    x = CondConv2D(1, 3, num_experts=2, strides=2)(inputs, router(inputs))
    x = CondConv2D(1, 3, num_experts=2)(x, router(x))
    backbone = keras.Model(inputs, x)
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.5), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((32, 32, 1)), backbone, *layers])
    images = _images(GRAY, 2)
    results = _network(model, GRAY)(tf.constant(images))
    assert set(results["routing"]) == {"shared", "shared_2"}
    np.testing.assert_allclose(results["routing"]["shared"], router(GRAY.scale_images(images)), atol=1e-6)
    expected = np.asarray(backbone(GRAY.scale_images(images))).mean((1, 2))
    np.testing.assert_allclose(results["features"]["features"], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models(task="classification"))
def test_every_model_has_its_features_and_routing(name):
    experts = {"num_experts": 2} if name.startswith("condconv") else {}
    model = create_model(name, input_shape=(32, 32, 3), classes=10, **experts)
    network = _network(model, RGB)
    routers = [layer for layer in model.layers if isinstance(layer, Routing)]
    assert bool(routers) == bool(experts)
    tensors = [model.get_layer("global_pool").output, *(layer.output for layer in routers)]
    for count in (1, 3):
        images = _images(RGB, count)
        results = network(tf.constant(images))
        assert set(results["routing"]) == {layer.name for layer in routers}
        served = [results["features"]["features"], *(results["routing"][layer.name] for layer in routers)]
        expected = keras.Function(model.inputs, tensors)([RGB.scale_images(images)])
        for received, value in zip(served, expected, strict=True):
            value = np.asarray(value).reshape(count, -1)
            np.testing.assert_allclose(received, value, rtol=1e-3, atol=1e-4 * np.abs(value).max())
