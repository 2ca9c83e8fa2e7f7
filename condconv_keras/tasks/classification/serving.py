"""The functions of a served classifier; `condconv_keras.export.saved_model.writing` says what they take and return."""

import functools

import tensorflow as tf

from condconv_keras.models.returned import with_returns
from condconv_keras.serving.served_network import trace_network
from condconv_keras.serving.signatures import decode_images, of_each_dtype, traced
from condconv_keras.tasks.classification.predictor import probabilities


def endpoints(model, card, class_names):
    """Traces the functions that a SavedModel offers.

    Args:
        model: functional or sequential Keras classifier.
        card: its `ModelCard`.
        class_names: lookup table from int64 class ids to names.

    Returns:
        A dict of `tf.function`s by name; the first trace of each is the one for its signature.
    """
    card = with_returns(model, card)
    # Every endpoint calls this one trace, so that the network is saved once.
    network = trace_network(model, card, answer)
    shape = (None, *card.preprocessing.input_shape)
    float_images, uint8_images = (tf.TensorSpec(shape, dtype, name="images") for dtype in (tf.float32, tf.uint8))

    def outputs(kind, images):
        return network(tf.cast(images, tf.float32))[kind]

    def classify(images):
        results = outputs("probabilities", images)
        return {**results, "class_ids": tf.argmax(results["probabilities"], axis=-1)}

    def classify_bytes(image_bytes):
        results = classify(decode_images(image_bytes, card.preprocessing)[0])
        return {**results, "class_names": class_names.lookup(results["class_ids"])}

    functions = {
        # The name that TensorFlow Serving asks for; as a layer it takes both dtypes.
        "serving_default": of_each_dtype(classify, float_images, uint8_images),
        "serve": traced(classify, float_images),
        "serve_uint8": traced(classify, uint8_images),
        "serve_bytes": traced(classify_bytes, tf.TensorSpec((None,), tf.string, name="image_bytes")),
    }
    for kind in ("features", "routing"):
        if network.structured_outputs[kind]:
            functions[kind] = traced(functools.partial(outputs, kind), float_images)
    return functions


def answer(model, card, images):
    """What `trace_network` returns of a classifier: `probabilities` with `probabilities`, float32 [batch, classes]."""
    return {"probabilities": {"probabilities": probabilities(model, card, images)}}
