"""Reads parts of images as a pipeline does, in a graph."""

import functools

import tensorflow as tf

from condconv_keras.data.input.decoding import EncodedImage


@functools.cache
def part_reader(channels):
    """A function of a file's content and a window, int32 [4], that returns this part of the image."""
    signature = [tf.TensorSpec([], tf.string), tf.TensorSpec([4], tf.int32)]
    return tf.function(
        lambda content, window: EncodedImage(content, (None, None, channels)).window(lambda shape: window),
        signature,
        autograph=False,
    )
