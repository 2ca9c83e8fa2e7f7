"""The check lets honest files of a detector pass and refuses those that are broken on purpose."""

import types

import keras
import numpy as np
import pytest

from condconv_keras.data import open_detection_dataset
from condconv_keras.export.check.export_check import ExportCheck
from condconv_keras.export.check.representative import check_images
from condconv_keras.export.formats import SAVED_MODEL, TFLITE
from condconv_keras.export.manifest import write_cards
from condconv_keras.export.saved_model.writing import write_saved_model
from condconv_keras.export.tflite import mobile_layers
from condconv_keras.export.tflite.conversion import tflite_bytes
from condconv_keras.facts.anchors import SSD_MOBILENET_V1
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.tasks.detection import answers as detector_answers
from condconv_keras.tasks.detection import detect
from condconv_keras.tasks.detection import tflite as postprocessing
from condconv_keras.tasks.detection.answers import detection_faults
from condconv_keras.tasks.detection.task import TASK
from condconv_keras.utils.errors import UserError
from tests.detectors import CATEGORIES, CLASSES, PHOTOGRAPHS, write_findable
from tests.sabotage import mix_kernels_of_first_image

MODES = ["none", "float16", "dynamic", "int8"]


@pytest.fixture(scope="module")
def export_check(detector):
    model, card = detector
    return ExportCheck(model, card, check_images(PHOTOGRAPHS, card.preprocessing))


@pytest.fixture
def check(detector, export_check, raw_detectors, tmp_path):
    """Looks at the detector's file of a mode, or at the one of other raw content."""
    _, card = detector
    write_cards(tmp_path, card)

    def check_file(name, content=None, raw_outputs=False):
        mode = TFLITE[name]
        path = tmp_path / mode.file_name
        content = content or raw_detectors[name]
        path.write_bytes(content if raw_outputs else postprocessing.with_postprocessing(content, card))
        return export_check(path, mode)[0]

    return check_file


