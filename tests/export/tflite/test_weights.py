"""Weights of 8 and 16 bits in a float32 file, and what becomes of the answers."""

import tempfile

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from condconv_keras.export.tflite import weights
from condconv_keras.serving.tflite_graph import TFLiteGraph

_RNG = np.random.default_rng(0)
# LiteRT quantizes whole numbers from 0 to 255 to themselves.
PIXELS = np.concatenate([[0, 255], _RNG.integers(0, 256, 62)]).astype("float32")


def written(function, shape):
    """The float32 file of a function of `x`."""
    module = tf.Module()
    module.serve = tf.function(lambda x: {"y": function(x)}, input_signature=[tf.TensorSpec(shape, tf.float32, "x")])
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": module.serve})
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def run(content, x):
    return np.array(Interpreter(model_content=content, num_threads=1).get_signature_runner()(x=x)["y"])


KERNELS = {
    "FULLY_CONNECTED": _RNG.normal(size=(64, 32)),
    "CONV_2D 1x1": _RNG.normal(size=(1, 1, 64, 32)),
    "CONV_2D 3x3": _RNG.normal(size=(3, 3, 64, 16)),
    "DEPTHWISE_CONV_2D": _RNG.normal(size=(3, 3, 64, 2)),
}
CONVOLUTIONS = ["FULLY_CONNECTED", "CONV_2D 1x1", "CONV_2D 3x3"]


def apply(name, x, kernel):
    """One operator without a bias."""
    if name == "FULLY_CONNECTED":
        return x @ kernel
    if name == "DEPTHWISE_CONV_2D":
        return tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "VALID")
    return tf.nn.conv2d(x, kernel, 1, "VALID")


def one_layer(name, kernel=None):
    """The file of an operator with a bias."""
    kernel = np.float32(KERNELS[name] if kernel is None else kernel)
    bias = np.linspace(-1, 1, 128 if "DEPTHWISE" in name else kernel.shape[-1]).astype("float32")
    shape = (1, 64) if name == "FULLY_CONNECTED" else (1, 6, 6, 64)
    return written(lambda x: apply(name, x, kernel) + bias, shape)


def inputs_of(name, channels):
    """Input that is the same in all pixels."""
    return channels[None] if name == "FULLY_CONNECTED" else np.tile(channels, (1, 6, 6, 1))


@pytest.mark.parametrize("name", KERNELS)
def test_sizes_and_multiply_adds(name):
    graph = TFLiteGraph(one_layer(name))
    (operator,) = weights.weighted(graph, weights.CHANNEL_AXIS)
    assert operator.name == name.split()[0]
    assert weights.weighted(graph, ["TRANSPOSE"]) == []
    assert weights.kernel_size(graph, operator) == KERNELS[name].size
    outputs = {"FULLY_CONNECTED": 1, "CONV_2D 1x1": 36}.get(name, 16)
    assert weights.multiply_adds(graph, operator) == outputs * KERNELS[name].size


def test_small_constants_are_not_rounded():
    content = one_layer("CONV_2D 1x1", KERNELS["CONV_2D 1x1"][..., :15])
    assert weights.weighted(TFLiteGraph(content), weights.CHANNEL_AXIS) == []


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_answers_of_8_bits_differ_by_the_steps(name):
    content, kernel = one_layer(name), KERNELS[name]
    graph = TFLiteGraph(content)
    weights.quantize(graph, weights.weighted(graph, weights.WITH_8_BITS))
    rounded = graph.to_bytes()
    assert len(rounded) < len(content) - 2.5 * kernel.size
    steps = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1))) / 127
    exact = np.rint(kernel / steps) * steps
    x = _RNG.normal(size=inputs_of(name, PIXELS).shape).astype("float32")
    float_answer = run(one_layer(name, exact), x)
    received = run(rounded, x)
    # Each of the weights meets an input that is wrong by half a step at most, and by one at the ends of the range.
    step = (x.max() - x.min()) / 255
    limit = step * np.abs(exact).reshape(-1, kernel.shape[-1]).sum(axis=0)
    assert (np.abs(received - float_answer) <= limit).all()
    assert 0 < np.abs(received - float_answer).mean() < limit.mean() / 10
    # The weights are those, and nothing else is rounded: of inputs that are whole numbers the answers are exact.
    pixels = inputs_of(name, PIXELS)
    np.testing.assert_allclose(run(rounded, pixels), run(one_layer(name, exact), pixels), rtol=1e-4, atol=0.02)
    assert np.abs(run(rounded, pixels) - run(content, pixels)).max() > 0.5


