"""A Keras classifier as a function of images."""

from condconv_keras.utils.lazy import keras
from condconv_keras.utils.lazy import tensorflow as tf


def probabilities(model, card, images):
    """Computes a Keras classifier on images in 0..255: scaling, network, and the softmax if the network has none."""
    outputs = model(card.preprocessing.scale_images(images), training=False)
    if getattr(model.layers[-1], "activation", None) is keras.activations.softmax:
        return outputs
    return keras.ops.softmax(keras.ops.cast(outputs, "float32"))


def keras_predict(model, card):
    """Returns the `predict` function of a Keras classifier."""
    shape = (None, *card.preprocessing.input_shape)
    function = tf.function(
        lambda images: probabilities(model, card, images), input_signature=[tf.TensorSpec(shape, tf.float32)]
    )
    return lambda images: function(images).numpy()
