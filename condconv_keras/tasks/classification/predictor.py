"""Classifiers as functions of images that return probabilities, in Keras and exported."""

from condconv_keras.facts.model_card import FILE_NAME, LOGITS, PROBABILITIES
from condconv_keras.models.returned import (
    SUM_TOLERANCE,
    are_probabilities,
    check_logits,
    check_rows_of_logits,
    single_output,
    with_returns,
)
from condconv_keras.serving.batches import called_by_batch
from condconv_keras.serving.litert import OUTPUT, LiteRTModel, check_shapes
from condconv_keras.serving.saved_model import as_input, check_signature
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import keras
from condconv_keras.utils.lazy import numpy as np
from condconv_keras.utils.softmax import softmax

# To the owner of a file that returns logits though its card says otherwise.
_ADVICE = f'let its card ({FILE_NAME} beside a file) say "returns": "logits"'


def probabilities(model, card, images):
    """Computes a Keras classifier on images in 0..255: scaling, network, and a softmax of logits.

    Args:
        model: Keras model.
        card: its card, as of `with_returns`.
        images: [batch, height, width, channels].

    Raises:
        UserError: the network has a softmax, and the card says that it returns logits.
    """
    return _normalized(_outputs(model, card, images), card)


def _normalized(outputs, card):
    return outputs if card.returns == PROBABILITIES else keras.ops.softmax(outputs)


def _outputs(model, card, images):
    """What the network itself returns, float32; arguments and errors as of `probabilities`."""
    outputs = single_output(model(card.preprocessing.scale_images(images), training=False))
    check_logits(outputs, card)
    return keras.ops.cast(outputs, "float32")


def keras_predict(model, card):
    """Returns the `predict` function of a Keras classifier."""
    card = with_returns(model, card)
    function = called_by_batch(lambda images: _outputs(model, card, images), model, card.preprocessing.input_shape)

    def predict(images):
        outputs = function(images)
        check_rows_of_logits(outputs.numpy(), card)
        return _checked(_normalized(outputs, card).numpy(), f"the model {card.model!r}")

    return predict


def saved_model_predict(loaded, path, card):
    """Returns the `predict` function of a SavedModel; arguments and errors as of `Task.saved_model_predict`."""
    signature = loaded.signatures["serving_default"]
    check_signature(path, signature, [OUTPUT])
    received = signature.structured_input_signature[1]["images"], signature.structured_outputs[OUTPUT]
    expected = (None, *card.preprocessing.input_shape), (None, len(card.class_names))
    check_shapes(path, tuple(tuple(tensor.shape) for tensor in received), expected)

    def predict(images):
        return file_answers(signature(images=as_input(signature, images))[OUTPUT].numpy(), path, card)

    return predict


def tflite_predict(path, card, num_threads=None):
    """Returns the `predict` function of a `.tflite` file; arguments and errors as of `Task.tflite_predict`."""
    model = LiteRTModel(path, num_threads)
    check_shapes(
        path,
        (model.input.shape, model.output.shape),
        ((model.batch_size, *card.preprocessing.input_shape), (model.batch_size, len(card.class_names))),
    )
    # Of numbers that are multiples of the scale, each may be half of it off.
    rounding = model.output.scale / 2 * len(card.class_names)
    return lambda images: file_answers(model.predict(images), path, card, rounding)


def file_answers(outputs, path, card, rounding=0.0, advice=_ADVICE):
    """Returns the probabilities of what a file returned, an array [batch, classes].

    Args:
        outputs: what it returned.
        path: of the file, for messages.
        card: its `ModelCard`, which says whether they are logits.
        rounding: how far their sum may be off besides.
        advice: what to do where they are logits though the card says otherwise.

    Raises:
        UserError: they are not what the card says.
    """
    if card.returns == LOGITS:
        check_rows_of_logits(outputs, card)
        return softmax(outputs)
    return _checked(outputs, repr(str(path)), rounding, advice)


def _checked(rows, place, rounding=0.0, advice=_ADVICE):
    """The same rows; raises a `UserError` if they are no probabilities. A row with a NaN is not looked at."""
    finite = rows[np.isfinite(rows).all(axis=-1)]
    if not are_probabilities(finite, SUM_TOLERANCE + rounding):
        row = finite[np.abs(finite.sum(axis=-1) - 1).argmax()]
        raise UserError(
            f"expected probabilities of {place}, it returns numbers from {row.min():.3g} to {row.max():.3g} with the "
            f"sum {row.sum():.3g}; if they are logits, {advice}"
        )
    return rows
