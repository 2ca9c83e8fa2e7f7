"""Models as they are stored: `StoredModel.open` takes what a user gives as `--model`.

A kind of stored model is a subclass; the modules imported here have them all.
"""

from condconv_keras.stored import exports, keras_files, registered
from condconv_keras.stored.model import Predictor, StoredModel

__all__ = ["Predictor", "StoredModel", "exports", "keras_files", "registered"]
