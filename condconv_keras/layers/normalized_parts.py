"""Which batch normalizations of a network can become part of the layer before them, and by which scale."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import activations

from condconv_keras.layers.base_cond_conv import BaseCondConv2D
from condconv_keras.layers.batch_normalization import BatchNormalization
from condconv_keras.layers.forms.finish import is_elementwise
from condconv_keras.utils.annotations import Tensor
from condconv_keras.utils.keras_graph import Call, all_layers, graph_calls, is_graph
from condconv_keras.utils.scaled_weights import scale_of

# Their kernels end in the filters, or in the channels and the multiplier.
_PLAIN = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Dense,
)
_NORMALIZATIONS = (keras.layers.BatchNormalization, BatchNormalization)


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A layer of a network with what becomes part of it.

    Attributes:
        layer: the convolution or dense layer.
        normalization: the batch normalization behind it.
        activation: the layer behind that, or None.
    """

    layer: Any
    normalization: Any
    activation: Any = None

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """What the batch normalization does in inference, float64 `x * scale + shift`, [filters] each."""
        normalization = self.normalization
        gamma = _numbers(normalization.gamma) if normalization.scale else None
        scale = scale_of(gamma, _numbers(normalization.moving_variance), normalization.epsilon)
        shift = -_numbers(normalization.moving_mean) * scale
        return scale, shift if not normalization.center else shift + _numbers(normalization.beta)

    def function(self) -> Callable[..., Any]:
        """The activation, elementwise."""
        return activations.linear if self.activation is None else _activation_of(self.activation)  # type: ignore[return-value]


def find_parts(model: keras.Model) -> list[Part]:
    """Every `Part` of a model and of the models inside it."""
    graphs = [_calls(layer) for layer in _graphs(model)]
    counts = collections.Counter(id(operation) for calls, _ in graphs for operation, _ in calls)
    parts = []
    for calls, outputs in graphs:
        for layer, call in calls:
            normalization = _only_reader(call, calls, outputs) if _has_kernel(layer) else None
            if normalization is None or not _fits(*normalization, layer):
                continue
            activation, _ = _only_reader(normalization[1], calls, outputs) or (None, None)
            if _activation_of(activation) is None or counts[id(activation)] > 1 or not _same_dtype(layer, activation):
                activation = None
            if counts[id(layer)] == counts[id(normalization[0])] == 1:
                parts.append(Part(layer, normalization[0], activation))
    return parts


def _graphs(model: keras.Model) -> list[Any]:
    """The functional and sequential models in a model, but for those that it calls to be trained."""
    graphs = [layer for layer in all_layers(model) if is_graph(layer)]
    trained = [
        operation
        for graph in graphs
        for operation, call in _calls(graph)[0]
        if is_graph(operation) and call.options.get("training")
    ]
    left = {id(layer) for each in trained for layer in all_layers(each)}
    return [graph for graph in graphs if id(graph) not in left]


def _same_dtype(layer: Any, activation: Any) -> bool:
    return layer.compute_dtype == activation.compute_dtype


def _calls(model: Any) -> tuple[list[tuple[Any, Call]], list[Any]]:
    """The calls of a functional or sequential model, and its outputs."""
    graph = keras.Model(model.inputs, model.outputs) if isinstance(model, keras.Sequential) else model
    return graph_calls(graph), model.outputs


def _only_reader(call: Call, calls: Iterable[tuple[Any, Call]], outputs: list[Any]) -> tuple[Any, Call] | None:
    """The layer that alone reads the output of a call, with the call; None if several do, or the model returns it."""
    output = call.outputs[0]
    if any(output is tensor for tensor in outputs):
        return None
    readers = [(reader, other) for reader, other in calls if any(tensor is output for tensor in other.inputs)]
    return readers[0] if len(readers) == 1 else None


def _has_kernel(layer: Any) -> bool:
    """Whether a layer is linear and its kernel can be scaled."""
    if isinstance(layer, BaseCondConv2D):
        return layer.activation is activations.linear and not layer.use_shared_bias
    if type(layer) not in _PLAIN or layer.activation is not activations.linear:
        return False
    # Of 8 bits, or with an adapter.
    return not getattr(layer, "quantization_mode", None) and not getattr(layer, "lora_enabled", False)


def _fits(normalization: Any, call: Call, layer: Any) -> bool:
    """Whether what reads a layer's output is a batch normalization of its channels, by the moving statistics."""
    if type(normalization) not in _NORMALIZATIONS or call.options.get("training"):
        return False
    rank = len(call.inputs[0].shape)
    channels = 1 if getattr(layer, "data_format", "channels_last") == "channels_first" else rank - 1
    return normalization.axis % rank == channels and not getattr(normalization, "renorm", False)


def _activation_of(layer: Any) -> Callable[..., Any] | None:
    """The elementwise function that a layer applies; None for another one."""
    if type(layer) is keras.layers.ReLU and not layer.negative_slope and not layer.threshold:
        return {None: activations.relu, 6: activations.relu6}.get(layer.max_value)
    if type(layer) is keras.layers.Activation and is_elementwise(layer.activation):
        return layer.activation
    return None


def _numbers(variable: Any) -> Any:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float64)
