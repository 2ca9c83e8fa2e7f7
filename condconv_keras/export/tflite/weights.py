"""The weights of a float32 `.tflite` graph in 8 or 16 bits, and biases that make up for what rounding them changes.

LiteRT convolves and multiplies 8-bit constants with float32 inputs that it quantizes as they come ("dynamic range").
Depthwise constants stay in float32: XNNPACK takes no others of theirs beside float32 inputs, and LiteRT's own kernel is
several times slower (`docs/results/tflite.md`).
"""

import warnings

import numpy as np

from condconv_keras.utils.lazy import LazyModule

litert = LazyModule("ai_edge_litert.interpreter")

# The modes with weights of 8 bits.
EIGHT_BITS = ("dynamic", "int8")
# Where the output channels of each operator's constant lie.
CHANNEL_AXIS = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}
WITH_8_BITS = ("CONV_2D", "FULLY_CONNECTED")
# The versions with float32 inputs and weights with a scale for each channel (TensorFlow's op_version.cc).
_HYBRID_VERSION = {"CONV_2D": 5, "FULLY_CONNECTED": 12}
# Constants of fewer values are not worth an error: TensorFlow's converter leaves them, too.
_LEAST_VALUES = 1024
_INPUT, _KERNEL, _BIAS = 0, 1, 2


def weighted(graph, kinds):
    """The operators of some kinds, names of `CHANNEL_AXIS`, with a float32 constant that is large enough to round."""
    return [operator for operator in graph.operators if operator.name in kinds and _kernel(graph, operator) is not None]


def kernel_size(graph, operator):
    """How many values the constant of one of the `weighted` operators has."""
    return _kernel(graph, operator).size


def multiply_adds(graph, operator):
    """Multiply-adds of one of the `weighted` operators, those of a depthwise one included."""
    return int(np.prod(graph.shape(operator.outputs[0])[:-1])) * kernel_size(graph, operator)


def quantize(graph, operators):
    """Gives `weighted` operators of `WITH_8_BITS` constants of 8 bits with a scale for each output channel."""
    constants = {}  # by the tensor that they stand for, as operators may share it
    for operator in operators:
        tensor, axis = operator.inputs[_KERNEL], CHANNEL_AXIS[operator.name]
        if tensor not in constants:
            numbers, scales = _in_steps(_kernel(graph, operator), axis)
            name = f"{graph.name(tensor)}_int8"
            constants[tensor] = graph.add_constant(name, numbers.astype(np.int8), scales.ravel(), axis)
        graph.set_input(operator, _KERNEL, constants[tensor])
        graph.set_version(operator, _HYBRID_VERSION[operator.name])
        if operator.name == "FULLY_CONNECTED":
            operator.record.builtinOptions.asymmetricQuantizeInputs = True


def store_in_float16(graph, operators):
    """Stores the constants of `weighted` operators in float16; they are expanded when the file is loaded."""
    constants = {}
    for operator in operators:
        tensor = operator.inputs[_KERNEL]
        if tensor not in constants:
            kernel, name = _kernel(graph, operator), graph.name(tensor)
            half = graph.add_constant(f"{name}_float16", kernel.astype(np.float16))
            outputs = {f"{name}_expanded": kernel.shape}
            (constants[tensor],) = graph.add_operator("DEQUANTIZE", [half], outputs, first=True, version=3)
        graph.set_input(operator, _KERNEL, constants[tensor])


def correct_biases(graph, operators, means):
    """Takes what rounding weights to 8 bits adds to the mean outputs of `weighted` operators off their biases.

    Rounding errors do not average out: the inputs of a layer are of one sign or have means of their own, and a shift of
    a channel that is there in every pixel passes through all layers that follow. (Nagel et al., Data-Free Quantization
    Through Weight Equalization and Bias Correction, 2019, section 4.2, with means that were measured.)

    Args:
        graph: `TFLiteGraph`.
        operators: those whose weights will be rounded.
        means: dict of the name of a tensor to its mean values, float [channels], as `input_means` returns it.
    """
    for operator in operators:
        has_bias = len(operator.inputs) > _BIAS and operator.inputs[_BIAS] >= 0
        bias = graph.values(operator.inputs[_BIAS]) if has_bias else None
        mean = means.get(graph.name(operator.inputs[_INPUT]))
        if bias is None or mean is None:
            continue
        kernel, axis = _kernel(graph, operator), CHANNEL_AXIS[operator.name]
        numbers, scales = _in_steps(kernel, axis)
        error = kernel - numbers * scales
        if axis == 0:
            # Each group of filters sees its part of the channels.
            by_group = mean.reshape(-1, error.shape[-1])
            of_filter = by_group[np.arange(len(error)) * len(by_group) // len(error)]
            shift = (error.reshape(len(error), -1, error.shape[-1]).sum(axis=1) * of_filter).sum(axis=1)
        else:
            # A depthwise kernel's channels lie side by side, those of one input channel together.
            shift = error.sum(axis=(0, 1, 2)) * np.repeat(mean, error.shape[-1] // len(mean))
        corrected = graph.add_constant(f"{graph.name(operator.inputs[_BIAS])}_corrected", np.float32(bias + shift))
        graph.set_input(operator, _BIAS, corrected)


def input_means(content, graph, operators, inputs):
    """Measures the mean inputs of operators.

    Args:
        content: bytes of the file.
        graph: its `TFLiteGraph`.
        operators: of the graph.
        inputs: iterable of dicts of its inputs.

    Returns:
        A dict of the name of a tensor to its mean over all but the last axis, float64 [channels].
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it takes memory to keep all tensors
        interpreter = litert.Interpreter(model_content=content, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    tensors = {operator.inputs[_INPUT] for operator in operators}
    totals, count = dict.fromkeys(tensors, 0.0), 0
    for values in inputs:
        runner(**values)
        count += 1
        for tensor in tensors:
            found = interpreter.get_tensor(tensor)
            totals[tensor] = totals[tensor] + found.reshape(-1, found.shape[-1]).mean(axis=0, dtype=np.float64)
    return {graph.name(tensor): total / count for tensor, total in totals.items()}


def channel_scales(kernel, axis):
    """The steps of 8-bit weights, float32, one for each channel along an axis; symmetric, the largest weight 127."""
    others = tuple(i for i in range(kernel.ndim) if i != axis % kernel.ndim)
    return steps(np.abs(kernel).max(axis=others))


def steps(largest):
    """The steps of 8-bit weights by their largest absolute value; 1 where all are 0."""
    return np.where(largest > 0, np.float32(largest) / np.float32(127), np.float32(1))


def _in_steps(kernel, axis):
    """A kernel in whole numbers of its `channel_scales`, and these, which are broadcast against it."""
    scales = channel_scales(kernel, axis).reshape([-1 if i == axis else 1 for i in range(kernel.ndim)])
    return np.rint(kernel / scales), scales


def _kernel(graph, operator):
    kernel = graph.values(operator.inputs[_KERNEL])
    return kernel if kernel is not None and kernel.size >= _LEAST_VALUES else None
