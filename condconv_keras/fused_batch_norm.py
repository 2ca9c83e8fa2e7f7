"""Batch normalisation in one operation, with the numbers of Keras's layer.

On TensorFlow, Keras 3 computes the statistics, the scaling and the shift as operations of their own, each of which
reads and writes the whole feature map. TensorFlow's FusedBatchNormV3, with its own gradient, passes over it a few times
in all; in inference TensorFlow makes it part of the convolution before it.
"""

import contextlib
import functools

import keras
import tensorflow as tf

from condconv_keras.wrapped_call import wrapped_call

# Below it the GPU's kernel (cuDNN) refuses to work.
_SMALLEST_EPSILON = 1.001e-5


@contextlib.contextmanager
def fused_batch_norms(network):
    """While open, the batch normalisations of a network that can be fused are.

    Those are the ones of images with the channels last, with scale and shift, over one device. Statistics are kept in
    float32; what is normalised keeps the input's precision.

    Args:
        network: built Keras model.
    """
    with contextlib.ExitStack() as stack:
        for layer in network._flatten_layers(include_self=False):
            if _can_be_fused(layer):
                stack.enter_context(wrapped_call(layer, functools.partial(_fused, layer)))
        yield


def _can_be_fused(layer):
    return (
        isinstance(layer, keras.layers.BatchNormalization)
        and layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
        and layer.scale
        and layer.center
        and layer.epsilon >= _SMALLEST_EPSILON
        and not (layer.synchronized or layer.renorm)
    )


def infer(network, images):
    """Returns the outputs of a network in inference, its batch normalisations fused.

    Args:
        network: built Keras model.
        images: what it takes.
    """
    with fused_batch_norms(network):
        return network(images, training=False)


def _fused(layer, call):
    @functools.wraps(call)
    def fused(inputs, training=None, mask=None):
        if mask is not None:
            return call(inputs, training=training, mask=mask)
        if training and layer.trainable:
            return _by_statistics_of_the_batch(layer, inputs)
        return _by_moving_statistics(layer, inputs)

    return fused


def _by_moving_statistics(layer, inputs):
    statistics = {"mean": layer.moving_mean.value, "variance": layer.moving_variance.value}
    return _fused_batch_norm(layer, inputs, is_training=False, **statistics)[0]


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
    moving.assign(moving * momentum + value * (1 - momentum))
