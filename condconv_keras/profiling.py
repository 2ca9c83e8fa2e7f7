"""Parameters and multiply-adds of any Keras model, with the cost of conditional kernels apart.

Counting rules, per image:

- One multiply-add per multiply-accumulate of a convolution or a dense layer. No bias, normalization or activation.
- A CondConv layer costs its plain layer (`convolution`), plus one multiply-add per expert and kernel weight to mix the
  example's kernel (`mixing`, n * |W|, biases excluded), plus its router (`routing`, channels * n for every call of a
  router; a router shared by several layers runs once). This is the combine form of the paper, section 3, whichever
  form the layer computes with.
- `elementwise` counts one per element of residual sums and products (Add, Multiply) and of global average pooling
  (GlobalAveragePooling2D). It is not part of `multiply_adds`: published figures differ in whether they include it.

Layers are counted per call, so a shared layer counts as often as it runs. The layers of `_COUNTING_RULES` and their
subclasses count, wherever they are nested; other layers (attention, recurrent cells) and bare `keras.ops` do not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import keras

from condconv_keras.layers import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.utils.annotations import Tensor
from condconv_keras.utils.keras_graph import all_layers, wrapped_call


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """Operations on one image by kind; the module's docstring has the counting rules."""

    convolution: int = 0
    mixing: int = 0
    routing: int = 0
    elementwise: int = 0

    @property
    def multiply_adds(self) -> int:
        """Convolution, mixing and routing together."""
        return self.convolution + self.mixing + self.routing


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerProfile(Cost):
    """The cost of one call of one layer.

    Attributes:
        name: the layer's name.
        type: the layer's class name.
        input_shape: shape of the first input, for a batch of one.
        output_shape: shape of the output, for a batch of one.
    """

    name: str
    type: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile(Cost):
    """The size and the cost of a model.

    Attributes:
        parameters: scalars in all weights.
        trainable_parameters: scalars in the trainable weights.
        layers: tuple of `LayerProfile`, one for each call of a counted layer, in the order of the calls.
    """

    parameters: int
    trainable_parameters: int
    layers: tuple[LayerProfile, ...]


def profile(model: keras.Model, input_shape: Sequence[int] | None = None) -> Profile:
    """Profiles a model by running it once, in inference mode, on an image of zeros.

    The model is left as it was, except that a model that was not built yet is built.

    Args:
        model: any Keras model: functional, sequential, subclassed, nested.
        input_shape: shape of one input without the batch axis. It is needed when the model does not know its input or
            leaves a size open.

    Returns:
        A `Profile`.

    Raises:
        ValueError: the input's shape is not known.

    Examples:
        >>> profile(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])).multiply_adds
        3888
    """
    rows = [row for _, row in layer_costs(model, input_shape)]
    return Profile(
        **{field.name: sum(getattr(row, field.name) for row in rows) for field in dataclasses.fields(Cost)},
        parameters=model.count_params(),
        trainable_parameters=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        layers=tuple(rows),
    )


def layer_costs(model: keras.Model, input_shape: Sequence[int] | None = None) -> list[tuple[keras.Layer, LayerProfile]]:
    """The counted layers of a model with the cost of each of their calls, in the order of the calls.

    Args:
        model, input_shape: as of `profile`, with its errors.
    """
    inputs = _zeros(model, input_shape)
    if not all(layer.built for layer in all_layers(model)):
        # A layer may create its sublayers when it is built.
        model(inputs, training=False)
    with _recorded_calls(model) as rows:
        model(inputs, training=False)
    return rows


def _zeros(model: keras.Model, input_shape: Sequence[int] | None) -> Tensor:
    """A batch of one for the model, in the structure that the model takes."""
    if input_shape is not None:
        return keras.ops.zeros((1, *input_shape))
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"`input_shape` must be given for a model that does not know its input. Received: model {model.name!r}"
        )

    def zeros(tensor: Tensor) -> Tensor:
        if None in tensor.shape[1:]:
            raise ValueError(
                f"`input_shape` must be given for an open input size. Received: an input of shape {tensor.shape}"
            )
        return keras.ops.zeros((1, *tensor.shape[1:]), dtype=tensor.dtype)

    # A sequential model has the list only, and takes its one input bare.
    return keras.tree.map_structure(zeros, getattr(model, "input", model.inputs[0]))