def quantized_constant(graph):
    """The integers and the quantization parameters of the only weighted operator."""
    (operator,) = [each for each in graph.operators if each.name in weights.CHANNEL_AXIS]
    tensor = graph._graph.tensors[operator.inputs[1]]
    assert graph.is_int8(operator.inputs[1])
    numbers = np.frombuffer(bytes(graph._file.buffers[tensor.buffer].data), np.int8)
    return numbers.reshape(graph.shape(operator.inputs[1])), tensor.quantization


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_scales_are_the_largest_weights(name):
    kernel = KERNELS[name].copy()
    kernel[..., 3] = 0
    content = one_layer(name, kernel)
    graph = TFLiteGraph(content)
    weights.quantize(graph, weights.weighted(graph, weights.WITH_8_BITS))
    numbers, parameters = quantized_constant(TFLiteGraph(graph.to_bytes()))
    flat = kernel.reshape(-1, kernel.shape[-1])
    largest = np.abs(flat).max(axis=0)
    expected = np.where(largest > 0, largest / 127, 1)
    assert expected[3] == 1
    np.testing.assert_allclose(parameters.scale, expected, rtol=1e-6)
    np.testing.assert_array_equal(parameters.zeroPoint, 0)
    assert parameters.quantizedDimension == 0
    # Output channels come first in the file.
    numbers = numbers.reshape(len(numbers), -1)
    np.testing.assert_array_equal(numbers, np.rint(flat / expected).T)
    np.testing.assert_array_equal(np.abs(numbers).max(axis=1), np.where(largest > 0, 127, 0))


def test_scales_along_an_axis():
    kernel = _RNG.normal(size=(1, 3, 3, 8)).astype("float32")
    kernel[..., 5] = 0
    scales = weights.channel_scales(kernel, 3)
    assert scales.dtype == np.float32
    np.testing.assert_array_equal(scales, weights.channel_scales(kernel, -1))
    np.testing.assert_allclose(scales[:5], np.abs(kernel).max(axis=(0, 1, 2))[:5] / 127, rtol=1e-6)
    assert scales[5] == 1
    np.testing.assert_array_equal(weights.steps(np.array([254.0, 0.0])), [2, 1])


def rounded_by_hand(graph, operators):
    """Gives operators weights of 8 bits that are stored in float32."""
    for operator in operators:
        kernel, axis = graph.values(operator.inputs[1]), weights.CHANNEL_AXIS[operator.name]
        others = tuple(i for i in range(kernel.ndim) if i != axis)
        scales = np.abs(kernel).max(axis=others, keepdims=True) / 127
        graph.set_input(operator, 1, graph.add_constant("by_hand", np.float32(np.rint(kernel / scales) * scales)))


def rounded_file(content, x, round_weights, corrected):
    graph = TFLiteGraph(content)
    operators = weights.weighted(graph, weights.CHANNEL_AXIS)
    if corrected:
        weights.correct_biases(graph, operators, weights.input_means(content, graph, operators, [{"x": x}]))
    round_weights(graph, operators)
    return graph.to_bytes()


@pytest.mark.parametrize(
    ("name", "round_weights"),
    [(name, weights.quantize) for name in CONVOLUTIONS] + [(name, rounded_by_hand) for name in KERNELS],
)
def test_corrected_biases_keep_the_means(name, round_weights):
    content, x = one_layer(name), inputs_of(name, PIXELS)
    expected = run(content, x)
    channels = tuple(range(expected.ndim - 1))

    def shift(corrected):
        received = run(rounded_file(content, x, round_weights, corrected), x)
        return np.abs((received - expected).mean(axis=channels, dtype=np.float64))

    assert shift(corrected=False).mean() > 0.5
    assert shift(corrected=True).max() < 0.01


