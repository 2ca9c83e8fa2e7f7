"""The export formats: a row of this table is all that the flags, the check and `model.json` know of one."""

from __future__ import annotations

from condconv_keras.export.format import ExportFormat
from condconv_keras.export.saved_model.format import SavedModel
from condconv_keras.export.tflite.format import CalibratedTFLite, EightBitTFLite, TFLite

FORMATS: tuple[ExportFormat, ...] = (
    SavedModel("savedmodel", "saved_model", max_relative_error=1e-4),
    TFLite("tflite", "model.tflite", "none", "float32", max_relative_error=1e-4),
    TFLite(
        "tflite",
        "model_float16.tflite",
        "float16",
        "half the size",
        min_snr_db=60.0,
        min_trained_snr_db=40.0,
        weights_dtype="float16",
    ),
    EightBitTFLite(
        "tflite", "model_dynamic.tflite", "dynamic", "int8 weights", min_snr_db=20.0, min_trained_snr_db=10.0
    ),
    CalibratedTFLite(
        "tflite",
        "model_int8.tflite",
        "int8",
        "int8 weights and activations",
        min_snr_db=20.0,
        min_trained_snr_db=10.0,
    ),
)


def format_names() -> list[str]:
    """Returns the values of --formats, a list."""
    return list(dict.fromkeys(file_format.name for file_format in FORMATS))


def variants(name: str) -> dict[str | None, ExportFormat]:
    """Returns the formats of one of `format_names`, a dict by their quantization; None is the key of one alone."""
    return {file_format.quantization: file_format for file_format in FORMATS if file_format.name == name}


# For those that mean these, whatever else there is.
SAVED_MODEL = variants("savedmodel")[None]
TFLITE = variants("tflite")
