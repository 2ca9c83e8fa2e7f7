"""A small classifier of a user's own, with a softmax wherever users have theirs."""

import keras
import numpy as np
import tensorflow as tf

from condconv_keras.data import Preprocessing
from condconv_keras.facts.model_card import ModelCard

CARD = ModelCard("mine", ("a", "b", "c"), Preprocessing((4, 4), 3, 0.0, 255.0))
KERNEL = np.array([[2.0, -1.0, 0.5], [-3.0, 1.0, 0.0], [1.0, 2.0, -2.0]], np.float32)
BIAS = np.array([0.5, -0.25, 0.0], np.float32)
IMAGES = np.random.default_rng(1).uniform(0, 255, (5, 4, 4, 3)).astype(np.float32)
LOGITS_OF_IMAGES = (IMAGES / 255).mean(axis=(1, 2)) @ KERNEL + BIAS


class Softmax(keras.layers.Layer):
    """A user's layer that has its softmax in `call`."""

    def call(self, inputs):
        return tf.nn.softmax(inputs)


def head(logits):
    """A small model of its own that ends in a softmax."""
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Softmax()(inputs))(logits)


def average(logits, activation):
    return keras.layers.Average()([keras.layers.Activation(activation)(logits) for _ in range(2)])


HEADS = {
    "softmax layer": keras.layers.Softmax(),
    "softmax activation": keras.layers.Activation("softmax"),
    "softmax of keras.ops": keras.ops.softmax,
    "softmax of a user's layer": Softmax(),
    "softmax of exponentials": lambda x: keras.ops.exp(x) / keras.ops.sum(keras.ops.exp(x), axis=-1, keepdims=True),
    "softmax of a nested model": head,
    "softmax and reshape": lambda x: keras.layers.Flatten()(keras.layers.Softmax()(keras.layers.Reshape((1, 1, 3))(x))),
    "softmax and dropout": lambda x: keras.layers.Dropout(0.5)(keras.layers.Softmax()(x)),
    "softmax and cast": lambda x: keras.layers.Activation("linear", dtype="float32")(keras.ops.softmax(x)),
    "two averaged": lambda x: average(x, "softmax"),
    "softmax of bfloat16": keras.layers.Activation("softmax", dtype="bfloat16"),
}


def model_with(head, kernel=KERNEL, bias=BIAS, activation=None):
    """A model whose logits are those of `LOGITS_OF_IMAGES`, with a head behind them."""
    inputs = keras.Input((4, 4, 3))
    dense = keras.layers.Dense(3, activation=activation)
    logits = dense(keras.layers.GlobalAveragePooling2D()(inputs))
    dense.set_weights([kernel, bias])
    return keras.Model(inputs, head(logits))
