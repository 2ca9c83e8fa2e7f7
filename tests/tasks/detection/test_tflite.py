"""What a detector's `.tflite` file is made of and what it finds: with NMS inside, and raw."""

import collections
import json

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import flexbuffers
from tensorflow.lite.tools import flatbuffer_utils

from condconv_keras.export.tflite.conversion import tflite_bytes
from condconv_keras.facts.anchors import SSD_MOBILENET_V1
from condconv_keras.tasks.detection import detect
from condconv_keras.tasks.detection.exported import tflite_detector
from condconv_keras.tasks.detection.predictor import keras_predict
from condconv_keras.tasks.detection.task import TASK
from condconv_keras.tasks.detection.tflite import (
    OPERATOR,
    center_anchors,
    with_postprocessing,
    without_postprocessing,
)
from condconv_keras.utils.errors import UserError

MODES = ["none", "float16", "dynamic", "int8"]


@pytest.fixture(scope="module")
def files(detector, raw_detectors):
    return {mode: with_postprocessing(content, detector[1]) for mode, content in raw_detectors.items()}


def run(content, images, threads=1):
    runner = Interpreter(model_content=content, num_threads=threads).get_signature_runner("serving_default")
    dtype = runner.get_input_details()["images"]["dtype"]
    answers = [runner(images=image[np.newaxis].astype(dtype)) for image in images]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def raw_outputs(model, card, images):
    outputs = model(card.preprocessing.scale_images(images), training=False)
    return {name: np.asarray(value) for name, value in outputs.items()}


def assert_found(received, expected):
    """The same detections: where there are fewer than 100, zeros follow."""
    assert expected["count"].min() > 20
    np.testing.assert_array_equal(received["count"], expected["count"])
    np.testing.assert_allclose(received["scores"], expected["scores"], atol=1e-5)
    np.testing.assert_array_equal(received["classes"], expected["classes"])
    np.testing.assert_allclose(np.clip(received["boxes"], 0, 1), expected["boxes"], atol=1e-5)


def test_what_is_found_is_what_keras_finds(detector, detector_images):
    model, card = detector
    expected = keras_predict(model, card)(detector_images)
    assert np.unique(expected["classes"]).size == 3
    assert expected["scores"].std() > 1e-3
    assert_found(run(tflite_bytes(model, card), detector_images), expected)


@pytest.mark.parametrize("mode", MODES)
def test_one_custom_operator_and_builtin_ones(files, mode):
    file = flatbuffer_utils.read_model_from_bytearray(bytearray(files[mode]))
    operators = collections.Counter(
        flatbuffer_utils.opcode_to_name(file, operator.opcodeIndex) for operator in file.subgraphs[0].operators
    )
    assert [code.customCode for code in file.operatorCodes if code.customCode] == [OPERATOR.encode()]
    assert OPERATOR == "TFLite_Detection_PostProcess"
    assert None not in operators and "VAR_HANDLE" not in operators
    assert operators["CUSTOM"] == operators["LOGISTIC"] - _sigmoids(files, mode) == 1


def _sigmoids(files, mode):
    """Those of the routers."""
    file = flatbuffer_utils.read_model_from_bytearray(bytearray(without_postprocessing(files[mode])))
    names = [flatbuffer_utils.opcode_to_name(file, operator.opcodeIndex) for operator in file.subgraphs[0].operators]
    return names.count("LOGISTIC")


@pytest.mark.parametrize("mode", MODES)
def test_the_attributes_of_the_operator(files, mode):
    file = flatbuffer_utils.read_model_from_bytearray(bytearray(files[mode]))
    (operator,) = [operator for operator in file.subgraphs[0].operators if operator.customOptions is not None]
    options = flexbuffers.Loads(bytes(operator.customOptions))
    assert options.pop("nms_score_threshold") == pytest.approx(1e-8)
    assert options.pop("nms_iou_threshold") == pytest.approx(0.6)
    assert options == {
        "max_detections": 100,
        "max_classes_per_detection": 1,
        "detections_per_class": 100,
        "use_regular_nms": True,
        "num_classes": 64 + 3,
        "y_scale": 10,
        "x_scale": 10,
        "h_scale": 5,
        "w_scale": 5,
    }
    tensors = file.subgraphs[0].tensors
    assert [tensors[i].type for i in (*operator.inputs, *operator.outputs)] == [0] * 7  # float32
    anchors = np.frombuffer(bytes(file.buffers[tensors[operator.inputs[2]].buffer].data), np.float32).reshape(-1, 4)
    ymin, xmin, ymax, xmax = SSD_MOBILENET_V1.boxes((96, 96)).T
    expected = np.stack([(ymin + ymax) / 2, (xmin + xmax) / 2, ymax - ymin, xmax - xmin], axis=-1)
    np.testing.assert_allclose(anchors, expected, atol=1e-6)


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_no_class_is_left_out_with_several_threads(files, detector_images, threads):
    """As LiteRT's operator does, the class whose number is that of the threads."""
    expected = run(files["none"], detector_images[:4])
    assert set(np.unique(expected["classes"])) == {0, 1, 2}
    for name, value in run(files["none"], detector_images[:4], threads).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_signature_and_tensors(files, detector_images, mode):
    interpreter = Interpreter(model_content=files[mode])
    signature = {"inputs": ["images"], "outputs": sorted(["boxes", "classes", "scores", "count"])}
    received = interpreter.get_signature_list()
    assert list(received) == ["serving_default"]
    assert {name: sorted(names) for name, names in received["serving_default"].items()} == signature
    assert [details["name"] for details in interpreter.get_output_details()] == ["boxes", "classes", "scores", "count"]
    answer = run(files[mode], detector_images[:1])
    shapes = {"boxes": (1, 100, 4), "classes": (1, 100), "scores": (1, 100), "count": (1,)}
    assert {name: value.shape for name, value in answer.items()} == shapes
    assert {value.dtype for value in answer.values()} == {np.dtype(np.float32)}
    dtype = np.uint8 if mode == "int8" else np.float32
    assert interpreter.get_input_details()[0]["dtype"] == dtype


