"""The end of any Keras classifier: its classifying layer, made to return logits of the classes that are to be trained.

Behind the classifying layer, the last `Dense` or 1x1 convolution, there may be layers without weights: a reshape to
[batch, classes], a pooling, a softmax at last. They stay, but for the softmax. Others would make something else of the
logits.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras

from condconv_keras.layers import CondConv2D
from condconv_keras.layers.copying import copy_graph
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import graph_calls, is_graph, producer_of

_KEPT_ACTIVATIONS = ("linear", "log_softmax")  # of logits; a softmax does not change those of log_softmax
_DROPPED = ("softmax",)
# Classes of layers and operations that may come behind the classifying layer, of `keras.layers` and `keras.ops` alike;
# behind a softmax only those that change no value.
_RESHAPING = ("Reshape", "MaskedReshape", "Flatten", "Squeeze", "ExpandDims", "Identity", "Cast", "Dropout")
_POOLING = ("GlobalAveragePooling2D", "GlobalMaxPooling2D", "Mean", "Max")
# What a new layer does not take over from the one in whose place it stands.
_OF_OLD_WEIGHTS = ("lora_rank", "lora_alpha", "quantization_config")


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
        layer_name: of the classifying layer; None for the last `Dense` or 1x1 convolution, behind which nothing has
            weights.
        dropout_rate: part of the classifying layer's inputs that is dropped in training; 0 for what the model does.

    Raises:
        UserError: the classifying layer is not found, or is none; it is kept and returns neither logits nor a softmax.
    """
    if len(model.inputs) > 1 or len(model.outputs) > 1:
        raise UserError(f"expected a classifier of one input and one output, the model {model.name!r} has more")
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
    replaced, is_softmax = {}, not renew and _activation(end.layer) in _DROPPED
    for layer in reversed(end.behind):
        replaced[id(layer)] = _behind(layer, old_classes, classes, renew, is_softmax)
        is_softmax = is_softmax or _activation(layer) in _DROPPED
    replaced[id(end.layer)] = new
    added = None
    if dropout_rate and not isinstance(new, keras.Model):
        own = [layer for layer in end.before if isinstance(layer, keras.layers.Dropout)]
        replaced |= {id(layer): type(layer).from_config({**layer.get_config(), "rate": dropout_rate}) for layer in own}
        name = _free_name(f"{new.name}_dropout", graph)
        added = None if own else keras.layers.Dropout(dropout_rate, name=name)

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
        new.trainable = renew or end.layer.trainable
    _check_outputs(renewed, classes, classifier)
    return LogitsModel(renewed, classifier, renew)


def trained_alone(model: keras.Model, layer_name: str | None = None) -> list[keras.Layer]:
    """The layers of a model that are trained while a new classifier learns what the features mean.

    They are the classifying layer, also inside a model that the model ends in, its router, a dropout before it, and all
    behind it.

    Args:
        model: functional or sequential model, as of `with_logits`.
        layer_name: as there.
    """
    end = _end(model, layer_name)
    inner = trained_alone(end.layer, layer_name) if isinstance(end.layer, keras.Model) else [end.layer, *end.before]
    return [layer for layer in (*inner, *end.behind) if isinstance(layer, keras.Layer)]


def _free_name(wanted: str, graph: keras.Model) -> str:
    taken = {operation.name for operation in graph.operations}
    names = itertools.chain([wanted], (f"{wanted}_{i}" for i in itertools.count(2)))
    return next(name for name in names if name not in taken)


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
        operation, (inputs, *_) = producer_of(tensor)
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
    return is_graph(operation) and bool(operation.weights)


def _is_classifying(operation: Any) -> bool:
    if isinstance(operation, keras.layers.Dense):
        return True
    is_convolution = isinstance(operation, keras.layers.Conv2D | CondConv2D)
    return is_convolution and math.prod(operation.kernel_size) == 1 and operation.groups == 1


def _classes(layer: keras.Layer) -> int:
    return layer.units if isinstance(layer, keras.layers.Dense) else layer.filters


def _classifying_layer(layer: keras.Layer, classes: int, renew: bool) -> keras.Layer:
    """The layer without its softmax, and where it is renewed for these classes."""
    activation = _activation(layer)
    if not renew and activation not in (*_KEPT_ACTIVATIONS, *_DROPPED):
        raise _no_logits(layer, activation)
    keeps = not renew and activation in _KEPT_ACTIVATIONS
    size = "units" if isinstance(layer, keras.layers.Dense) else "filters"
    config = {name: value for name, value in layer.get_config().items() if not (renew and name in _OF_OLD_WEIGHTS)}
    return type(layer).from_config({**config, size: classes, "activation": activation if keeps else "linear"})


def _behind(layer: Any, old_classes: int, classes: int, renew: bool, is_softmax: bool) -> Any:
    """What stands in the place of a layer behind the classifying one, whose inputs may be a softmax."""
    activation, kind = _activation(layer), type(layer).__name__
    if activation in _DROPPED or (renew and activation == "sigmoid"):
        return _LEFT_OUT
    if activation is not None:
        if activation not in _KEPT_ACTIVATIONS:
            raise _no_logits(layer, activation)
        return layer
    if kind not in _RESHAPING and (kind not in _POOLING or is_softmax):
        raise _no_logits(layer, kind)
    if kind in ("Reshape", "MaskedReshape") and classes != old_classes:
        return _reshape(layer, old_classes, classes)
    return layer


def _reshape(layer: Any, old_classes: int, classes: int) -> Any:
    """The layer that reshapes for these classes what a layer or operation reshapes for others."""
    is_layer = isinstance(layer, keras.layers.Reshape)
    shape = tuple(layer.target_shape if is_layer else layer.newshape[1:])
    if shape[-1:] != (old_classes,):
        return layer
    kind, config = (type(layer), layer.get_config()) if is_layer else (keras.layers.Reshape, {"name": layer.name})
    return kind.from_config({**config, "target_shape": (*shape[:-1], classes)})


def _activation(layer: Any) -> str | None:
    """The name of the activation that a layer ends in, or that an operation is; None for what has none."""
    if isinstance(activation := getattr(layer, "activation", None), keras.Layer):
        return _activation(activation) or type(activation).__name__
    if activation is not None:
        name = keras.activations.serialize(activation)
        return name if isinstance(name, str) else str(getattr(activation, "__name__", type(activation).__name__))
    return _ACTIVATIONS.get(type(layer).__name__)


# Of `keras.layers` and of `keras.ops` alike.
_ACTIVATIONS = {"Softmax": "softmax", "Sigmoid": "sigmoid", "LogSoftmax": "log_softmax"}


def _no_logits(layer: Any, last: Any) -> UserError:
    return UserError(
        f"expected a classifier that ends in logits or a softmax to train on, its layer {layer.name!r} ends in {last!r}"
    )
