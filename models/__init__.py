"""The model zoo under the name that a checkout has for it; the library is `condconv_keras`."""

from condconv_keras.models import CondConvPlacement, ModelEntry, list_models, model_entry
from condconv_keras.pretrained import create_model

__all__ = ["CondConvPlacement", "ModelEntry", "create_model", "list_models", "model_entry"]
