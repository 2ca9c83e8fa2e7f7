"""What a `.tflite` file is made of: operators, sizes, signature, input types."""

import collections
import gc
import pathlib
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.tools import flatbuffer_utils

from condconv_keras.data import Preprocessing
from condconv_keras.export.check.representative import Photographs
from condconv_keras.export.tflite import mobile_layers
from condconv_keras.export.tflite.conversion import tflite_bytes
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.layers import CondConv2D, DepthwiseCondConv2D
from condconv_keras.stored.untrained import untrained_model
from condconv_keras.tasks.classification.answers import centered_log_probabilities, compare
from condconv_keras.tasks.classification.predictor import keras_predict
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.softmax import softmax
from tests.heads import BIAS, CARD, HEADS, IMAGES, KERNEL, model_with
from tests.models.randomize import randomize

MODES = ["none", "float16", "dynamic", "int8"]


@pytest.fixture(scope="module")
def network():
    arguments = {"width_multiplier": 0.5, "num_experts": 4, "classes": 10, "input_shape": (96, 96, 3)}
    # Two CondConv blocks, for the time that conversion takes.
    model, card = untrained_model("condconv_mobilenet_v1", start_block=12, **arguments)
    return model, card, card.preprocessing.evaluation_images(Photographs(trained=False).calibration())


@pytest.fixture(scope="module")
def files(network):
    model, card, images = network
    return {mode: tflite_bytes(model, card, mode, images) for mode in MODES}


def run(content, image):
    runner = Interpreter(model_content=content, num_threads=1).get_signature_runner("serving_default")
    return {name: np.array(value) for name, value in runner(images=image).items()}


def operators(content):
    """How many operators of each name a file has."""
    file = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    return collections.Counter(
        flatbuffer_utils.opcode_to_name(file, operator.opcodeIndex) for operator in file.subgraphs[0].operators
    )


@pytest.mark.parametrize("mode", MODES)
def test_builtin_operators_only(files, mode):
    file = flatbuffer_utils.read_model_from_bytearray(bytearray(files[mode]))
    names = operators(files[mode])
    assert None not in names and "CUSTOM" not in names and "VAR_HANDLE" not in names
    assert all(code.customCode is None for code in file.operatorCodes)
    assert names["SOFTMAX"] == 1


def test_sizes_are_those_of_the_weights(network, files):
    weights = network[0].count_params()
    # A byte for every weight, and at most a tenth more for scales, zero points and the graph.
    assert len(files["none"]) == pytest.approx(4 * weights, rel=0.03)
    assert len(files["float16"]) == pytest.approx(2 * weights, rel=0.04)
    assert weights < len(files["dynamic"]) < 1.15 * weights
    assert weights < len(files["int8"]) < 1.15 * weights


@pytest.mark.parametrize("mode", MODES)
def test_signature(network, files, mode):
    model, card, images = network
    dtype = np.uint8 if mode == "int8" else np.float32
    image = np.round(images[:1])
    answer = run(files[mode], image.astype(dtype))
    assert list(answer) == ["probabilities"]
    assert answer["probabilities"].dtype == np.float32
    np.testing.assert_allclose(answer["probabilities"].sum(), 1, rtol=1e-5)
    expected = keras_predict(model, card)(image)
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=0.05)
    if mode == "none":
        np.testing.assert_allclose(answer["probabilities"], expected, rtol=1e-5)


def test_int8_input_is_the_pixel_less_128(network, files, capfd):
    model, card, images = network
    pixels = np.round(images[:1]).astype(np.uint8)
    capfd.readouterr()
    content = tflite_bytes(model, card, "int8", images, int8_input="int8")
    # Converting is quiet.
    assert capfd.readouterr() == ("", "")
    details = Interpreter(model_content=content).get_input_details()[0]
    assert (details["dtype"], details["quantization"]) == (np.int8, (1.0, -128))
    shifted = (pixels.astype(np.int16) - 128).astype(np.int8)
    np.testing.assert_array_equal(run(content, shifted)["probabilities"], run(files["int8"], pixels)["probabilities"])


def test_int8_without_images_is_refused(network):
    with pytest.raises(UserError, match="int8 needs representative images"):
        tflite_bytes(network[0], network[1], "int8")


@pytest.mark.parametrize("mode", ["none", "int8"])
@pytest.mark.parametrize("head", ["softmax of a nested model", "softmax and reshape", "two averaged"])
def test_a_softmax_of_the_network_is_the_only_one(head, mode):
    content = tflite_bytes(model_with(HEADS[head]), CARD, mode, IMAGES)
    pixels = np.round(IMAGES)
    answers = [run(content, image[None].astype(np.uint8 if mode == "int8" else np.float32)) for image in pixels]
    received = np.concatenate([answer["probabilities"] for answer in answers])
    assert received.dtype == np.float32
    expected = softmax((pixels / 255).mean(axis=(1, 2)) @ KERNEL + BIAS)
    np.testing.assert_allclose(received, expected, atol=1e-5 if mode == "none" else 0.05)
    if head != "two averaged":
        # Of eight bits they would be multiples of 1/256.
        np.testing.assert_allclose(received.sum(axis=-1), 1, rtol=1e-5)
        assert mode == "none" or np.abs(256 * received - np.round(256 * received)).max() > 0.05


