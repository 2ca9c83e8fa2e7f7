"""Keras's strided 1x1 convolutions, computed with stride 1 on the pixels that they see.

TensorFlow 2.20 corrupts memory in the gradient of a 1x1 convolution of stride 2 on CPUs, for one image of 3 to 8
channels. A CondConv layer never asks for one (`condconv_keras.layers.forms.portable.without_stride`); in the networks
of the zoo these are Keras's own layers, so that their files load without this package.
"""

from __future__ import annotations

import functools

import keras
from keras import ops

from condconv_keras.utils.annotations import LayerLike, Tensor
from condconv_keras.utils.keras_graph import all_layers, replace_convolution


def slice_strided_1x1(model: LayerLike) -> LayerLike:
    """Makes Keras's strided 1x1 convolutions in a model slice their input first, from now on, on TensorFlow.

    No variable, configuration or file changes. A model that Keras makes of this one (`clone_model`, `from_config`, a
    file that it loads itself) computes as Keras does until it is given to this function, too.

    Args:
        model: Keras model or layer, before a function that calls it is traced or compiled: TensorFlow keeps a graph.

    Returns:
        The same model.
    """
    if keras.backend.backend() == "tensorflow":
        for layer in all_layers(model):
            if type(layer) is keras.layers.Conv2D and layer.kernel_size == (1, 1) and max(layer.strides) > 1:
                replace_convolution(layer, functools.partial(_convolution_of_seen, layer))
    return model


def _convolution_of_seen(layer: keras.layers.Conv2D, inputs: Tensor, kernel: Tensor) -> Tensor:
    height, width = layer.strides
    if layer.data_format == "channels_first":
        seen = inputs[:, :, ::height, ::width]
    else:
        seen = inputs[:, ::height, ::width]
    return ops.conv(seen, kernel, padding=layer.padding, data_format=layer.data_format)
