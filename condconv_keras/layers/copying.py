"""Copies of the graphs of functional and sequential models, with layers of one's own in the places of theirs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from condconv_keras.facts.created_models import remember_copy
from condconv_keras.layers.batch_normalization import use_fused_batch_norm
from condconv_keras.layers.strided_conv import slice_strided_1x1
from condconv_keras.utils.keras_graph import all_layers, producer_of, renew_normalizations


def copy_value(variable: keras.Variable, new: keras.Variable) -> None:
    """Gives a variable the value of another. On TensorFlow both have it once until either is changed."""
    # On JAX they would have it once for good, and what Keras compiles uses the memory of its variables again.
    shared = keras.backend.backend() == "tensorflow"
    new.assign(variable if shared else np.array(keras.ops.convert_to_numpy(variable)))


def copy_weights(layer: keras.Layer, new: keras.Layer) -> None:
    """Gives the copy of a layer the values of the layer's weights, as of `copy_value`."""
    for weight, copy in zip(layer.weights, new.weights, strict=True):
        copy_value(weight, copy)


def finished_copy(copy: keras.Model, model: keras.Model) -> keras.Model:
    """Returns the copy of a model, whose weights it has, with what is no part of a configuration."""
    renew_normalizations(copy)
    return remember_copy(slice_strided_1x1(use_fused_batch_norm(copy)), model)


def copy_graph(
    model: keras.Model,
    clone: Callable[[Any], Any],
    call: Callable[..., Any] | None = None,
    recursive: bool = True,
) -> keras.Model:
    """Returns a model of the same graph and the same inputs, whose layers are those that `clone` returns.

    Args:
        model: built functional or sequential model, compiled or not. The copy is not compiled.
        clone: function of a layer or operation of the model that returns what stands in its place; called once for
            each of them.
        call: function of what `clone` returned and of the arguments of one of its calls that returns the outputs; None
            to call it. For functional models.
        recursive: whether models inside the model are copied in the same way; else `clone` is given them, too.
    """
    with _not_compiled(model):
        return keras.models.clone_model(model, _inputs_like(model), clone, call_function=call, recursive=recursive)


@contextlib.contextmanager
def _not_compiled(model: keras.Model) -> Iterator[None]:
    """While open, Keras takes a model and those inside it for not compiled.

    It would compile the copy of a compiled one by names, which losses of the user do not have, with a new optimizer.
    """
    compiled = [layer for layer in all_layers(model) if isinstance(layer, keras.Model) and layer.compiled]
    for each in compiled:
        each.compiled = False
    try:
        yield
    finally:
        for each in compiled:
            each.compiled = True


def _inputs_like(model: keras.Model) -> Any:
    """New inputs of a functional model, under the names of its own: Keras takes those of their tensors."""
    if isinstance(model, keras.Sequential):
        return None

    def new_input(tensor: keras.KerasTensor) -> keras.KerasTensor:
        layer = producer_of(tensor)[0]
        return keras.Input(
            batch_shape=tensor.shape,
            dtype=tensor.dtype,
            sparse=tensor.sparse or None,
            name=layer.name,
            optional=getattr(layer, "optional", False),
        )

    return keras.tree.map_structure(new_input, model.input)
