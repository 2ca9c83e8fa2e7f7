"""Batch normalisation in one operation, with the numbers of Keras's layer.

On TensorFlow, Keras 3 computes the statistics, the scaling and the shift as operations of their own, each of which
reads and writes the whole feature map. TensorFlow's FusedBatchNormV3, with its own gradient, passes over it a few times
in all; in inference TensorFlow makes it part of the convolution before it.

The layers stay Keras's: a saved network has nothing of this and loads wherever Keras is.
"""

import functools

import keras

from condconv_keras.utils.keras_graph import all_layers, replace_call
from condconv_keras.utils.lazy import tensorflow as tf

# Below it the GPU's kernel (cuDNN) refuses to work.
_SMALLEST_EPSILON = 1.001e-5
_DTYPES = ("float32", "float16", "bfloat16")


def fuse_batch_norms(network):
    """Makes the batch normalisations of a network compute as `fuse` says; returns the network.

    Args:
        network: Keras model.
    """
    for layer in all_layers(network, include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            fuse(layer)
    return network


def fuse(layer):
    """Makes a batch normalisation compute in one operation from now on; returns the layer.

    What is fused is of images with the channels last, with scale and shift, an `epsilon` of at least 1.001e-5 and the
    statistics of one device, on TensorFlow. Everything else is computed as before. Statistics are kept in float32; what
    is normalised keeps the input's precision. The copy of the layer that a configuration makes is Keras's own again.

    Args:
        layer: `keras.layers.BatchNormalization`.
    """
    # The method of the class: a layer that is fused already is not fused again.
    call = type(layer).call.__get__(layer)

    @functools.wraps(call)
    def fused(inputs, training=None, mask=None):
        if mask is not None or not _can_be_fused(layer, inputs):
            return call(inputs, training=training, mask=mask)
        if training and layer.trainable:
            return _by_statistics_of_the_batch(layer, inputs)
        statistics = {"mean": layer.moving_mean.value, "variance": layer.moving_variance.value}
        return _fused_batch_norm(layer, inputs, is_training=False, **statistics)[0]

    replace_call(layer, fused)
    return layer


def _can_be_fused(layer, inputs):
    return (
        keras.backend.backend() == "tensorflow"
        and len(inputs.shape) == 4
        and layer.axis in (-1, 3)
        and layer.scale
        and layer.center
        and layer.epsilon >= _SMALLEST_EPSILON
        and not (layer.synchronized or layer.renorm)
        and keras.backend.standardize_dtype(inputs.dtype) == layer.compute_dtype in _DTYPES
        and layer.variable_dtype == "float32"
    )


def _by_statistics_of_the_batch(layer, inputs):
    nothing = tf.zeros([0])
    outputs, mean, variance, *_ = _fused_batch_norm(layer, inputs, is_training=True, mean=nothing, variance=nothing)
    # The operation divides by one less than the number of pixels, Keras keeps the variance of the batch itself.
    pixels = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), variance.dtype)
    _follow(layer.moving_mean, mean, layer.momentum)
    _follow(layer.moving_variance, variance * (pixels - 1) / pixels, layer.momentum)
    return outputs


def _fused_batch_norm(layer, inputs, **options):
    return tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=layer.gamma.value, offset=layer.beta.value, epsilon=layer.epsilon, **options
    )


def _follow(moving, value, momentum):
    moving.assign(moving.value * momentum + value * (1 - momentum))
