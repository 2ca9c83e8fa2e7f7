"""Converts a classifier to a float32 TFLite file."""

import pathlib
import tempfile

from condconv_keras.errors import UserError
from export.saved_model import write_saved_model


def tflite_bytes(model, card):
    """Converts a classifier to TFLite with builtin operators only.

    The file has the signature of the SavedModel (`export.saved_model`) for a batch of one: LiteRT needs static kernel
    shapes to convolve with a kernel that is mixed at run time.

    Args:
        model: Keras classifier.
        card: its `ModelCard`.

    Returns:
        The bytes of the file.

    Raises:
        UserError: the model has an operation that TFLite lacks.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        # Through a SavedModel: converting the Keras model's functions leaves its variables outside the file.
        path = pathlib.Path(folder) / "batch_of_one"
        write_saved_model(model, card, path, batch_size=1)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(path), signature_keys=["serving_default"])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return converter.convert()
        except Exception as error:
            # The converter raises one type, which TensorFlow does not export, with a listing of the whole graph.
            reason = str(error).strip().splitlines()[0][:200]
            raise UserError(f"TensorFlow cannot convert the model to TFLite ({reason})") from error
