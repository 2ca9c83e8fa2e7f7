"""CondConv for Keras 3: layers, models, data, training, analysis and export.

Importing this package imports no Keras backend: what it offers is resolved on first use, so that scripts which only
need a data class or an error type start at once.
"""

from condconv_keras.registration import register_with_keras
from condconv_keras.utils.lazy import import_module
from condconv_keras.utils.versions import own_version

_HOMES = {
    "CondConv2D": "condconv_keras.layers",
    "DepthwiseCondConv2D": "condconv_keras.layers",
    "Routing": "condconv_keras.layers",
    "create_model": "condconv_keras.pretrained",
    "list_models": "condconv_keras.models",
    "load_model": "condconv_keras.stored.loading",
}
_MODULES = ("analysis", "data", "export", "layers", "models", "profiling", "training", "weights")

__all__ = [
    "CondConv2D",
    "DepthwiseCondConv2D",
    "Routing",
    "__version__",
    "analysis",
    "create_model",
    "data",
    "export",
    "layers",
    "list_models",
    "load_model",
    "models",
    "profiling",
    "training",
    "weights",
]


def __getattr__(name):
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name == "__version__":
        return own_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})


register_with_keras()
