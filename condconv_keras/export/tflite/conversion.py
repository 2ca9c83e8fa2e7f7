"""Converts a classifier or detector to a TFLite file: builtin operators only, and the one of a detector's NMS."""

import contextlib
import gc
import io
import tempfile

import keras
import numpy as np
import tensorflow as tf

from condconv_keras.export.tflite.eight_bits import Network, in_8_bits, quiet_stderr, with_8_bit_weights
from condconv_keras.export.tflite.mobile_network import conditional_layers, float_layers, mobile_network
from condconv_keras.export.tflite.weights import EIGHT_BITS
from condconv_keras.layers.routers import recorded_routing
from condconv_keras.models.returned import with_returns
from condconv_keras.serving.litert import INPUT, ROUTING, SIGNATURE
from condconv_keras.tasks.table import get_task
from condconv_keras.utils import allocator
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import all_layers


def tflite_bytes(
    model,
    card,
    quantization="none",
    representative=None,
    static_kernels=False,
    int8_input="uint8",
    raw_outputs=False,
    batch_size=1,
    routing_outputs=False,
    budget=None,
):
    """Converts a classifier or detector to TFLite.

    The signature `serving_default` takes `images` [batch_size, height, width, channels] in 0..255, resized to the
    model's input; scaling is inside. LiteRT needs static kernel shapes to convolve with kernels that are mixed at run
    time, hence a batch of one size. All outputs are float32:

    - of a classifier `probabilities` [batch_size, classes], with the network's softmax inside, or one behind it;
    - of a detector those of `condconv_keras.tasks.detection.tflite.with_postprocessing`, or with `raw_outputs`
      `box_codes` [batch_size, anchors, 4] and `class_logits` [batch_size, anchors, 1 + classes];
    - with `routing_outputs` the routing weights of every router besides, [batch_size, experts], as `routing/<name>` by
      the names of `condconv_keras.layers.routers`.

    Args:
        model: Keras model.
        card: its `ModelCard`.
        quantization: `"none"` (float32), `"float16"` (weights), `"dynamic"` (8-bit weights, activations quantized as
            they come) or `"int8"` (weights and activations; what follows the logits stays in float32, as 8 bits cannot
            tell the probabilities of a thousand classes apart).
        representative: float32 [count, height, width, channels] in 0..255, images as the model will see them; `"int8"`
            takes the ranges of its activations from them.
        static_kernels: whether CondConv layers compute every expert with static kernels, for accelerators that refuse
            kernels that are computed at run time.
        int8_input: `"uint8"`, the pixels, or `"int8"`, the pixels less 128; of `"int8"` files.
        raw_outputs: whether a detector returns what its network does, without non-maximum suppression.
        batch_size: how many images the file takes at a time; one for a detector without `raw_outputs`.
        routing_outputs: whether the file returns the routing weights as well.
        budget: the `condconv_keras.export.budget.Budget` of keeping layers out of 8 bits, fractions of the
            file's bytes and of its multiply-adds, or None to keep none; it takes representative images.

    Returns:
        The bytes of the file.

    Raises:
        UserError: the model has an operation that TFLite lacks.
    """
    if quantization == "int8" and representative is None:
        raise UserError("int8 needs representative images to take the ranges of its activations from, received none")
    card, calibrated = with_returns(model, card), representative is not None
    with tempfile.TemporaryDirectory() as folder, allocator.untuned():
        layers = _write_mobile_network(
            folder, model, card, quantization, representative, static_kernels, batch_size, routing_outputs
        )
        gc.collect()  # what is written, which graphs and their functions keep alive in cycles
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        _set_quantization(converter, quantization, representative, batch_size)
        try:
            with quiet_stderr():
                content = converter.convert()
        except Exception as error:
            # The converter raises one type, which TensorFlow does not export, with a listing of the whole graph.
            reason = str(error).strip().splitlines()[0][:200]
            raise UserError(f"TensorFlow cannot convert the model to TFLite ({reason})") from error
    if quantization in EIGHT_BITS:
        inputs = [{INPUT: x} for x in _batches(np.float32(representative), batch_size)] if calibrated else None
        network = Network(content, inputs, *layers)
        content = (
            in_8_bits(network, int8_input, budget) if quantization == "int8" else with_8_bit_weights(network, budget)
        )
    return get_task(card.task).finish_tflite(content, card, quantization in EIGHT_BITS, raw_outputs)


def _write_mobile_network(
    folder, model, card, quantization, representative, static_kernels, batch_size, routing_outputs
):
    """Writes the network for LiteRT with scaling before and the outputs of its task behind it, as a SavedModel.

    Arguments as of `tflite_bytes`. It is no longer in memory afterwards: the converter needs a lot of that. Returns the
    fields `layers`, `float_layers` and `experts` of the `Network`.
    """
    scaled = None if representative is None else card.preprocessing.scale_images(representative)
    network = mobile_network(model, card.preprocessing.input_shape, quantization, static_kernels, scaled, batch_size)

    def serve(images):
        if quantization == "int8":
            # Fixes the input's scale at 1: its quantized values are pixels.
            images = tf.quantization.fake_quant_with_min_max_args(images, 0, 255)
        with recorded_routing(network) as routing:
            outputs = network(card.preprocessing.scale_images(images), training=False)
        outputs = get_task(card.task).converted_outputs(outputs, card, quantization in EIGHT_BITS)
        further = {f"{ROUTING}{name}": weights for name, weights in routing} if routing_outputs else {}
        return {**outputs, **further}

    _write_saved_model(serve, network.input_shape, folder)
    layers = (layer for layer in all_layers(network, include_self=False) if not isinstance(layer, keras.Model))
    names = tuple(dict.fromkeys(layer.name for layer in layers))
    return names, float_layers(network), frozenset(conditional_layers(model))


def _write_saved_model(serve, shape, folder):
    """Writes a SavedModel: converting the functions of a Keras model leaves its variables outside the file."""
    archive = keras.export.ExportArchive()
    archive.add_endpoint("serve", serve, input_signature=[tf.TensorSpec(shape, tf.float32, name=INPUT)])
    with contextlib.redirect_stdout(io.StringIO()):
        archive.write_out(folder, verbose=False)


def _set_quantization(converter, quantization, representative, batch_size):
    if quantization == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    elif quantization == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ({INPUT: batch} for batch in _batches(representative, batch_size))
        converter._experimental_calibrate_only = True  # as `tf.lite.experimental.QuantizationDebugger` sets it


def _batches(images, size):
    """Yields all images in batches of one size; the last is filled up with the first ones, whose ranges are known."""
    for start in range(0, len(images), size):
        yield images[np.arange(start, start + size) % len(images)]
