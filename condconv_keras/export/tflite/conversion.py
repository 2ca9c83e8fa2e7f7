"""Converts a classifier or detector to a TFLite file: builtin operators only, and the one of a detector's NMS."""

import contextlib
import io
import os
import sys
import tempfile

import keras
import tensorflow as tf

from condconv_keras.export.tflite.mobile_network import mobile_network
from condconv_keras.models.returned import with_returns
from condconv_keras.serving.litert import INPUT, SIGNATURE
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import UserError


def tflite_bytes(
    model,
    card,
    quantization="none",
    representative=None,
    static_kernels=False,
    int8_input="uint8",
    raw_outputs=False,
):
    """Converts a classifier or detector to TFLite.

    The signature `serving_default` takes `images` [1, height, width, channels] in 0..255, resized to the model's
    input; scaling is inside. LiteRT needs static kernel shapes to convolve with a kernel that is mixed at run time,
    hence the batch of one. All outputs are float32:

    - of a classifier `probabilities` [1, classes], the softmax is inside, that of the network or one behind it;
    - of a detector those of `condconv_keras.tasks.detection.tflite.with_postprocessing`, or with `raw_outputs`
      `box_codes` [1, anchors, 4] and `class_logits` [1, anchors, 1 + classes].

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

    Returns:
        The bytes of the file.

    Raises:
        UserError: the model has an operation that TFLite lacks.
    """
    if quantization == "int8" and representative is None:
        raise UserError("int8 needs representative images to take the ranges of its activations from, received none")
    card = with_returns(model, card)
    scaled = None if representative is None else card.preprocessing.scale_images(representative)
    network = mobile_network(model, card.preprocessing.input_shape, quantization, static_kernels, scaled)
    quantize = quantization == "int8"
    task = get_task(card.task)

    def serve(images):
        if quantize:
            # Fixes the input's scale at 1: its quantized values are pixels.
            images = tf.quantization.fake_quant_with_min_max_args(images, 0, 255)
        outputs = network(card.preprocessing.scale_images(images), training=False)
        return task.converted_outputs(outputs, card, quantize)

    with tempfile.TemporaryDirectory() as folder:
        _write_batch_of_one(serve, network.input_shape, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        _set_quantization(converter, quantization, representative, int8_input)
        try:
            with _quiet_stderr():
                content = converter.convert()
        except Exception as error:
            # The converter raises one type, which TensorFlow does not export, with a listing of the whole graph.
            reason = str(error).strip().splitlines()[0][:200]
            raise UserError(f"TensorFlow cannot convert the model to TFLite ({reason})") from error
    return task.finish_tflite(content, card, quantize, raw_outputs)


@contextlib.contextmanager
def _quiet_stderr():
    """Drops what is written to standard error, by C++ too: the converter reports steps of its own and no errors."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _write_batch_of_one(serve, shape, folder):
    """Writes a SavedModel: converting the functions of a Keras model leaves its variables outside the file."""
    archive = keras.export.ExportArchive()
    archive.add_endpoint("serve", serve, input_signature=[tf.TensorSpec(shape, tf.float32, name=INPUT)])
    with contextlib.redirect_stdout(io.StringIO()):
        archive.write_out(folder, verbose=False)


def _set_quantization(converter, quantization, representative, int8_input):
    if quantization == "none":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif quantization == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = getattr(tf, int8_input)
        converter.representative_dataset = lambda: ({INPUT: image[None]} for image in representative)