@pytest.mark.parametrize("raw_outputs", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_honest_files_pass(check, mode, raw_outputs):
    comparison = check(mode, raw_outputs=raw_outputs)
    assert comparison.images == 16
    assert comparison.snr_db > 20


@pytest.mark.slow
def test_a_saved_model_passes_and_another_models_does_not(detector, export_check, tmp_path):
    model, card = detector
    write_saved_model(model, card, tmp_path / "saved_model")
    write_cards(tmp_path, card)
    comparison, _ = export_check(tmp_path / "saved_model", SAVED_MODEL)
    assert comparison.relative_error < 1e-5
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    bank = other.get_layer("extra_2").bank
    bank.assign(np.asarray(bank)[::-1])
    with pytest.raises(UserError, match="saved_model differs from the Keras model: "):
        ExportCheck(other, card, check_images(PHOTOGRAPHS, card.preprocessing))(tmp_path / "saved_model", SAVED_MODEL)


def test_what_float32_rounds_of_a_bias_is_no_error():
    """A detector that has hardly learned anything: its logits are the bias and little more."""
    reference = -4.6 + 1e-3 * np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    of_rounding, of_an_error = (detector_answers._figures(reference, reference + e)[0] for e in (2e-6, 1e-4))
    assert of_rounding < 1e-4 < of_an_error


def _options(**changes):
    right = postprocessing.postprocessing_options
    return "postprocessing_options", lambda classes: {**right(classes), **changes}


def _anchors(change):
    right = postprocessing.center_anchors
    return "center_anchors", lambda card: np.ascontiguousarray(change(right(card)))


SABOTAGES = {
    "anchors as corners": lambda: (
        "center_anchors",
        lambda card: card.anchor_boxes,
    ),
    "anchors with y and x swapped": lambda: _anchors(lambda anchors: anchors[:, [1, 0, 3, 2]]),
    "anchors in another order": lambda: _anchors(lambda anchors: anchors[::-1]),
    "scales swapped": lambda: _options(y_scale=5.0, x_scale=5.0, h_scale=10.0, w_scale=10.0),
    "too little suppressed": lambda: _options(nms_iou_threshold=0.9),
    "too much suppressed": lambda: _options(nms_iou_threshold=0.3),
    "only high scores": lambda: _options(nms_score_threshold=0.05),
    "half of the detections": lambda: _options(max_detections=50),
}


_REFUSED = r"model.*\.tflite( differs from the Keras model|' takes .* returns \(1, 50, 4\))"


@pytest.mark.parametrize("sabotage", SABOTAGES)
@pytest.mark.parametrize("mode", ["none", "int8"])
def test_a_wrong_postprocessing_is_refused(check, monkeypatch, mode, sabotage):
    monkeypatch.setattr(postprocessing, *SABOTAGES[sabotage]())
    with pytest.raises(UserError, match=_REFUSED):
        check(mode)


@pytest.mark.parametrize("mode", ["none", pytest.param("int8", marks=pytest.mark.slow)])
def test_the_kernels_of_the_first_image_for_all_are_refused(check, detector, monkeypatch, mode):
    model, card = detector
    monkeypatch.setattr(mobile_layers, "_MIXTURE_PIXELS", dict.fromkeys(mobile_layers._MIXTURE_PIXELS, 0))
    mix_kernels_of_first_image(model, card, PHOTOGRAPHS, monkeypatch)
    calibration = card.preprocessing.evaluation_images(PHOTOGRAPHS.calibration())
    content = tflite_bytes(model, card, mode, calibration, raw_outputs=True)
    with pytest.raises(UserError, match=r"differs from the Keras model .*(relative error|SNR)"):
        check(mode, content)


def test_classes_in_another_order_are_refused(check, monkeypatch):
    answers = TFLITE["none"].raw_outputs

    def shifted(self, *arguments):
        outputs = answers(*arguments)
        return {**outputs, "class_logits": np.roll(outputs["class_logits"], 1, axis=-1)}

    monkeypatch.setattr(type(TFLITE["none"]), "raw_outputs", shifted)
    with pytest.raises(UserError, match="relative error"):
        check("none")


ANCHORS = SSD_MOBILENET_V1.boxes((96, 96))


def _outputs(levels=None):
    """Random outputs of a network for two images; with a number of levels many scores are equal."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-3, 2, (2, len(ANCHORS), 4)).astype(np.float32)
    if levels is not None:
        logits = np.round(logits * levels) / levels
    return {"box_codes": rng.normal(0, 2, (2, len(ANCHORS), 4)).astype(np.float32), "class_logits": logits}


def _detections(outputs, **options):
    return {name: np.array(value) for name, value in detect(outputs, ANCHORS, **options).items()}


@pytest.mark.parametrize("levels", [None, 2])
def test_what_detect_finds_has_no_fault(levels):
    outputs = _outputs(levels)
    assert detection_faults(outputs, _detections(outputs), ANCHORS) == []


def _changed(**changes):
    def change(found):
        for name, (rows, value) in changes.items():
            found[name][rows] = value
        return found

    return change


def _without(row):
    def change(found):
        for name in ("boxes", "classes", "scores"):
            found[name][1, row:-1] = found[name][1, row + 1 :]
        found["count"][1] -= 1
        return found

    return change


@pytest.mark.parametrize(
    ("change", "contains"),
    [
        (_changed(scores=((1, 0), 0.999)), "in image 1 1 of 100 detections are no box and score of an anchor"),
        (_changed(boxes=((1, 3, 2), 0.5)), "in image 1 1 of 100 detections are no box"),
        (_changed(classes=((0, 0), 3)), "in image 0 a class is 3 of 3"),
        (_changed(classes=((0, 0), -1)), "in image 0 a class is"),
        (_without(2), "boxes with scores up to 0"),
        (_changed(count=((0,), 40)), "boxes with scores up to"),
    ],
)
def test_faults_of_detections(change, contains):
    outputs = _outputs()
    (fault,) = detection_faults(outputs, change(_detections(outputs)), ANCHORS)
    assert contains in fault


def test_faults_of_the_order_and_of_the_overlap():
    outputs = _outputs()
    found = _detections(outputs)
    found = {name: value if name == "count" else value[:, ::-1] for name, value in found.items()}
    assert "order of their scores" in detection_faults(outputs, found, ANCHORS)[0]
    found = _detections(outputs, iou_threshold=0.95)
    assert "two detections overlap by" in detection_faults(outputs, found, ANCHORS)[0]
    assert "are missing" in detection_faults(outputs, _detections(outputs, iou_threshold=0.1), ANCHORS)[0]


def test_numbers_that_are_not_finite_are_refused(detector):
    model, card = detector
    images = check_images(PHOTOGRAPHS, card.preprocessing)
    answers = detector_answers.DetectorAnswers(TASK, model, card, images)
    honest = answers.of_keras()
    assert not answers.failures(answers.compare(honest), 1e-4, None)
    honest.outputs["class_logits"][3, 5, 1] = np.nan
    assert answers.failures(answers.compare(honest), 1e-4, None) == ["relative error inf (at most 1e-04)"]
    assert answers.failures(answers.compare(honest), None, 20.0) == ["SNR -inf dB (at least 20)"]


def test_no_error_hides_behind_the_bias(detector):
    """Answers that are the mean of each coordinate and class have no signal."""
    model, card = detector
    answers = detector_answers.DetectorAnswers(TASK, model, card, check_images(PHOTOGRAPHS, card.preprocessing))
    received = answers.of_keras()
    for value in received.outputs.values():
        value[:] = value.mean(axis=(0, 1))
    assert answers.compare(received).snr_db == pytest.approx(0, abs=0.01)


@pytest.mark.slow
def test_the_average_precision_may_fall_by_one_point(detector, tmp_path, monkeypatch):
    model, card = detector
    ids = tuple(category["id"] for category in CATEGORIES)
    card = ModelCard(card.model, CLASSES, card.preprocessing, card.task, ids)
    predict = detector_answers.keras_predict(model, card)
    write_findable(tmp_path, predict, card)
    dataset = open_detection_dataset(str(tmp_path))
    answers = detector_answers.DetectorAnswers(TASK, model, card, check_images(PHOTOGRAPHS, card.preprocessing))
    shift = 0.0

    def open_doctored(self, path, model, card, threads=None):
        def doctored(images):
            found = predict(images)
            return {**found, "boxes": found["boxes"] + np.float32(shift)}

        return doctored

    monkeypatch.setattr(type(TFLITE["int8"]), "predictor", open_doctored)
    path = types.SimpleNamespace(name="doctored.tflite")
    accuracy, failures = answers.accuracy(TFLITE["int8"], path, dataset, None)
    assert accuracy.examples == 16
    assert 0.2 < accuracy.AP == accuracy.keras_AP < 0.95
    assert failures == []
    shift = 0.1
    accuracy, failures = answers.accuracy(TFLITE["int8"], path, dataset, None)
    assert accuracy.keras_AP - accuracy.AP > 0.01
    assert failures[0].startswith(f"AP {accuracy.AP:.4f} on 16 held-out images (Keras 0.")
