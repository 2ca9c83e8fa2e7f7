"""Models with their cards under the name that is documented since 0.1: `load_model("runs/digits/model.keras")`."""

from condconv_keras.facts.model_card import TASKS, DetectorCard, ModelCard, archived_card
from condconv_keras.models.saving import load_keras_file as load_model
from condconv_keras.models.saving import save_model

__all__ = ["TASKS", "DetectorCard", "ModelCard", "archived_card", "load_model", "save_model"]
