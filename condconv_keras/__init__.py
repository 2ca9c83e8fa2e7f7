"""CondConv for Keras 3: layers, models, data, training, analysis and export.

Importing this package imports no Keras backend: what it offers is resolved on first use, so that scripts which only
need a data class or an error type start at once.
"""

from typing import TYPE_CHECKING

from condconv_keras.registration import register_with_keras
from condconv_keras.utils.lazy import attach
from condconv_keras.utils.versions import own_version

_HOMES = {
    "AnnealedTemperature": "condconv_keras.layers",
    "CondConv2D": "condconv_keras.layers",
    "DepthwiseCondConv2D": "condconv_keras.layers",
    "Routing": "condconv_keras.layers",
    "card_of": "condconv_keras.models.cards",
    "create_model": "condconv_keras.pretrained",
    "fold": "condconv_keras.layers",
    "list_models": "condconv_keras.models",
    "load_model": "condconv_keras.stored.loading",
    "to_condconv": "condconv_keras.convert.conversion",
    "use_fused_batch_norm": "condconv_keras.layers",
}
_MODULES = ("analysis", "data", "export", "layers", "models", "profiling", "training", "weights")

__all__ = [
    "AnnealedTemperature",
    "CondConv2D",
    "DepthwiseCondConv2D",
    "Routing",
    "__version__",
    "analysis",
    "card_of",
    "create_model",
    "data",
    "export",
    "fold",
    "layers",
    "list_models",
    "load_model",
    "models",
    "profiling",
    "to_condconv",
    "training",
    "use_fused_batch_norm",
    "weights",
]

if TYPE_CHECKING:
    from condconv_keras import analysis, data, export, layers, models, profiling, training, weights
    from condconv_keras.convert.conversion import to_condconv
    from condconv_keras.layers import (
        AnnealedTemperature,
        CondConv2D,
        DepthwiseCondConv2D,
        Routing,
        fold,
        use_fused_batch_norm,
    )
    from condconv_keras.models import list_models
    from condconv_keras.models.cards import card_of
    from condconv_keras.pretrained import create_model
    from condconv_keras.stored.loading import load_model

    __version__: str
else:
    _get, __dir__ = attach(__name__, _HOMES, (*_MODULES, "__version__"))

    def __getattr__(name):
        return own_version() if name == "__version__" else _get(name)


register_with_keras()
