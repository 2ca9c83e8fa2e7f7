"""Converts a classifier to a TFLite file with builtin operators only."""

import contextlib
import io
import os
import sys
import tempfile

from condconv_keras.errors import UserError
from condconv_keras.litert import INPUT, OUTPUT, SIGNATURE
from export.mobile_network import mobile_network


def tflite_bytes(model, card, quantization="none", representative=None, static_kernels=False, int8_input="uint8"):
    """Converts a classifier to TFLite.

    The signature `serving_default` takes `images` [1, height, width, channels] in 0..255, resized to the model's
    input, and returns `probabilities`, float32 [1, classes]; scaling and softmax are inside. LiteRT needs static kernel
    shapes to convolve with a kernel that is mixed at run time, hence the batch of one.

    Args:
        model: Keras classifier.
        card: its `ModelCard`.
        quantization: `"none"` (float32), `"float16"` (weights), `"dynamic"` (8-bit weights, activations quantised as
            they come) or `"int8"` (weights and activations; the softmax stays in float32, as 8 bits cannot tell the
            probabilities of a thousand classes apart).
        representative: float32 [count, height, width, channels] in 0..255, images as the model will see them; `"int8"`
            takes the ranges of its activations from them.
        static_kernels: whether CondConv layers compute every expert with static kernels, for accelerators that refuse
            kernels that are computed at run time.
        int8_input: `"uint8"`, the pixels, or `"int8"`, the pixels less 128; of `"int8"` files.

    Returns:
        The bytes of the file.

    Raises:
        UserError: the model has an operation that TFLite lacks.
    """
    import tensorflow as tf

    if quantization == "int8" and representative is None:
        raise UserError("int8 needs representative images to take the ranges of its activations from, received none")
    scaled = None if representative is None else card.preprocessing.scale_images(representative)
    network = mobile_network(model, card.preprocessing.input_shape, quantization, static_kernels, scaled)
    quantize = quantization == "int8"

    def serve(images):
        if quantize:
            # Fixes the input's scale at 1: its quantised values are pixels.
            images = tf.quantization.fake_quant_with_min_max_args(images, 0, 255)
        logits = network(card.preprocessing.scale_images(images), training=False)
        return {"logits": logits} if quantize else {OUTPUT: tf.nn.softmax(logits)}

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
    return _with_softmax(content) if quantize else content


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
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.add_endpoint("serve", serve, input_signature=[tf.TensorSpec(shape, tf.float32, name=INPUT)])
    with contextlib.redirect_stdout(io.StringIO()):
        archive.write_out(folder, verbose=False)


def _set_quantization(converter, quantization, representative, int8_input):
    import tensorflow as tf

    if quantization == "none":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif quantization == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = getattr(tf, int8_input)
        converter.representative_dataset = lambda: ({INPUT: image[None]} for image in representative)


def _with_softmax(content):
    """Puts a float32 softmax behind the logits, which the converter would have made an int8 one."""
    from tensorflow.lite.tools import flatbuffer_utils

    schema = flatbuffer_utils.schema_fb
    file = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph, (output,) = file.subgraphs[0], file.signatureDefs[0].outputs
    logits = graph.tensors[output.tensorIndex]
    probabilities = schema.TensorT()
    # Buffer 0 is the empty one.
    probabilities.name, probabilities.type, probabilities.buffer = OUTPUT.encode(), schema.TensorType.FLOAT32, 0
    probabilities.shape, probabilities.shapeSignature = logits.shape, logits.shapeSignature
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SOFTMAX
    code.version = 1
    softmax = schema.OperatorT()
    softmax.opcodeIndex = len(file.operatorCodes)
    softmax.inputs, softmax.outputs = [output.tensorIndex], [len(graph.tensors)]
    softmax.builtinOptionsType = schema.BuiltinOptions.SoftmaxOptions
    softmax.builtinOptions = schema.SoftmaxOptionsT()
    softmax.builtinOptions.beta = 1.0
    file.operatorCodes.append(code)
    graph.operators.append(softmax)
    graph.tensors.append(probabilities)
    graph.outputs = softmax.outputs
    output.name, output.tensorIndex = OUTPUT.encode(), softmax.outputs[0]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(file))
