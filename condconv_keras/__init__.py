"""CondConv for Keras 3: layers, data, training and analysis.

Importing this package imports no Keras backend: the layer classes are resolved on first use, so that scripts which
only need a data class or an error type start at once.
"""

import importlib

from condconv_keras.registration import register_with_keras

_LAYERS = ("CondConv2D", "DepthwiseCondConv2D", "Routing")

__all__ = ["CondConv2D", "DepthwiseCondConv2D", "Routing"]


def __getattr__(name):
    if name in _LAYERS:
        return getattr(importlib.import_module("condconv_keras.layers"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_LAYERS])


register_with_keras()