@contextlib.contextmanager
def _recorded_calls(model: keras.Model) -> Iterator[list[tuple[keras.Layer, LayerProfile]]]:
    """While open, every call of a counted layer appends it and its `LayerProfile` to the list that is yielded."""
    rows: list[tuple[keras.Layer, LayerProfile]] = []
    with contextlib.ExitStack() as stack:
        for layer in all_layers(model):
            count = _counting_rule(layer)
            if count is not None:
                stack.enter_context(wrapped_call(layer, _recorder(layer, count, rows)))
        yield rows


def _recorder(layer: keras.Layer, count: _Rule, rows: list[tuple[keras.Layer, LayerProfile]]) -> Callable[..., Any]:
    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            outputs = call(*args, **kwargs)
            inputs = [tuple(x.shape) for x in keras.tree.flatten((args, kwargs)) if hasattr(x, "shape")]
            output = tuple(outputs.shape)
            cost = count(layer, inputs, output)
            row = LayerProfile(
                name=layer.name,
                type=type(layer).__name__,
                input_shape=inputs[0],
                output_shape=output,
                **dataclasses.asdict(cost),
            )
            rows.append((layer, row))
            return outputs

        return recorded

    return wrap


def _counting_rule(layer: keras.Layer) -> _Rule | None:
    return next((rule for types, rule in _COUNTING_RULES if isinstance(layer, types)), None)


# A rule takes the layer, the shapes of its inputs and the shape of its output, for a batch of one.
_Shape: TypeAlias = tuple[int, ...]
_Rule: TypeAlias = Callable[[Any, list[_Shape], _Shape], Cost]


def _conv_or_dense(layer: keras.Layer, inputs: list[_Shape], output: _Shape) -> Cost:
    return Cost(convolution=math.prod(output) * math.prod(layer.kernel.shape[:-1]))


def _depthwise_conv(layer: keras.Layer, inputs: list[_Shape], output: _Shape) -> Cost:
    return Cost(convolution=math.prod(output) * math.prod(layer.kernel.shape[:-2]))


def _separable_conv(layer: keras.Layer, inputs: list[_Shape], output: _Shape) -> Cost:
    pixels = math.prod(output) // layer.filters
    weights = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    return Cost(convolution=pixels * weights)


def _conv_transpose(layer: keras.Layer, inputs: list[_Shape], output: _Shape) -> Cost:
    # Every input value is multiplied by the kernel [kh, kw, filters, channels] of its channel.
    return Cost(convolution=math.prod(inputs[0]) * math.prod(layer.kernel.shape[:-1]))


def _cond_conv(layer: CondConv2D, inputs: list[_Shape], output: _Shape) -> Cost:
    experts, weights = layer.condconv_kernel.shape
    return Cost(convolution=math.prod(output) // layer.filters * weights, mixing=experts * weights)


def _depthwise_cond_conv(layer: DepthwiseCondConv2D, inputs: list[_Shape], output: _Shape) -> Cost:
    mixing = math.prod(layer.depthwise_condconv_kernel.shape)
    return Cost(convolution=math.prod(output) * math.prod(layer.kernel_size), mixing=mixing)


def _routing(layer: Routing, inputs: list[_Shape], output: _Shape) -> Cost:
    return Cost(routing=math.prod(layer.kernel.shape))


def _merge(layer: keras.Layer, inputs: list[_Shape], output: _Shape) -> Cost:
    return Cost(elementwise=math.prod(output) * (len(inputs) - 1))


def _global_average_pooling(layer: keras.Layer, inputs: list[_Shape], output: _Shape) -> Cost:
    return Cost(elementwise=math.prod(inputs[0]))


_COUNTING_RULES = (
    ((keras.layers.Conv2D, keras.layers.Dense), _conv_or_dense),
    (keras.layers.DepthwiseConv2D, _depthwise_conv),
    (keras.layers.SeparableConv2D, _separable_conv),
    (keras.layers.Conv2DTranspose, _conv_transpose),
    (CondConv2D, _cond_conv),
    (DepthwiseCondConv2D, _depthwise_cond_conv),
    (Routing, _routing),
    ((keras.layers.Add, keras.layers.Multiply), _merge),
    (keras.layers.GlobalAveragePooling2D, _global_average_pooling),
)
