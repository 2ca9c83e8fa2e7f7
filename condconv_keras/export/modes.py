"""The files that the exporter can write, and how near to the Keras model each of them has to be."""

import dataclasses

# A file may answer this part of the held-out examples less often right than Keras.
MAX_TOP_1_LOSS = 0.01
# A detector's AP may be this much lower than Keras's.
MAX_AP_LOSS = 0.01
# What rounding weights in other places than Keras does, such as after batch normalisation is folded in, may cost.
ROUNDING_MARGIN_DB = 10.0
LEAST_ROUNDED_SNR_DB = 20.0


@dataclasses.dataclass(frozen=True)
class Mode:
    """One kind of exported file and the thresholds of its gate (`condconv_keras.export.check` defines the figures).

    Attributes:
        name: `"savedmodel"`, or the value of --quantization.
        file_name: of the file or folder.
        max_relative_error: largest relative error, or None where the signal-to-noise ratio is what counts.
        min_snr_db: least signal-to-noise ratio in dB, or None where the relative error is what counts.
        min_trained_snr_db: what takes the place of `min_snr_db` for a trained model, whose top-1 accuracy counts.
            Training pushes the probabilities of the wrong classes towards 0; their logarithms are large and of no
            interest, and rounding keeps them less well than those of a random network.
        weights_dtype: type that the file's weights are rounded to, where a network may be so sensitive to that alone
            that no file could reach `min_snr_db`: what the Keras model with its weights rounded reaches, less
            `ROUNDING_MARGIN_DB`, is enough then, but not less than `LEAST_ROUNDED_SNR_DB`.
    """

    name: str
    file_name: str
    max_relative_error: float | None = None
    min_snr_db: float | None = None
    min_trained_snr_db: float | None = None
    weights_dtype: str | None = None


SAVED_MODEL = Mode("savedmodel", "saved_model", max_relative_error=1e-4)
TFLITE_MODES = {
    mode.name: mode
    for mode in (
        Mode("none", "model.tflite", max_relative_error=1e-4),
        Mode("float16", "model_float16.tflite", min_snr_db=60.0, min_trained_snr_db=40.0, weights_dtype="float16"),
        Mode("dynamic", "model_dynamic.tflite", min_snr_db=20.0, min_trained_snr_db=10.0),
        Mode("int8", "model_int8.tflite", min_snr_db=20.0, min_trained_snr_db=10.0),
    )
}
