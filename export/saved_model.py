"""Writes a classifier as a SavedModel."""

import contextlib
import io


def write_saved_model(model, card, path, batch_size=None):
    """Writes a classifier as a SavedModel whose scaling and softmax are inside.

    Its signature `serving_default` takes `images`, float32 [batch, height, width, channels] in 0..255, resized to the
    model's input, and returns `probabilities`, float32 [batch, classes].

    Args:
        model: Keras classifier.
        card: its `ModelCard`.
        path: folder to write.
        batch_size: None for any batch size, or the only one.
    """
    import keras
    import tensorflow as tf

    from condconv_keras.predictors import probabilities

    shape = (batch_size, *card.preprocessing.input_size, card.preprocessing.channels)
    archive = keras.export.ExportArchive()
    archive.track(model)
    # Keras makes the first endpoint the one named `serving_default`.
    archive.add_endpoint(
        "serve",
        lambda images: {"probabilities": probabilities(model, card, images)},
        input_signature=[tf.TensorSpec(shape, tf.float32, name="images")],
    )
    with contextlib.redirect_stdout(io.StringIO()):
        archive.write_out(str(path), verbose=False)
