"""Puts a `WeightSource` into a model: all of it, or nothing."""

from __future__ import annotations

import collections
from collections.abc import Callable

import keras
import numpy as np
from keras import backend

from condconv_keras.layers import Routing
from condconv_keras.utils.errors import UserError
from condconv_keras.weights.source import WeightSource

_SHOWN = 10


def assign_weights(model: keras.Model, source: WeightSource) -> None:
    """Sets every variable of a model from a source, each tensor used exactly once.

    Args:
        model: built functional model.
        source: `WeightSource`.

    Raises:
        UserError: a variable without a tensor, a tensor without a variable, a wrong shape, or values that are not
            finite floating-point numbers. The message names the first ten; the model is as it was.
    """
    values, problems, uses = [], [], collections.Counter[str]()
    for layer in model.layers:
        for variable in layer.weights:
            found = _find(source, layer, variable)
            if found is None:
                problems.append(f"nothing for {variable.path}")
                continue
            key, convert = found
            if key not in source.tensors:
                problems.append(f"missing {key!r} for {variable.path}")
                continue
            uses[key] += 1
            value, problem = _converted(source.tensors[key], convert, variable)
            values.append((variable, value))
            if problem:
                problems.append(f"{key!r} for {variable.path} {problem}")
    problems += [f"{key!r} is used {count} times" for key, count in uses.items() if count > 1]
    problems += [f"left over {key!r} {_shape(source.tensors[key])}" for key in source.tensors if key not in uses]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise UserError(
            f"{source.description} does not fit the model {model.name!r}: {'; '.join(problems[:_SHOWN])}{more}"
        )
    for variable, value in values:
        variable.assign(value)


def check_experts(model: keras.Model, source: WeightSource) -> None:
    """Raises a `UserError` that names both numbers if the source has another number of experts than the model."""
    for layer in model.layers:
        if not isinstance(layer, Routing) or not layer.use_bias:
            continue
        bias = next(variable for variable in layer.weights if variable.name == "bias")
        found = _find(source, layer, bias)
        experts = source.tensors[found[0]].size if found and found[0] in source.tensors else layer.num_experts
        if experts != layer.num_experts:
            raise UserError(
                f"{source.description} has {experts} experts, the model {model.name!r} {layer.num_experts}: "
                f"pass `num_experts={experts}`"
            )


def _find(
    source: WeightSource, layer: keras.Layer, variable: keras.Variable
) -> tuple[str, Callable[[np.ndarray], np.ndarray]] | None:
    try:
        return source.find(layer, variable.name)
    except KeyError:
        return None


def _converted(
    tensor: np.ndarray, convert: Callable[[np.ndarray], np.ndarray], variable: keras.Variable
) -> tuple[np.ndarray | None, str | None]:
    """The array of a variable and None, or what is wrong with it."""
    if not _is_floating(tensor):
        return None, f"is {tensor.dtype}, not floating-point"
    try:
        with np.errstate(over="ignore"):  # found below
            value = convert(np.asarray(tensor, np.float32))
    except ValueError:
        value = None
    if value is None or value.shape != tuple(variable.shape):
        return None, f"has shape {_shape(tensor)}, which does not give {tuple(variable.shape)}"
    if not np.isfinite(value).all():
        return None, "has values that are not finite"
    return value, None


def _is_floating(tensor: np.ndarray) -> bool:
    # bfloat16 is no floating type of NumPy's own.
    return backend.is_float_dtype(str(tensor.dtype))


def _shape(tensor: np.ndarray) -> tuple[int, ...]:
    return tuple(np.shape(tensor))