def test_boxes_of_any_size(detector, detector_images):
    """Boxes without area do no harm; a size has the same upper limit as in Keras."""
    model, card = detector
    layer = model.get_layer("box_head_1")
    before = layer.get_weights()
    bias = before[1].copy()
    bias[[2, 3, 6]] = -300.0, -200.0, 300.0
    layer.set_weights([before[0], bias])
    try:
        received = run(tflite_bytes(model, card), detector_images[:4])
        expected = keras_predict(model, card)(detector_images[:4])
    finally:
        layer.set_weights(before)
    sizes = expected["boxes"][..., 2] - expected["boxes"][..., 0]
    assert (sizes[0] == 0).any() and (sizes[0] == 1).any()
    np.testing.assert_allclose(received["scores"], expected["scores"], atol=1e-5)
    np.testing.assert_allclose(np.clip(received["boxes"], 0, 1), expected["boxes"], atol=1e-4)


@pytest.mark.parametrize("static_kernels", [False, True])
def test_raw_outputs_are_those_of_the_network(detector, raw_detectors, detector_images, static_kernels):
    model, card = detector
    content = raw_detectors["none"]
    if static_kernels:
        content = tflite_bytes(model, card, static_kernels=True, raw_outputs=True)
    answer = run(content, detector_images)
    expected = raw_outputs(model, card, detector_images)
    assert answer.keys() == expected.keys() == {"box_codes", "class_logits"}
    for name, value in expected.items():
        assert answer[name].dtype == np.float32
        np.testing.assert_allclose(answer[name], value, atol=1e-4 * np.ptp(value))
    file = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    assert not any(code.customCode for code in file.operatorCodes)


class _Detector(tf.Module):
    """A detector of two images at a time, whose outputs are multiples of each image's mean."""

    def __init__(self, card):
        super().__init__()
        anchors, classes = len(card.anchor_boxes), len(card.class_names)
        rng = np.random.default_rng(0)
        codes = tf.constant(rng.normal(size=(1, anchors, 4)), tf.float32)
        logits = tf.constant(rng.normal(size=(1, anchors, 1 + classes)), tf.float32)

        def detect(images):
            means = tf.reduce_mean(images, axis=(1, 2, 3))[:, tf.newaxis, tf.newaxis] / 100
            return {"box_codes": means * codes, "class_logits": means * logits}

        spec = tf.TensorSpec((2, *card.preprocessing.input_shape), tf.float32, name="images")
        self.detect = tf.function(detect, input_signature=[spec])


def test_a_file_of_a_batch_has_raw_outputs(detector, detector_images, tmp_path):
    card, module = detector[1], _Detector(detector[1])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.detect.get_concrete_function()], module)
    content, path = converter.convert(), tmp_path / "model.tflite"
    path.write_bytes(content)
    # The last batch is not whole.
    images = detector_images[:3]
    batches = [module.detect(images[places]) for places in ([0, 1], [2, 2])]
    outputs = {name: np.concatenate([batch[name] for batch in batches])[:3] for name in batches[0]}
    for name, value in TASK.tflite_raw_outputs(path, images).items():
        np.testing.assert_allclose(value, outputs[name], atol=1e-5)
    expected = {name: value.numpy() for name, value in detect(outputs, card.anchor_boxes).items()}
    received = tflite_detector(path, card)(images)
    np.testing.assert_array_equal(received["classes"], expected["classes"])
    np.testing.assert_allclose(received["boxes"], expected["boxes"], atol=1e-5)
    with pytest.raises(UserError, match=f"operator {OPERATOR} takes one image, received a batch of 2"):
        with_postprocessing(content, card)


@pytest.mark.parametrize("mode", MODES)
def test_without_postprocessing_the_same_network_is_left(detector, files, raw_detectors, detector_images, mode):
    model, card = detector
    contents = without_postprocessing(files[mode]), raw_detectors[mode]
    received, expected = (run(content, detector_images[:3]) for content in contents)
    for name, value in expected.items():
        np.testing.assert_allclose(received[name], value, atol=1e-5)
    reference = raw_outputs(model, card, detector_images[:3])
    for name, value in reference.items():
        np.testing.assert_allclose(expected[name], value, atol=0.15 * np.ptp(value))


def test_the_anchors_of_a_file(detector, tmp_path):
    _, card = detector
    TASK.write_beside(tmp_path, card, raw_outputs=False)
    assert not list(tmp_path.iterdir())
    TASK.write_beside(tmp_path, card, raw_outputs=True)
    fields = json.loads((tmp_path / "anchors.json").read_text())
    assert fields["format"] == ["ycenter", "xcenter", "height", "width"]
    np.testing.assert_array_equal(np.array(fields["anchors"], np.float32), center_anchors(card))
