"""How a network's own `Rescaling` or `Normalization` takes pixels: in 0..255, or in 0..1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from condconv_keras.utils.keras_graph import graph_calls, is_graph

PIXELS, UNITS = {"mean": 0.0, "std": 1.0}, {"mean": 0.0, "std": 255.0}
# What a network is fed lies between minus and plus this, whatever scales it.
_LARGEST = 8.0
# Layers that leave the range of pixels as it is, besides those of augmentation.
_PASSING = (keras.layers.Identity, keras.layers.ZeroPadding2D, keras.layers.Cropping2D, keras.layers.Reshape)


def found_scaling(model: keras.Model) -> dict[str, float] | None:
    """Returns the `mean` and `std` of the `Preprocessing` of a model that scales its inputs itself, else None.

    The first layer behind the input but augmentation, resizing and padding says it where it is a `Rescaling` or a
    `Normalization`: a division by 255 or statistics of several tens take 0..255, a factor of 2 or a standard deviation
    of a quarter 0..1. None, too, where either could be meant.

    Args:
        model: built functional or sequential model of one input.
    """
    for layer in _first_layers(model):
        if isinstance(layer, keras.layers.Rescaling):
            scale, offset = (np.abs(np.asarray(value, np.float64)).max() for value in (layer.scale, layer.offset))
            if (scale, offset) != (1, 0):
                return PIXELS if scale * 255 <= _LARGEST or offset > _LARGEST else UNITS
        elif isinstance(layer, keras.layers.Normalization):
            return None if layer.invert else _of_normalization(layer)
        elif not isinstance(layer, _PASSING) and not _is_augmentation(layer):
            return None
    return None


def _first_layers(model: keras.Model) -> Iterator[Any]:
    """The layers and operations that the input passes one after the other, those of models inside the model, too."""
    graph = keras.Model(model.inputs[0], model.outputs[0])
    calls, tensor = graph_calls(graph), graph.inputs[0]
    while True:
        found = [(layer, call) for layer, call in calls if any(each is tensor for each in call.inputs)]
        if len(found) != 1:
            return
        layer, call = found[0]
        if is_graph(layer):
            yield from _first_layers(layer)
        else:
            yield layer
        tensor = call.outputs[0]


def _is_augmentation(layer: Any) -> bool:
    return isinstance(layer, keras.Layer) and ".layers.preprocessing." in type(layer).__module__


def _of_normalization(layer: keras.layers.Normalization) -> dict[str, float] | None:
    mean, deviation = np.asarray(layer.mean, np.float64), np.sqrt(np.asarray(layer.variance, np.float64))
    if deviation.max() > _LARGEST or mean.max() > _LARGEST:
        return PIXELS
    return UNITS if (mean > 0).all() and (mean < 1).all() and deviation.max() <= 0.5 else None
