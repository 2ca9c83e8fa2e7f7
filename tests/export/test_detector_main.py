"""The commands with exported detectors, on images with boxes near what the model finds: the AP says something."""

import dataclasses
import json

import numpy as np
import pytest

from condconv_keras.commands import export as command
from condconv_keras.data import open_detection_dataset
from condconv_keras.data.input.decoding import read_image
from condconv_keras.export.check.representative import DatasetImages
from condconv_keras.export.manifest import write_cards
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.models.saving import save_model
from condconv_keras.stored import StoredModel
from condconv_keras.stored.registered import Untrained
from condconv_keras.tasks.detection.predictor import keras_predict
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import UserError
from tests import processes
from tests.detectors import CATEGORIES, CLASSES, small_detector, write_findable
from tests.export.test_main import parsed  # noqa: F401 - a fixture

# Boxes found by random weights are too near to each other in their scores for 8 bits to keep the AP.
NAMES = ["saved_model", "model.tflite"]


@dataclasses.dataclass(frozen=True)
class _Detector:
    path: object
    data: object
    card: object
    predict: object
    AP: float


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A `.keras` file with a card, a folder of images with boxes, and the AP of one on the other."""
    folder = tmp_path_factory.mktemp("detector")
    model, card = small_detector()
    ids = tuple(category["id"] for category in CATEGORIES)
    card = dataclasses.replace(card, class_names=CLASSES, category_ids=ids)
    save_model(model, card, folder / "detector.keras")
    predict = keras_predict(model, card)
    write_findable(folder / "data", predict, card)
    dataset = open_detection_dataset(str(folder / "data"))
    metrics = get_task("detection").evaluate(predict, card, dataset, "val", 4)
    assert 0.2 < metrics.AP < 0.95
    return _Detector(folder / "detector.keras", folder / "data", card, predict, metrics.AP)


@pytest.fixture(scope="module")
def exported(detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "detector"
    finished = processes.run(
        "-m", "export", f"--model={detector.path}", f"--output_dir={folder}", f"--dataset={detector.data}",
        "--quantization=none",
    )  # fmt: skip
    assert finished.stdout.count("AP 0.") == 2
    return folder


@pytest.fixture
def export(parsed, monkeypatch):  # noqa: F811
    """A function of arguments that runs the command in this process and returns its JSON result."""

    def run(*arguments):
        monkeypatch.setattr(command, "FLAGS", parsed("--json", *arguments))
        return json.loads(command.main(["export"])[0])

    return run


def test_model_json(detector, exported):
    facts = json.loads((exported / "model.json").read_text())
    assert facts["task"] == "detection"
    assert facts["category_ids"] == [16, 17, 18]
    assert facts["input"]["shape"] == [96, 96, 3]
    assert facts["outputs"] == {"boxes": [100, 4], "classes": [100], "scores": [100], "count": []}
    assert facts["box_format"] == ["ymin", "xmin", "ymax", "xmax"]
    assert facts["postprocessing"] == {
        "max_detections": 100, "score_threshold": 1e-8, "iou_threshold": 0.6, "code_scales": [10, 10, 5, 5]
    }  # fmt: skip
    assert [file["file"] for file in facts["files"]] == NAMES
    assert [file["box_unit"] for file in facts["files"]] == ["pixel", "fraction"]
    for file in facts["files"]:
        assert (file["images"], file["examples"]) == (16, 16)
        assert file["keras_AP"] == pytest.approx(detector.AP, abs=1e-4)
        assert file["keras_AP"] - file["AP"] <= 0.01
    assert (exported / "labels.txt").read_text().split() == list(CLASSES)
    assert {path.name for path in exported.iterdir()} == {*NAMES, "model.json", "labels.txt"}


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_file_predicts_as_keras_does(detector, exported, name):
    predictor = StoredModel.open(exported / name).predictor()
    assert predictor.card == detector.card
    assert StoredModel.open(exported / name).task == "detection"
    image = read_image(detector.data / "val/000003.png")
    images = detector.card.preprocessing.evaluation_image(image).numpy()[np.newaxis]
    received, expected = predictor.predict(images), detector.predict(images)
    assert {k: (v.dtype, v.shape) for k, v in received.items()} == {k: (v.dtype, v.shape) for k, v in expected.items()}
    assert received["boxes"].min() >= 0 and received["boxes"].max() <= 1
    if name in ("saved_model", "model.tflite"):
        for key, value in expected.items():
            np.testing.assert_allclose(received[key], value, atol=1e-5)


def test_a_saved_model_is_exported_as_the_file_that_it_came_from(detector, exported, export, tmp_path):
    out = tmp_path / "out"
    flags = ("--formats=tflite", "--check_examples=2")
    export(f"--model={exported / 'saved_model'}", f"--output_dir={out}", f"--dataset={detector.data}", *flags)
    image = read_image(detector.data / "val/000003.png")
    images = detector.card.preprocessing.evaluation_image(image).numpy()[np.newaxis]
    found, answers = (StoredModel.open(place / "model.tflite").predictor().predict(images) for place in (out, exported))
    for name, value in answers.items():
        np.testing.assert_array_equal(found[name], value)
    facts, expected = (json.loads((folder / "model.json").read_text()) for folder in (out, exported))
    assert facts["source"]["kind"] == "savedmodel"
    assert facts["source"]["sha256"] == expected["files"][0]["sha256"]
    assert {**facts, "source": None, "files": None} == {**expected, "source": None, "files": None}


@pytest.mark.parametrize("name", [pytest.param("saved_model", marks=pytest.mark.slow), "model.tflite"])
def test_eval(detector, exported, name):
    arguments = (f"--model={exported / name}", f"--dataset={detector.data}", "--json")
    assert json.loads(processes.run("eval.py", *arguments).stdout)["AP"] == pytest.approx(detector.AP, abs=1e-4)


def test_predict(detector, exported):
    found = {}
    for path in (detector.path, exported / "model.tflite"):
        arguments = (f"--model={path}", "--min_score=0.02", "--json", detector.data / "val")
        found[path] = json.loads(processes.run("predict.py", *arguments).stdout)["predictions"]
    mine, theirs = found.values()
    assert len(theirs) == 16
    assert sum(len(prediction["boxes"]) for prediction in theirs) > 20
    for prediction, expected in zip(mine, theirs, strict=True):
        assert [box["name"] for box in prediction["boxes"]] == [box["name"] for box in expected["boxes"]]
        for box, other in zip(prediction["boxes"], expected["boxes"], strict=True):
            np.testing.assert_allclose(box["bbox"], other["bbox"], atol=0.05)


@pytest.mark.slow
def test_raw_outputs(export, detector, tmp_path):
    out = tmp_path / "out"
    arguments = ("--formats=tflite", "--raw_outputs", "--static_kernels", "--check_examples=5")
    results = export(f"--model={detector.path}", f"--output_dir={out}", f"--dataset={detector.data}", *arguments)
    assert {path.name for path in out.iterdir()} == {"model.tflite", "anchors.json", "model.json", "labels.txt"}
    assert results["multiply_adds"]["ratio"] > 1
    (file,) = json.loads((out / "model.json").read_text())["files"]
    assert file["anchors"] == "anchors.json"
    assert file["outputs"] == {"box_codes": [204, 4], "class_logits": [204, 4]}
    assert file["examples"] == 5
    image = detector.card.preprocessing.evaluation_image(read_image(detector.data / "val/000001.png"))
    received = StoredModel.open(out / "model.tflite").predictor().predict(image.numpy()[np.newaxis])
    for name, value in detector.predict(image.numpy()[np.newaxis]).items():
        np.testing.assert_allclose(received[name], value, atol=1e-5)


@pytest.mark.slow
def test_an_untrained_detector(export, tmp_path):
    arguments = ("--num_experts=2", "--width_multiplier=0.5", "--input_size=96", "--quantization=none,int8")
    results = export("--model=condconv_ssd300_mobilenet_v1", f"--output_dir={tmp_path / 'out'}", *arguments)
    assert [file["file"] for file in results["files"]] == ["saved_model", "model.tflite", "model_int8.tflite"]
    assert all("AP" not in file for file in results["files"])


@pytest.mark.slow
def test_a_lower_average_precision_leaves_nothing(export, detector, tmp_path, monkeypatch):
    from condconv_keras.tasks.detection import answers as detector_answers

    monkeypatch.setattr(detector_answers, "_Part", lambda dataset, split, examples: dataset)
    monkeypatch.setattr(detector_answers, "MAX_AP_LOSS", -1.0)
    with pytest.raises(UserError, match=r"model\.tflite differs from .*: AP 0\.\d+ on 16 held-out images \(Keras 0"):
        export(
            f"--model={detector.path}", f"--output_dir={tmp_path / 'out'}", f"--dataset={detector.data}",
            "--formats=tflite",
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_int8_is_calibrated_on_training_images(detector):
    dataset = open_detection_dataset(str(detector.data))
    calibration = [np.asarray(image).tobytes() for image in DatasetImages(dataset).calibration()]
    training = {image.tobytes() for image, _ in dataset.examples("train").as_numpy_iterator()}
    assert len(calibration) == 16
    assert set(calibration) == training


def test_a_flag_of_detectors(parsed):  # noqa: F811
    from condconv_keras.commands.export_flags import chosen_formats
    from condconv_keras.commands.export_uses import check_uses

    for source, arguments, contains in (
        (Untrained("mobilenet_v1"), [], "--raw_outputs is for detectors"),
        (Untrained("ssd300_mobilenet_v1"), ["--formats=savedmodel"], "--raw_outputs is for --formats=tflite"),
    ):
        values = parsed("--raw_outputs", *arguments)
        with pytest.raises(UserError, match=contains):
            check_uses(values, chosen_formats(values), source)


def test_a_file_that_is_no_detectors(exported, detector, tmp_path):
    (tmp_path / "model.tflite").write_bytes((exported / "model.tflite").read_bytes())
    write_cards(tmp_path, ModelCard("mobilenet_v1", detector.card.class_names, detector.card.preprocessing))
    with pytest.raises(UserError, match="has no signature 'serving_default' from 'images' to 'probabilities'"):
        StoredModel.open(tmp_path / "model.tflite").predictor()
    larger = dataclasses.replace(detector.card.preprocessing, input_size=(128, 96))
    write_cards(tmp_path, dataclasses.replace(detector.card, preprocessing=larger))
    with pytest.raises(UserError, match=r"takes \(1, 96, 96, 3\) .* takes \(1, 128, 96, 3\)"):
        StoredModel.open(tmp_path / "model.tflite").predictor()
