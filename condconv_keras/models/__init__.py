"""The model zoo: plain and CondConv networks by name.

Importing this package, listing names and reading entries import no Keras backend.
"""

from condconv_keras.models.building import build_model
from condconv_keras.models.entry import ModelEntry
from condconv_keras.models.placement import CondConvPlacement
from condconv_keras.models.registry import list_models, model_entry

__all__ = ["CondConvPlacement", "ModelEntry", "build_model", "list_models", "model_entry"]
