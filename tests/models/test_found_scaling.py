"""What pixels a network takes that scales them itself."""

import keras
import numpy as np
import pytest

from condconv_keras.models.found_scaling import PIXELS, UNITS, found_scaling

_RNG = np.random.default_rng(0)


def _adapted(largest, smallest=0.0):
    layer = keras.layers.Normalization()
    layer.adapt(_RNG.uniform(smallest, largest, (8, 8, 8, 3)).astype("float32"))
    return layer


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: [keras.layers.Rescaling(1 / 255)], PIXELS),
        (lambda: [keras.layers.Rescaling(1 / 127.5, offset=-1)], PIXELS),
        (lambda: [keras.layers.Rescaling(1.0, offset=-127.5)], PIXELS),
        (lambda: [keras.layers.Rescaling(2.0, offset=-1)], UNITS),
        (lambda: [keras.layers.Rescaling(255.0)], UNITS),
        (lambda: [keras.layers.Rescaling(1.0)], None),
        (lambda: [_adapted(255.0)], PIXELS),
        (lambda: [_adapted(1.0)], UNITS),
        (lambda: [_adapted(1.0, -1.0)], None),
        (lambda: [keras.layers.Normalization(mean=[123.0, 117.0, 104.0], variance=[3400.0, 3300.0, 3400.0])], PIXELS),
        (lambda: [keras.layers.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.052, 0.05, 0.05])], UNITS),
        # As in EfficientNet: the first one says it.
        (lambda: [keras.layers.Rescaling(1 / 255), _adapted(1.0)], PIXELS),
        (lambda: [keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255)])], PIXELS),
        (lambda: [keras.layers.RandomFlip(), keras.layers.Rescaling([1 / 58.0] * 3, [-2.1] * 3)], PIXELS),
        (list, None),
        # What comes behind anything else is no scaling of the input.
        (lambda: [keras.layers.Conv2D(3, 1), keras.layers.Rescaling(0.1)], None),
        (lambda: [keras.layers.Normalization(mean=120.0, variance=3600.0, invert=True)], None),
        (lambda: [keras.layers.Rescaling(1.0), _adapted(255.0)], PIXELS),
        (lambda: [keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), _adapted(1.0)])], PIXELS),
        (lambda: [keras.Sequential([keras.Input((8, 8, 3)), keras.layers.RandomFlip()]), _adapted(255.0)], PIXELS),
    ],
)
def test_the_scaling_of_a_network(make, expected):
    model = keras.Sequential([keras.Input((8, 8, 3)), *make(), keras.layers.Conv2D(2, 3)])
    assert found_scaling(model) == expected


@pytest.mark.parametrize("name, shape", [("EfficientNetB0", (32, 32, 3)), ("MobileNetV3Small", (32, 32, 3))])
def test_networks_of_keras_applications_take_pixels(name, shape):
    assert found_scaling(getattr(keras.applications, name)(weights=None, input_shape=shape)) == PIXELS


def test_arithmetic_before_the_layer_leaves_it_open():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Normalization(mean=0.5, variance=0.08)(inputs / 255.0)
    assert found_scaling(keras.Model(inputs, keras.layers.Conv2D(2, 3)(x))) is None


def test_networks_that_leave_scaling_to_a_function_say_nothing():
    assert found_scaling(keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3))) is None
