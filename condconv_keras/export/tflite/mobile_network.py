"""The network that LiteRT runs: a Keras model with its CondConv layers in the form for a phone (`mobile_layers`)."""

import keras
import numpy as np

from condconv_keras.export.tflite.mobile_layers import Bank, MobileCondConv, uses_static_kernels
from condconv_keras.export.tflite.weights import EIGHT_BITS
from condconv_keras.layers import BatchNormalization, CondConv2D, DepthwiseCondConv2D, Routing, fold_routing
from condconv_keras.layers.batch_norm_folding import folded_if_possible
from condconv_keras.profiling import profile
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import all_layers, calls_of, renew_normalizations


def mobile_network(model, image_shape, quantization="none", static_kernels=False, images=None, batch_size=1):
    """Makes the network that is converted.

    Args:
        model: built functional or sequential Keras model of one channels_last input, alone or in a list or dict.
        image_shape: (height, width, channels) of the image that the network takes.
        quantization: name of the mode.
        static_kernels: whether CondConv layers use static kernels only.
        images: scaled images [count, height, width, channels]; 8-bit experts are rounded by what their layers see of
            them. None for what is to be expected of any images.
        batch_size: how many images the network takes at a time.

    Returns:
        A functional Keras model of batches of that size that computes the outputs of `model`.

    Raises:
        UserError: a CondConv layer lies inside another layer, where int8 cannot treat it.
    """
    # What follows a plain convolution is left to the converter.
    model = folded_if_possible(fold_routing(model), conditional_only=True).model
    model = keras.Model(model.inputs[0], model.outputs[0] if len(model.outputs) == 1 else model.output)
    if quantization == "int8":
        _check_nested(model)
    layers = conditional_layers(model)
    means = {} if images is None or quantization not in EIGHT_BITS else _input_means(model, layers, images)

    def clone(layer):
        if layer.name in layers:
            return _mobile_layer(layer, quantization, static_kernels, means.get(layer.name))
        config = layer.get_config()
        if static_kernels and "implementation" in config:
            config["implementation"] = "mixture"
        # Of both classes in Keras's operations: the converter rounds what it makes of the fused one otherwise.
        kind = keras.layers.BatchNormalization if isinstance(layer, BatchNormalization) else type(layer)
        return kind.from_config(config)

    image = keras.Input(batch_shape=(batch_size, *image_shape))
    network = keras.models.clone_model(model, image, clone, _call_without_mask)
    for layer in network.layers:
        if hasattr(layer, "activation"):
            layer.activation = _exportable(layer.activation)
        if layer.name not in layers and layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    renew_normalizations(network)
    if quantization == "int8":
        for layer in all_layers(network):
            if isinstance(layer, Routing):
                _route_in_float(layer)
    return network


def _mobile_layer(layer, quantization, static_kernels, means):
    """The `MobileCondConv` of a layer; `means` are those of its inputs, or None."""
    return MobileCondConv(
        Bank.of(layer),
        _exportable(layer.activation),
        None if layer.router is None else _copy(layer.router),
        quantization,
        static_kernels,
        means,
        name=layer.name,
    )


def float_layers(network):
    """The names of the layers of a `mobile_network` that compute in float32 in an int8 file.

    They are the routers, as kernels that are mixed by routing weights of 8 bits are far from right, and the CondConv
    layers without static kernels: an 8-bit kernel that is mixed at run time has one scale where a constant has one for
    each channel. Their experts have 8 bits.
    """
    return frozenset(
        layer.name
        for layer in all_layers(network)
        if isinstance(layer, Routing) or (isinstance(layer, MobileCondConv) and not layer.static_kernels)
    )


def _route_in_float(router):
    """Makes a router compute its weights by operators that 8 bits are not forced upon.

    The converter rounds the outputs of a sigmoid or a softmax to 256 steps, whatever reads them.
    """
    router.activation = _IN_FLOAT.get(router.activation, router.activation)


def _copy(router):
    """A router with the same weights, whose activation may change."""
    copy = type(router).from_config(router.get_config())
    copy.build((None, None, None, router.kernel.shape[0]))
    copy.set_weights(router.get_weights())
    return copy


def conditional_layers(model):
    """The CondConv layers of a model that have a form for a phone, by name: channels_last, without groups."""
    return {
        layer.name: layer
        for layer in model.layers
        if isinstance(layer, (CondConv2D, DepthwiseCondConv2D))
        and layer.data_format == "channels_last"
        and layer.groups == 1
        and len(calls_of(layer)) == 1
    }


def multiply_adds(model, image_shape, static_kernels):
    """Multiply-adds of an image in the float32 network: every layer in the form that `mobile_layers` gives it.

    A layer that mixes its kernel costs its convolution and n for every weight, one with static kernels n convolutions.
    """
    total = 0
    for row in profile(model, image_shape).layers:
        total += row.multiply_adds
        if row.mixing:
            layer = model.get_layer(row.name)
            pixels = row.output_shape[1] * row.output_shape[2]
            if uses_static_kernels(layer.spec, layer.num_experts, pixels, "none", static_kernels):
                total += (layer.num_experts - 1) * row.convolution - row.mixing
    return total


def _check_nested(model):
    for layer in all_layers(model, include_self=False):
        if isinstance(layer, (CondConv2D, DepthwiseCondConv2D)) and layer not in model.layers:
            raise UserError(f"int8 expects CondConv layers that no other layer contains, received: {layer.name!r}")


def _exportable(activation):
    """The activation without a gradient of its own: TensorFlow never frees a graph with `tf.nn.silu`.

    Its registry of gradients keeps the graph, and all the weights in it.
    """
    return _silu if activation is keras.activations.silu else activation


def _sigmoid(x):
    # The converter knows 1 / (1 + exp(-x)) for a sigmoid, and rounds it.
    return 1 / (1 + 1 / keras.ops.exp(x))


def _softmax(x):
    # The powers divided by their sum would be a softmax to it.
    powers = keras.ops.exp(x - keras.ops.max(x, axis=-1, keepdims=True))
    return powers * (1 / keras.ops.sum(powers, axis=-1, keepdims=True))


_IN_FLOAT = {keras.activations.sigmoid: _sigmoid, keras.activations.softmax: _softmax}


def _silu(x):
    return x * keras.ops.sigmoid(x)


def _call_without_mask(layer, *args, **kwargs):
    kwargs.pop("mask", None)
    return layer(*args, **kwargs)


def _input_means(model, layers, images):
    """The mean inputs [channels] of each CondConv layer for the images, by the layer's name."""
    if not layers:
        return {}
    inputs = {name: calls_of(layer)[0].inputs[0] for name, layer in layers.items()}
    means = {
        name: keras.ops.mean(tensor, axis=tuple(range(1, len(tensor.shape) - 1))) if len(tensor.shape) > 2 else tensor
        for name, tensor in inputs.items()
    }
    found = keras.Model(model.inputs, means).predict(images, batch_size=8, verbose=0)
    return {name: values.mean(axis=0, dtype=np.float64) for name, values in found.items()}
