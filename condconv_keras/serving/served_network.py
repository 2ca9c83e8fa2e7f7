"""A model with everything that is served of it: its answers, pooled features, routing weights."""

import contextlib
import functools
import math

import keras
import tensorflow as tf

from condconv_keras.layers import CondConv2D
from condconv_keras.layers.routers import recorded_routing
from condconv_keras.serving.batches import in_one_graph
from condconv_keras.utils.keras_graph import producer_of, wrapped_call


def trace_network(model, card, answer):
    """Traces a model for any batch size, zero included.

    Args:
        model: functional or sequential Keras model.
        card: its `ModelCard`.
        answer: function of the model, the card and float32 images [batch, height, width, channels] in 0..255 that
            returns the answers of the task as a dict of dicts of tensors.

    Returns:
        A TensorFlow function of such images that returns a dict of dicts, all float32: the answers; `features` with
        `features` [batch, D], what the classifying layer is given, empty if the model does not end in such a layer of
        pooled features; `routing` with [batch, num_experts] by the names of `condconv_keras.layers.routers`, empty for
        a plain model.
    """
    preprocessing = card.preprocessing
    shape = preprocessing.input_shape
    classifier = _classifier(model)

    def compute(images):
        count = tf.shape(images)[0]
        # CondConv layers fold the batch into the channels, and TensorFlow has no convolution of zero channels.
        if images.shape[0] is None:
            images = tf.concat([images, tf.zeros((tf.maximum(1 - count, 0), *shape))], axis=0)
        with contextlib.ExitStack() as stack:
            routing = stack.enter_context(recorded_routing(model))
            classifier_calls = classifier and stack.enter_context(_recorded_calls(classifier))
            outputs = answer(model, card, images)
        outputs["features"] = {"features": _flat(classifier_calls[-1][0])} if classifier else {}
        outputs["routing"] = dict(routing)
        return tf.nest.map_structure(lambda x: tf.cast(x[:count], tf.float32), outputs)

    return in_one_graph(compute, model, shape).get_concrete_function()


def _classifier(model):
    """The dense or 1x1 layer of pooled features that a model's output comes from, or None."""
    tensor = model.outputs[0]
    while True:
        operation, (inputs, *_) = producer_of(tensor)
        if isinstance(operation, keras.layers.Dense | keras.layers.Conv2D | CondConv2D):
            return operation if _is_pooled(inputs[0]) else None
        # Passed over: flatten, softmax and the like; not a sum of two branches, a nested model or the model's input.
        if len(inputs) != 1 or getattr(operation, "weights", None):
            return None
        tensor = inputs[0]


def _is_pooled(features):
    sizes = features.shape[1:]
    return None not in sizes and math.prod(sizes) == max(sizes)


def _flat(features):
    return tf.reshape(features, (-1, math.prod(features.shape[1:])))


@contextlib.contextmanager
def _recorded_calls(layer):
    """While open, every call of the layer appends (first input, output) to the list that is yielded."""
    calls = []

    def wrap(call):
        @functools.wraps(call)
        def recorded(inputs, *args, **kwargs):
            outputs = call(inputs, *args, **kwargs)
            calls.append((inputs, outputs))
            return outputs

        return recorded

    with wrapped_call(layer, wrap):
        yield calls
