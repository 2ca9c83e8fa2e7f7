"""The end of any Keras classifier: its classifying layer, made to return logits of the classes that are to be trained.

Behind the classifying layer, the last `Dense` or 1x1 convolution, there may be layers without weights: a reshape to
[batch, classes], a pooling, a softmax. They stay, but for the softmax.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras

from condconv_keras.layers import CondConv2D
from condconv_keras.layers.copying import copy_graph
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import computes_its_graph, graph_calls, producer_of

_KEPT_ACTIVATIONS = ("linear", "log_softmax")  # of logits; a softmax does not change those of log_softmax
_DROPPED = ("softmax",)


@dataclasses.dataclass(frozen=True)
class LogitsModel:
    """A classifier that returns logits.

    Attributes:
        model: functional model of the layers of the given one, but for the classifying layer.
        classifier: name of the classifying layer, behind those of the models inside the model that it lies in.
        is_new: whether its weights are.
    """

    model: keras.Model
    classifier: str
    is_new: bool


@dataclasses.dataclass(frozen=True)
class _End:
    """The end of a model: the classifying layer or the model that holds it, those behind it, and those before.

    Before it are a dropout, what reshapes, and a router of its own.
    """

    layer: Any
    behind: Sequence[Any]
    before: Sequence[Any]


def with_logits(
    model: keras.Model, classes: int, renew: bool, layer_name: str | None = None, dropout_rate: float = 0.0
) -> LogitsModel:
    """Returns a classifier that returns logits [batch, classes] in place of a given one's logits or probabilities.

    Args:
        model: built functional or sequential model of one output. Its layers become those of the result.
        classes: number of classes.
        renew: whether the classifying layer gets new weights; it does where the classes are more or fewer.
        layer_name: of the classifying layer; None for the last one with weights.
        dropout_rate: part of the classifying layer's inputs that is dropped in training; 0 for what the model does.

    Raises:
        UserError: the classifying layer is not found, or is none; it is kept and returns neither logits nor a softmax.
    """
    graph = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    end = _end(graph, layer_name)
    if sum(operation is end.layer for operation, _ in graph_calls(graph)) > 1:
        raise UserError(f"expected a classifying layer that is called once, {end.layer.name!r} is called more often")
    if isinstance(end.layer, keras.Model):
        inner = with_logits(end.layer, classes, renew, layer_name, dropout_rate)
        classifier, new, old_classes = f"{end.layer.name}/{inner.classifier}", inner.model, classes
        renew = inner.is_new
    else:
        old_classes = _classes(end.layer)
        renew = renew or old_classes != classes
        classifier, new = end.layer.name, _classifying_layer(end.layer, classes, renew)
    replaced = {id(layer): _behind(layer, old_classes, classes, renew) for layer in end.behind}
    replaced[id(end.layer)] = new
    added = None
    if dropout_rate and not isinstance(new, keras.Model):
        own = [layer for layer in end.before if isinstance(layer, keras.layers.Dropout)]
        replaced |= {id(layer): type(layer).from_config({**layer.get_config(), "rate": dropout_rate}) for layer in own}
        added = None if own else keras.layers.Dropout(dropout_rate, name=f"{new.name}_dropout")

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer is _LEFT_OUT:
            return args[0]
        if layer is new and added is not None:
            args = (added(args[0]), *args[1:])
        return layer(*args, **kwargs)

    renewed = copy_graph(graph, lambda layer: replaced.get(id(layer), layer), call, recursive=False)
    if not isinstance(new, keras.Model):
        if not renew:
            new.set_weights(end.layer.get_weights())
        new.trainable = end.layer.trainable
    _check_outputs(renewed, classes, classifier)
    return LogitsModel(renewed, classifier, renew)


def trained_alone(model: keras.Model, layer_name: str | None = None) -> tuple[str, ...]:
    """The names of the layers of a model that are trained while a new classifier learns what the features mean.

    They are the one that is the classifying layer or contains it, its router, a dropout before it, and all behind it.

    Args:
        model: functional or sequential model, as of `with_logits`.
        layer_name: as there.
    """
    end = _end(model, layer_name)
    return tuple(layer.name for layer in (end.layer, *end.before, *end.behind))


def _check_outputs(model: keras.Model, classes: int, classifier: str) -> None:
    if model.output_shape != (None, classes):
        raise UserError(
            f"expected a classifier that returns [images, {classes}] with its layer {classifier!r} for {classes} "
            f"classes, it returns {model.output_shape}"
        )


_LEFT_OUT = object()


def _end(model: keras.Model, layer_name: str | None) -> _End:
    """The `_End` of a functional model."""
    behind: list[Any] = []
    tensor = model.outputs[0]
    while True:
        operation, (inputs, _) = producer_of(tensor)
        if _is_inner(operation) or operation.name == layer_name or (layer_name is None and _is_classifying(operation)):
            break
        if len(inputs) != 1 or (layer_name is None and getattr(operation, "weights", None)):
            wanted = f"the layer {layer_name!r}" if layer_name else "a Dense layer or a 1x1 convolution"
            raise UserError(
                f"expected {wanted} at the end of the model {model.name!r}, that classifies, met {operation.name!r}, a "
                f"{type(operation).__name__}: `classifier_layer` names the layer that does"
            )
        behind.append(operation)
        tensor = inputs[0]
    if not _is_inner(operation) and not _is_classifying(operation):
        raise UserError(
            f"expected a Dense layer or a 1x1 convolution in `classifier_layer`, {operation.name!r} is a "
            f"{type(operation).__name__}"
        )
    before = [producer_of(tensor)[0] for tensor in inputs[1:]]
    operation_before, call = producer_of(inputs[0])
    while isinstance(operation_before, keras.layers.Dropout | keras.layers.Flatten | keras.layers.Reshape):
        before.append(operation_before)
        operation_before, call = producer_of(call.inputs[0])
    return _End(operation, behind, before)


def _is_inner(operation: Any) -> bool:
    """Whether an operation is a model inside the model that may hold the classifying layer."""
    return isinstance(operation, keras.Model) and computes_its_graph(operation) and bool(operation.weights)


def _is_classifying(operation: Any) -> bool:
    if isinstance(operation, keras.layers.Dense):
        return True
    return isinstance(operation, keras.layers.Conv2D | CondConv2D) and math.prod(operation.kernel_size) == 1


def _classes(layer: keras.Layer) -> int:
    return layer.units if isinstance(layer, keras.layers.Dense) else layer.filters


def _classifying_layer(layer: keras.Layer, classes: int, renew: bool) -> keras.Layer:
    """The layer without its softmax, and where it is renewed for these classes."""
    activation = keras.activations.serialize(layer.activation)
    if not renew and activation not in (*_KEPT_ACTIVATIONS, *_DROPPED):
        raise _no_logits(layer, activation)
    keeps = not renew and activation in _KEPT_ACTIVATIONS
    size = "units" if isinstance(layer, keras.layers.Dense) else "filters"
    changes = {size: classes, "activation": activation if keeps else "linear"}
    return type(layer).from_config({**layer.get_config(), **changes})


def _behind(layer: Any, old_classes: int, classes: int, renew: bool) -> Any:
    """What stands in the place of a layer behind the classifying one."""
    activation = _activation(layer)
    if activation in _DROPPED or (renew and activation == "sigmoid"):
        return _LEFT_OUT
    if activation is not None and activation not in _KEPT_ACTIVATIONS:
        raise _no_logits(layer, activation)
    if isinstance(layer, keras.layers.Reshape) and layer.target_shape[-1] == old_classes != classes:
        shape = (*layer.target_shape[:-1], classes)
        return type(layer).from_config({**layer.get_config(), "target_shape": shape})
    return layer


def _activation(layer: Any) -> str | None:
    """The name of the activation that a layer or operation without weights is, or None if it is none."""
    if isinstance(layer, keras.layers.Activation):
        return str(keras.activations.serialize(layer.activation))
    # Of `keras.layers` and of `keras.ops` alike.
    return {"Softmax": "softmax", "Sigmoid": "sigmoid", "LogSoftmax": "log_softmax"}.get(type(layer).__name__)


def _no_logits(layer: Any, activation: Any) -> UserError:
    return UserError(
        f"expected a classifier that ends in logits or a softmax to train on, its layer {layer.name!r} ends in "
        f"{activation!r}"
    )
