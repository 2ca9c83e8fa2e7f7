"""The SavedModel as an export format."""

import numpy as np

from condconv_keras.export.format import ExportFormat
from condconv_keras.export.saved_model import writing
from condconv_keras.stored.predictor import load_saved_model, open_predictor


class SavedModel(ExportFormat):
    """A folder that needs nothing but TensorFlow: `condconv_keras.export.saved_model.writing` says what is in it."""

    is_default = True
    cards = "assets.extra"  # where TensorFlow keeps what it does not read
    box_unit = "pixel"

    def write(self, path, model, card, options):
        writing.write_saved_model(model, card, path)

    def predictor(self, path, model, card, threads=None):
        return open_predictor(path).predict

    def raw_outputs(self, path, model, card, images, threads=None):
        loaded = load_saved_model(path)
        return {name: np.array(value) for name, value in loaded.signatures["raw_outputs"](images=images).items()}
