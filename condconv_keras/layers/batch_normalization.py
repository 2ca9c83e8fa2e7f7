"""Batch normalization in one operation, with the numbers of Keras's layer.

On TensorFlow, Keras 3 computes the statistics, the scaling and the shift as operations of their own, each of which
reads and writes the whole feature map. TensorFlow's FusedBatchNormV3, with its own gradient, passes over it a few times
in all; in inference TensorFlow makes it part of the convolution before it.

Networks with CondConv layers have `BatchNormalization`, a class of ours like those. Plain networks keep Keras's class,
so that their files load wherever Keras is; `use_fused_batch_norm` makes such a network compute the same way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from condconv_keras.utils.annotations import LayerLike, Tensor
from condconv_keras.utils.keras_graph import all_layers, replace_call
from condconv_keras.utils.lazy import tensorflow as tf

# Below it the GPU's kernel (cuDNN) refuses to work.
_SMALLEST_EPSILON = 1.001e-5
_DTYPES = ("float32", "float16", "bfloat16")


# Of the same class name as Keras's: by that name weights lie in a file, and layers without a name are numbered.
@keras.saving.register_keras_serializable(package="condconv_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization, computed in one operation where that is possible.

    That is on TensorFlow, for images with the channels last, with scale and shift, an `epsilon` of at least 1.001e-5,
    the statistics of one device and no mask. Everything else is computed by Keras's layer. Statistics are kept in
    float32; what is normalized keeps the input's precision.

    Arguments, call arguments, variables and configuration are those of `keras.layers.BatchNormalization`.

    Examples:
        >>> y = BatchNormalization()(CondConv2D(64, 3, num_experts=8, use_bias=False)(x))
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        return _normalized(self, super().call, inputs, training, mask)


def use_fused_batch_norm(model: LayerLike) -> LayerLike:
    """Makes Keras's batch normalizations in a model compute as `BatchNormalization` does, from now on.

    For plain networks, and for files of version 0.1; a network of the zoo with CondConv layers computes so by itself.
    No variable, configuration or file changes. A model that Keras makes of this one (`clone_model`, `from_config`, a
    saved file) computes as Keras does until it is given to this function, too. Other classes than
    Keras's own stay as they are.

    Args:
        model: Keras model or layer, before a function that calls it is traced or compiled: TensorFlow keeps a graph.

    Returns:
        The same model.
    """
    for layer in all_layers(model):
        keras_call = type(layer).call
        if keras_call is keras.layers.BatchNormalization.call:
            replace_call(layer, _fused_call(layer, keras_call.__get__(layer)))
    return model


def _fused_call(layer: keras.Layer, keras_call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(keras_call)
    def call(inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        return _normalized(layer, keras_call, inputs, training, mask)

    return call


def _normalized(
    layer: keras.Layer, keras_call: Callable[..., Any], inputs: Tensor, training: bool | None, mask: Tensor | None
) -> Tensor:
    if mask is not None or not _can_be_fused(layer, inputs):
        return keras_call(inputs, training=training, mask=mask)
    if training and layer.trainable:
        return _by_statistics_of_the_batch(layer, inputs)
    statistics = {"mean": layer.moving_mean.value, "variance": layer.moving_variance.value}
    return _fused_batch_norm(layer, inputs, is_training=False, **statistics)[0]


def _can_be_fused(layer: keras.Layer, inputs: Tensor) -> bool:
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


def _by_statistics_of_the_batch(layer: keras.Layer, inputs: Tensor) -> Tensor:
    nothing = tf.zeros([0])
    outputs, mean, variance, *_ = _fused_batch_norm(layer, inputs, is_training=True, mean=nothing, variance=nothing)
    # The operation divides by one less than the number of pixels, Keras keeps the variance of the batch itself.
    pixels = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), variance.dtype)
    for moving, value in (
        (layer.moving_mean, mean),
        (layer.moving_variance, variance * (pixels - 1) / pixels),
    ):
        followed = moving.value * layer.momentum + value * (1 - layer.momentum)
        # An empty batch, as that of a replica that the last images do not reach, has no statistics.
        moving.assign(tf.where(pixels > 0, followed, moving.value))
    return outputs


def _fused_batch_norm(layer: keras.Layer, inputs: Tensor, **options: Any) -> Any:
    return tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=layer.gamma.value, offset=layer.beta.value, epsilon=layer.epsilon, **options
    )