def test_means_are_those_of_all_inputs():
    content = one_layer("CONV_2D 3x3")
    graph = TFLiteGraph(content)
    operators = weights.weighted(graph, weights.CHANNEL_AXIS)
    inputs = _RNG.normal(1, 1, (3, 1, 6, 6, 64)).astype("float32")
    means = weights.input_means(content, graph, operators, ({"x": x} for x in inputs))
    (found,) = means.values()
    assert list(means) == [graph.name(operators[0].inputs[0])]
    np.testing.assert_allclose(found, inputs.mean(axis=(0, 1, 2, 3), dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("name", KERNELS)
def test_16_bits_keep_the_answers(name):
    content = one_layer(name)
    graph = TFLiteGraph(content)
    weights.store_in_float16(graph, weights.weighted(graph, weights.CHANNEL_AXIS))
    half = graph.to_bytes()
    # Two bytes of each weight are gone; the rest of the file is there.
    assert len(content) - len(half) == pytest.approx(2 * KERNELS[name].size, abs=1000)
    x = _RNG.uniform(0, 1, inputs_of(name, PIXELS).shape).astype("float32")
    expected, received = run(content, x), run(half, x)
    np.testing.assert_allclose(received, expected, atol=1e-3 * np.abs(expected).max())
    kernel = np.float32(np.float16(KERNELS[name]))
    np.testing.assert_allclose(received, run(one_layer(name, kernel), x), atol=1e-5)
    assert (received != expected).any()


def test_a_file_of_16_bits_is_half_as_large():
    content = written(lambda x: x @ tf.constant(_RNG.normal(size=(64, 1024)), tf.float32), (1, 64))
    graph = TFLiteGraph(content)
    weights.store_in_float16(graph, weights.weighted(graph, weights.CHANNEL_AXIS))
    assert len(graph.to_bytes()) == pytest.approx(len(content) / 2, rel=0.02)


@pytest.fixture(scope="module")
def shared():
    """A file with two operators that read the same kernel and the same bias."""
    kernel = np.float32(_RNG.normal(size=(1, 1, 64, 64)))
    bias = np.linspace(-1, 1, 64).astype("float32")

    def twice(x):
        return tf.nn.conv2d(tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID") + bias), kernel, 1, "VALID") + bias

    content = written(twice, (1, 4, 4, 64))
    graph = TFLiteGraph(content)
    first, second = weights.weighted(graph, weights.CHANNEL_AXIS)
    assert first.inputs[1:] == second.inputs[1:]
    return content, kernel[0, 0], bias


def test_operators_that_share_a_bias_are_corrected_alone(shared):
    content, kernel, bias = shared
    graph = TFLiteGraph(content)
    first, second = operators = weights.weighted(graph, weights.CHANNEL_AXIS)
    means = {graph.name(first.inputs[0]): _RNG.normal(size=64), graph.name(second.inputs[0]): _RNG.normal(size=64)}
    weights.correct_biases(graph, operators, means)
    weights.quantize(graph, operators)
    scales = np.abs(kernel).max(axis=0) / 127
    error = kernel - np.rint(kernel / scales) * scales
    new = TFLiteGraph(graph.to_bytes())
    for operator, mean in zip([o for o in new.operators if o.name == "CONV_2D"], means.values(), strict=True):
        np.testing.assert_allclose(new.values(operator.inputs[2]), bias + mean @ error, rtol=1e-4, atol=1e-5)


def test_one_of_two_operators_that_share_a_kernel_is_rounded(shared):
    content, kernel, bias = shared
    x = np.tile(PIXELS, (1, 4, 4, 1))
    scales = np.abs(kernel).max(axis=0) / 127
    rounded = np.rint(kernel / scales) * scales
    for is_rounded in ((True, False), (False, True), (True, True)):
        graph = TFLiteGraph(content)
        operators = weights.weighted(graph, weights.CHANNEL_AXIS)
        chosen = [operator for operator, each in zip(operators, is_rounded, strict=True) if each]
        rounded_by_hand(graph, chosen)
        first, second = (rounded if each else kernel for each in is_rounded)
        expected = np.maximum(PIXELS @ first + bias, 0) @ second + bias
        np.testing.assert_allclose(run(graph.to_bytes(), x)[0, 0, 0], expected, rtol=1e-4, atol=0.1)
        graph = TFLiteGraph(content)
        operators = weights.weighted(graph, weights.CHANNEL_AXIS)
        weights.quantize(graph, [operator for operator, each in zip(operators, is_rounded, strict=True) if each])
        new = TFLiteGraph(graph.to_bytes())
        convolutions = [operator for operator in new.operators if operator.name == "CONV_2D"]
        assert tuple(new.is_int8(operator.inputs[1]) for operator in convolutions) == is_rounded
