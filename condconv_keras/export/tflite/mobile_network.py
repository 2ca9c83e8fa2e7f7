"""The network that LiteRT runs: a Keras model with its CondConv layers in the form for a phone (`mobile_layers`)."""

import keras
import numpy as np

from condconv_keras.export.tflite.mobile_layers import Bank, MobileCondConv, uses_static_kernels
from condconv_keras.layers import BatchNormalization, CondConv2D, DepthwiseCondConv2D, fold_routing
from condconv_keras.profiling import profile
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import all_layers, calls_of, renew_normalizations

# Activations that may move in front of a reshape: those of each element alone.
_ELEMENTWISE = ("linear", "relu", "relu6", "silu", "sigmoid", "tanh", "hard_silu", "hard_sigmoid")


def mobile_network(model, image_shape, quantization="none", static_kernels=False, images=None, batch_size=1):
    """Makes the network that is converted.

    Args:
        model: built functional or sequential Keras model of one channels_last input, alone or in a list or dict.
        image_shape: (height, width, channels) of the image that the network takes.
        quantization: name of the mode.
        static_kernels: whether CondConv layers use static kernels only.
        images: scaled images [count, height, width, channels] that int8 is calibrated on; needed for it if the model
            has CondConv layers.
        batch_size: how many images the network takes at a time.

    Returns:
        A functional Keras model of batches of that size that computes the outputs of `model`.

    Raises:
        UserError: a CondConv layer lies inside another layer, where int8 cannot treat it.
    """
    model = fold_routing(model)
    model = keras.Model(model.inputs[0], model.outputs[0] if len(model.outputs) == 1 else model.output)
    if quantization == "int8":
        _check_nested(model)
    layers = conditional_layers(model)
    followers = {name: _followers(model, layer) for name, layer in layers.items()}
    is_calibrated = quantization == "int8" and not static_kernels
    routing_weights = _routing_weights(model, layers, images) if is_calibrated else {}
    absorbed = {layer.name for pair in followers.values() for layer in pair if layer is not None}

    def clone(layer):
        if layer.name in layers:
            weights = routing_weights.get(layer.name)
            return _mobile_layer(layer, followers[layer.name], quantization, static_kernels, weights)
        if layer.name in absorbed:
            return keras.layers.Identity(name=layer.name)
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
            weights = model.get_layer(layer.name).get_weights()
            if quantization in ("dynamic", "int8") and isinstance(layer, keras.layers.DepthwiseConv2D):
                weights[0] = round_keeping_sums(weights[0])
            layer.set_weights(weights)
    renew_normalizations(network)
    return network


def _mobile_layer(layer, followers, quantization, static_kernels, routing_weights):
    """The `MobileCondConv` of a layer and its `followers`; `routing_weights` are those to calibrate by, or None."""
    normalization, activation = followers
    bank, largest_weight = Bank.of(layer, normalization), None
    if routing_weights is not None:
        bank = bank.with_even_channels()
        largest_weight = bank.largest_weight(routing_weights)
    return MobileCondConv(
        bank,
        _exportable(layer.activation if activation is None else activation.activation),
        layer.router,
        quantization,
        static_kernels,
        largest_weight,
        name=layer.name,
    )


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


def round_keeping_sums(kernel):
    """Rounds depthwise kernels [kh, kw, channels, multiplier] to the 8 bits of their channel, keeping their sums.

    Neighboring pixels are alike: what a channel's rounding errors add to its outputs is about their sum times the mean
    of its inputs. Where the errors, each at most 1/2, would add up to more than 1/2, the values nearest to the next
    integer are rounded the other way. The converter rounds the result to itself.
    """
    taps = kernel.reshape(-1, kernel.shape[-2] * kernel.shape[-1])
    scale = np.maximum(np.abs(taps).max(axis=0), np.finfo(np.float32).tiny) / 127
    exact = taps / scale
    rounded = np.round(exact)
    missing = np.round((exact - rounded).sum(axis=0))
    direction = np.sign(missing)
    # How far each value lies in the direction that is missing; those at the end of the range stay.
    room = np.where(np.abs(rounded + direction) <= 127, (exact - rounded) * direction, -np.inf)
    rank = room.argsort(axis=0)[::-1].argsort(axis=0)
    rounded += direction * (rank < np.abs(missing))
    return (rounded * scale).astype(kernel.dtype).reshape(kernel.shape)


def _check_nested(model):
    for layer in all_layers(model, include_self=False):
        if isinstance(layer, (CondConv2D, DepthwiseCondConv2D)) and layer not in model.layers:
            raise UserError(f"int8 expects CondConv layers that no other layer contains, received: {layer.name!r}")


def _exportable(activation):
    """The activation without a gradient of its own: TensorFlow never frees a graph with `tf.nn.silu`.

    Its registry of gradients keeps the graph, and all the weights in it.
    """
    return _silu if activation is keras.activations.silu else activation


def _silu(x):
    return x * keras.ops.sigmoid(x)


class _OwnRouter(keras.layers.Layer):
    """A CondConv layer's own router, under another name: they all have the same, which a model does not allow."""

    def __init__(self, router):
        super().__init__()
        self._router = router

    def call(self, inputs):
        return self._router(inputs)


def _call_without_mask(layer, *args, **kwargs):
    kwargs.pop("mask", None)
    return layer(*args, **kwargs)


def _followers(model, layer):
    """The batch normalization and the activation that alone read a CondConv layer's output, each or None."""
    if layer.activation is not keras.activations.linear:
        return None, None
    normalization = _only_reader(model, layer)
    if not isinstance(normalization, keras.layers.BatchNormalization) or normalization.axis not in (-1, 3):
        return None, None
    activation = _only_reader(model, normalization)
    if not isinstance(activation, keras.layers.Activation) or activation.activation.__name__ not in _ELEMENTWISE:
        activation = None
    return normalization, activation


def _only_reader(model, layer):
    """The layer that reads the output of `layer`, or None if several do or the model returns it."""
    output = calls_of(layer)[0].outputs[0]
    if any(output is tensor for tensor in model.outputs):
        return None
    readers = [
        operation
        for operation in model.operations
        for call in calls_of(operation)
        if any(tensor is output for tensor in call.inputs)
    ]
    return readers[0] if len(readers) == 1 and len(calls_of(readers[0])) == 1 else None


def _routing_weights(model, layers, images):
    """The routing weights of each CondConv layer for the images, float32 [count, n], by the layer's name."""
    if not layers:
        return {}
    inputs = {name: calls_of(layer)[0].inputs for name, layer in layers.items()}
    routed = {
        name: tensors[1] if len(tensors) > 1 else _OwnRouter(layers[name].router)(tensors[0])
        for name, tensors in inputs.items()
    }
    return keras.Model(model.inputs, routed).predict(images, batch_size=8, verbose=0)