@pytest.fixture(scope="module")
def every_kind():
    """A classifier with a CondConv layer of every kind, and images."""
    x = inputs = keras.Input((24, 24, 3))
    for layer in (
        CondConv2D(16, 3, num_experts=3, padding="same"),
        DepthwiseCondConv2D(3, num_experts=3, padding="same", use_bias=False),
        CondConv2D(24, 1, num_experts=3, use_bias=False),
        DepthwiseCondConv2D(3, num_experts=3, padding="same", strides=2),
        CondConv2D(32, 1, num_experts=3),
    ):
        x = keras.layers.ReLU(6)(keras.layers.BatchNormalization()(layer(x)))
    model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)))
    card = ModelCard("mine", tuple("0123456789"), Preprocessing((24, 24), 3, 127.5, 127.5))
    randomize(model)
    # One more than a multiple of the batch: the last one to calibrate on is filled up.
    return model, card, card.preprocessing.evaluation_images(Photographs(trained=False).calibration())[:16]


@pytest.mark.parametrize("mode", ["none", "dynamic", "int8"])
def test_a_batch_in_one_file(every_kind, mode, monkeypatch):
    """Kernels of their own for the images of a batch, in builtin operators."""
    monkeypatch.setattr(mobile_layers, "_MIXTURE_PIXELS", dict.fromkeys(mobile_layers._MIXTURE_PIXELS, 0))
    model, card, images = every_kind
    content = tflite_bytes(model, card, mode, images, batch_size=3)
    file = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    assert all(code.customCode is None for code in file.operatorCodes)
    pixels = np.round(images[:6]).astype(np.uint8 if mode == "int8" else np.float32)
    answers = np.concatenate([run(content, images)["probabilities"] for images in np.split(pixels, 2)])
    reference = centered_log_probabilities(keras_predict(model, card)(np.round(images[:6])))
    assert (
        compare(reference, centered_log_probabilities(answers)).snr_db > {"none": 100, "dynamic": 25, "int8": 25}[mode]
    )
    # Whatever lies beside an image, and wherever it lies.
    places = [2, 0, 1]
    moved = run(content, pixels[places])["probabilities"]
    np.testing.assert_allclose(moved, answers[places], atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("filters, strides", [(8, 1), (8, 2), (16, 2)])
def test_a_layer_of_few_filters_or_with_strides_has_no_slices(mode, filters, strides, monkeypatch):
    """Slices with strides are not XNNPACK's, and nine of them take longer than a convolution of few filters."""
    monkeypatch.setattr(mobile_layers, "_MIXTURE_PIXELS", dict.fromkeys(mobile_layers._MIXTURE_PIXELS, 0))
    layer = CondConv2D(filters, 3, num_experts=2, strides=strides, padding="same")
    model = keras.Sequential([keras.Input((12, 12, 3)), layer, keras.layers.GlobalAveragePooling2D()])
    randomize(model)
    card = ModelCard("mine", tuple("0123456789abcdef"[:filters]), Preprocessing((12, 12), 3, 127.5, 127.5))
    pixels = np.random.default_rng(0).uniform(0, 255, (8, 12, 12, 3)).astype("float32")
    names = operators(tflite_bytes(model, card, mode, pixels))
    sliced = mode == "int8" and filters > 8  # where gathering by a convolution would round the pixels once more
    assert names["STRIDED_SLICE"] == 9 * sliced and names["CONCATENATION"] == sliced
    assert names["CONV_2D"] == (filters == 8)


def test_static_kernels_have_constants_only(network):
    model, card, images = network
    content = tflite_bytes(model, card, static_kernels=True)
    file = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph = file.subgraphs[0]
    for operator in graph.operators:
        if flatbuffer_utils.opcode_to_name(file, operator.opcodeIndex) in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            assert file.buffers[graph.tensors[operator.inputs[1]].buffer].data is not None
    answer = run(content, images[:1])["probabilities"]
    np.testing.assert_allclose(answer, keras_predict(model, card)(images[:1]), rtol=1e-5)


def test_no_graph_stays_in_memory():
    """A graph holds all the weights; eight of them, those of `tf.nn.silu`, would fill the memory."""
    arguments = {"num_experts": 2, "classes": 3, "input_shape": (32, 32, 3), "depth_multiplier": 0.5}
    model, card = untrained_model("condconv_efficientnet_b0", **arguments)
    graphs = weakref.WeakSet()
    register = tf.Graph.__init__

    def registered(self):
        register(self)
        graphs.add(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.Graph, "__init__", registered)
        tflite_bytes(model, card)
    made = len(graphs)
    gc.collect()
    assert made
    assert not graphs


@pytest.mark.parametrize("static_kernels", [False, True])
def test_no_bank_is_part_of_the_graph(static_kernels, monkeypatch):
    """TensorFlow and its converter copy what is in the graph many times."""
    arguments = {"width_multiplier": 0.25, "start_block": 12, "classes": 3, "input_shape": (96, 96, 3)}
    model, card = untrained_model("condconv_mobilenet_v1", **arguments)
    from_saved_model = tf.lite.TFLiteConverter.from_saved_model
    sizes = []

    def noted(folder, *args, **kwargs):
        sizes.append(pathlib.Path(folder, "saved_model.pb").stat().st_size)
        return from_saved_model(folder, *args, **kwargs)

    monkeypatch.setattr(tf.lite.TFLiteConverter, "from_saved_model", noted)
    content = tflite_bytes(model, card, static_kernels=static_kernels)
    (size,) = sizes
    assert size < len(content) / 4
