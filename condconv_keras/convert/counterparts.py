"""The CondConv layers that stand in the place of one plain layer, and how they are called.

| plain | in its place |
|---|---|
| `Conv2D` | `CondConv2D` |
| `DepthwiseConv2D` | `DepthwiseCondConv2D` |
| `SeparableConv2D` | `DepthwiseCondConv2D`, then a 1x1 `CondConv2D` |
| `Dense` | a 1x1 `CondConv2D`; inputs that are no feature map become one of one pixel, or of one column, and back |

What comes out of the place of a layer has the layer's name, so that a model's outputs keep theirs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from condconv_keras.layers import CondConv2D, DepthwiseCondConv2D, MaskedReshape
from condconv_keras.layers.base_cond_conv import BaseCondConv2D
from condconv_keras.utils.annotations import Tensor
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import Call

_KERNEL_RULES = ("initializer", "regularizer", "constraint")


@dataclasses.dataclass(frozen=True)
class Part:
    """One CondConv layer of a counterpart, and the plain weights that it computes with.

    Attributes:
        layer: `CondConv2D` or `DepthwiseCondConv2D`.
        kernel: the plain kernel, in the shape of one expert.
        bias: the plain bias, or None.
    """

    layer: BaseCondConv2D
    kernel: np.ndarray
    bias: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Counterpart:
    """What stands in the place of a plain layer.

    Attributes:
        plain: the layer.
        parts: its CondConv layers, in the order in which they are called.
        before, after: layers that are called before and after them.
    """

    plain: keras.Layer
    parts: Sequence[Part]
    before: Sequence[keras.Layer] = ()
    after: Sequence[keras.Layer] = ()

    def __call__(self, inputs: Tensor, router: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The outputs of the place; the layers have routers of their own without a `router`, of a feature map."""
        for layer in self.before:
            inputs = layer(inputs)
        routing = () if router is None else (router(inputs),)
        for part in self.parts:
            inputs = part.layer(inputs, *routing)
        for layer in self.after:
            inputs = layer(inputs)
        return inputs


def is_convertible(layer: Any) -> bool:
    """Whether a layer has a counterpart: a layer of Keras itself; what a subclass computes is not known."""
    return type(layer) in _COUNTERPARTS


def counterpart_of(
    layer: keras.Layer,
    calls: Sequence[Call],
    num_experts: int,
    routing_options: Mapping[str, Any] | None,
    name: Callable[[str], str],
) -> Counterpart:
    """Returns the counterpart of a layer as of `is_convertible`.

    Args:
        layer: built layer of a functional model.
        calls: its calls in the model.
        num_experts: positive integer.
        routing_options: of the layers' own routers; None for layers that share one.
        name: function of a wanted name that returns a free one.

    Raises:
        UserError: the layer is quantized, or a `Dense` that is called on inputs of unlike rank or of more than four
            axes.
    """
    if getattr(layer, "quantization_mode", None):
        raise UserError(
            f"expected a layer of floating-point weights to convert, {layer.name!r} is quantized to "
            f"{layer.quantization_mode}: leave it out of `layers`"
        )
    experts = {"num_experts": num_experts, "routing_options": routing_options}
    return _COUNTERPARTS[type(layer)](layer, calls, experts, name)


def _conv(
    layer: keras.Layer, calls: Sequence[Call], experts: dict[str, Any], name: Callable[[str], str]
) -> Counterpart:
    same = ("filters", "groups", *_rules("kernel"), *_CONV, *_LAST)
    cond = CondConv2D(**_taken(layer, same), **experts)
    return Counterpart(layer, [Part(cond, _array(layer.kernel), _bias(layer))])


def _depthwise_conv(
    layer: keras.Layer, calls: Sequence[Call], experts: dict[str, Any], name: Callable[[str], str]
) -> Counterpart:
    same = ("depth_multiplier", *_rules("depthwise"), *_CONV, *_LAST)
    cond = DepthwiseCondConv2D(**_taken(layer, same), **experts)
    return Counterpart(layer, [Part(cond, _array(layer.kernel), _bias(layer))])


