"""The SavedModel as an export format."""

import numpy as np

from condconv_keras.export.format import ExportFormat
from condconv_keras.export.saved_model import writing
from condconv_keras.models.saved_networks import EXTRA
from condconv_keras.stored import StoredModel


class SavedModel(ExportFormat):
    """A folder that needs nothing but TensorFlow: `condconv_keras.export.saved_model.writing` says what is in it."""

    is_default = True
    cards = EXTRA
    box_unit = "pixel"

    def write(self, path, model, card, options):
        writing.write_saved_model(model, card, path)

    def predictor(self, path, model, card, threads=None):
        return StoredModel.open(path).predictor().predict

    def raw_outputs(self, path, model, card, images, threads=None):
        loaded = StoredModel.open(path).load_signatures()
        return {name: np.array(value) for name, value in loaded.signatures["raw_outputs"](images=images).items()}
