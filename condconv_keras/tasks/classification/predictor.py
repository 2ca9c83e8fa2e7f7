"""Classifiers as functions of images, in Keras and exported."""

from condconv_keras.serving.litert import OUTPUT, LiteRTModel, check_shapes
from condconv_keras.utils.lazy import keras
from condconv_keras.utils.lazy import tensorflow as tf


def probabilities(model, card, images):
    """Computes a Keras classifier on images in 0..255: scaling, network, and the softmax if the network has none."""
    outputs = model(card.preprocessing.scale_images(images), training=False)
    if getattr(model.layers[-1], "activation", None) is keras.activations.softmax:
        return outputs
    return keras.ops.softmax(keras.ops.cast(outputs, "float32"))


def keras_predict(model, card):
    """Returns the `predict` function of a Keras classifier."""
    shape = (None, *card.preprocessing.input_shape)
    function = tf.function(
        lambda images: probabilities(model, card, images), input_signature=[tf.TensorSpec(shape, tf.float32)]
    )
    return lambda images: function(images).numpy()


def saved_model_predict(loaded):
    """Returns the `predict` function of a loaded SavedModel."""

    def predict(images):
        return loaded.signatures["serving_default"](images=tf.convert_to_tensor(images))["probabilities"].numpy()

    return predict


def check_saved_model(path, loaded, card):
    """Raises a `UserError` unless a SavedModel is one of the card's input and classes; as of `Task`."""
    signature = loaded.signatures["serving_default"]
    images = signature.structured_input_signature[1]["images"]
    probabilities = signature.structured_outputs[OUTPUT]
    check_shapes(
        path,
        (tuple(images.shape), tuple(probabilities.shape)),
        ((None, *card.preprocessing.input_shape), (None, len(card.class_names))),
    )


def tflite_predict(path, card, num_threads=None):
    """Returns the `predict` function of a `.tflite` file; arguments and errors as of `Task.tflite_predict`."""
    model = LiteRTModel(path, num_threads)
    check_shapes(
        path,
        (model.input.shape, model.output.shape),
        ((1, *card.preprocessing.input_shape), (1, len(card.class_names))),
    )
    return model.predict
