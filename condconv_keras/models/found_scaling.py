"""How a network's own `Rescaling` or `Normalization` takes pixels: in 0..255, or in 0..1."""

from __future__ import annotations

import keras
import numpy as np

from condconv_keras.utils.keras_graph import all_layers

PIXELS, UNITS = {"mean": 0.0, "std": 1.0}, {"mean": 0.0, "std": 255.0}
# What a network is fed lies between minus and plus this, whatever scales it.
_LARGEST = 8.0


def found_scaling(model: keras.Model) -> dict[str, float] | None:
    """Returns the `mean` and `std` of the `Preprocessing` of a model that scales its inputs itself, else None.

    The first `Rescaling` or `Normalization` says what it takes: a division by 255 or statistics of several tens take
    0..255, a factor of 2 or a standard deviation of a quarter 0..1. None, too, where either could be meant.

    Args:
        model: built functional or sequential model.
    """
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.Rescaling):
            return _of_rescaling(layer)
        if isinstance(layer, keras.layers.Normalization):
            return _of_normalization(layer)
    return None


def _of_rescaling(layer: keras.layers.Rescaling) -> dict[str, float] | None:
    scale, offset = (np.abs(np.asarray(value, np.float64)).max() for value in (layer.scale, layer.offset))
    if scale * 255 <= _LARGEST or offset > _LARGEST:
        return PIXELS
    return None if scale == 1 and offset == 0 else UNITS


def _of_normalization(layer: keras.layers.Normalization) -> dict[str, float] | None:
    mean, deviation = np.asarray(layer.mean, np.float64), np.sqrt(np.asarray(layer.variance, np.float64))
    if deviation.max() > _LARGEST or mean.max() > _LARGEST:
        return PIXELS
    return UNITS if (mean > 0).all() and (mean < 1).all() and deviation.max() <= 0.5 else None
