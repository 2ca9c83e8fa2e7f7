"""Weights of another code base as named arrays.

A reader turns a file into a `WeightSource`; `condconv_keras.weights.assign.assign_weights` puts it into a model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from condconv_keras.utils.lazy import keras
from condconv_keras.utils.lazy import numpy as np


@dataclasses.dataclass(frozen=True)
class WeightSource:
    """The weights of one network, and how another code base names and lays them out.

    Attributes:
        description: for messages, as in `"timm checkpoint 'x.safetensors'"`.
        tensors: NumPy arrays by the source's own names. An import uses each exactly once; a reader leaves out
            bookkeeping, such as step counters and optimizer slots.
        find: function of a built layer of the target and a variable's name in it (`"kernel"`, `"gamma"`), which
            returns the key of its tensor and a function from the source's layout to the variable's. The key may be
            missing in `tensors`. Raises KeyError if the source's naming has no such layer or variable; the function
            may raise ValueError for an array of the wrong size.
        model_arguments: `create_model` arguments that the weights need, as far as the source knows: `padding`,
            `bn_epsilon`, `classes`.
        preprocessing: the fields of `Preprocessing` that the weights were trained with, as far as the source knows.
    """

    description: str
    tensors: Mapping[str, np.ndarray]
    find: Callable[[keras.Layer, str], tuple[str, Callable[[np.ndarray], np.ndarray]]]
    model_arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    preprocessing: Mapping[str, Any] = dataclasses.field(default_factory=dict)