def _separable_conv(
    layer: keras.Layer, calls: Sequence[Call], experts: dict[str, Any], name: Callable[[str], str]
) -> Counterpart:
    first = _taken(layer, ("depth_multiplier", *_rules("depthwise"), *_CONV))
    first |= {"name": name(f"{layer.name}_depthwise"), "use_bias": False}
    pointwise = {f"kernel_{rule}": getattr(layer, f"pointwise_{rule}") for rule in _KERNEL_RULES}
    last = {**_taken(layer, ("filters", "data_format", *_LAST)), **pointwise, "kernel_size": 1}
    parts = [
        Part(DepthwiseCondConv2D(**first, **experts), _array(layer.depthwise_kernel), None),
        Part(CondConv2D(**last, **experts), _array(layer.pointwise_kernel), _bias(layer)),
    ]
    return Counterpart(layer, parts)


def _dense(
    layer: keras.Layer, calls: Sequence[Call], experts: dict[str, Any], name: Callable[[str], str]
) -> Counterpart:
    before, after, own = _around_dense(layer, calls, name)
    config = {
        **_taken(layer, (*_rules("kernel"), *_LAST)),
        **own,
        "filters": layer.units,
        "kernel_size": 1,
        "data_format": "channels_last",
    }
    cond = CondConv2D(**config, **experts)
    return Counterpart(layer, [Part(cond, _array(layer.kernel)[np.newaxis, np.newaxis], _bias(layer))], before, after)


def _around_dense(
    layer: keras.Layer, calls: Sequence[Call], name: Callable[[str], str]
) -> tuple[Sequence[keras.Layer], Sequence[keras.Layer], dict[str, Any]]:
    """Layers before and after the convolution that a dense layer becomes, and what they change in its configuration."""
    shapes = {tuple(call.inputs[0].shape) for call in calls}
    if len({len(shape) for shape in shapes}) > 1 or not all(len(shape) in (2, 3, 4) for shape in shapes):
        raise UserError(
            f"expected inputs of 2, 3 or 4 axes, alike in all calls, of the dense layer {layer.name!r} to convert, "
            f"received {', '.join(map(str, sorted(shapes, key=len)))}: leave it out of `layers`"
        )
    shape = next(iter(shapes))
    if len(shape) == 4:
        return (), (), {}
    # One pixel, or a column of them: its length is left open, as several calls may differ in it.
    rows = (1,) if len(shape) == 2 else (-1,)
    dtype = layer.dtype_policy
    before = MaskedReshape((*rows, 1, shape[-1]), dtype=dtype, name=name(f"{layer.name}_to_map"))
    back = (layer.units,) if len(shape) == 2 else (-1, layer.units)
    own = {"name": name(f"{layer.name}_condconv")}
    if layer.activation is keras.activations.linear and layer.activity_regularizer is None:
        return (before,), (MaskedReshape(back, dtype=dtype, name=layer.name),), own
    # An activation may depend on the axes, as a softmax over other ones does.
    reshape = MaskedReshape(back, dtype=dtype, name=name(f"{layer.name}_from_map"))
    activation = keras.layers.Activation(
        _copied(layer.activation), activity_regularizer=layer.activity_regularizer, dtype=dtype, name=layer.name
    )
    return (before,), (reshape, activation), {**own, "activation": None, "activity_regularizer": None}


_CONV = ("kernel_size", "strides", "padding", "data_format", "dilation_rate", "name", "trainable", "dtype")
_LAST = (
    *("activation", "use_bias", "activity_regularizer", "bias_initializer", "bias_regularizer", "bias_constraint"),
    *("name", "trainable", "dtype"),
)


def _rules(kernel: str) -> tuple[str, ...]:
    return tuple(f"{kernel}_{rule}" for rule in _KERNEL_RULES)


def _taken(layer: keras.Layer, names: Sequence[str]) -> dict[str, Any]:
    """Arguments of a layer by name: the objects, as not every one of a user's own can be made again of its name."""
    taken = {name: _copied(getattr(layer, name)) for name in names if name != "dtype"}
    return taken | ({"dtype": layer.dtype_policy} if "dtype" in names else {})


def _copied(value: Any) -> Any:
    """A copy of an activation that is a layer, such as a `PReLU`, with its weights; all else as it is."""
    if not isinstance(value, keras.Layer):
        return value
    copy = type(value).from_config(value.get_config())
    if value.weights:
        copy.build_from_config(value.get_build_config())
        copy.set_weights(value.get_weights())
    return copy


def _bias(layer: keras.Layer) -> np.ndarray | None:
    return _array(layer.bias) if layer.use_bias else None


def _array(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


_COUNTERPARTS = {
    keras.layers.Conv2D: _conv,
    keras.layers.DepthwiseConv2D: _depthwise_conv,
    keras.layers.SeparableConv2D: _separable_conv,
    keras.layers.Dense: _dense,
}
