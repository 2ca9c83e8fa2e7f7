"""The commands with a detector: trained on a few squares, evaluated, drawn, and checked against pycocotools."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from condconv_keras.routing_statistics.by_epoch import read_by_epoch
from tests import processes
from tests.data.detection_folders import write_squares

SMALL = ("--model=condconv_ssd300_mobilenet_v1", "--width_multiplier=0.25", "--num_experts=2", "--input_size=96")


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    write_squares(folder, train=128, val=40)
    return folder


@pytest.fixture(scope="module")
def run(squares, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "squares"
    processes.run(
        "train.py",
        *SMALL,
        f"--dataset={squares}",
        "--augmentation=none",
        # One CondConv block, for the time that tracing takes.
        "--start_block=13",
        "--epochs=8",
        "--batch_size=8",
        "--optimizer=adamw",
        "--learning_rate=0.005",
        "--clip_norm=1",
        f"--model_dir={folder}",
    )
    return folder


@pytest.fixture(scope="module")
def results(run):
    return json.loads(processes.run("eval.py", f"--model={run}", "--json").stdout)


def test_the_run_folder(run, results):
    config = json.loads((run / "config.json").read_text())
    assert config["task"] == "detection" and config["recipe_name"] == "ssd_small"
    with open(run / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "class_loss", "box_loss", "val_AP", "val_AP50", "learning_rate"]
    for row in rows:
        assert float(row["loss"]) == pytest.approx(float(row["class_loss"]) + float(row["box_loss"]), rel=1e-3)
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) / 2
    routing = read_by_epoch(run / "routing.csv")
    assert [row.epoch for row in routing if row.layer == "block_13_routing"] == list(range(8))
    stored = json.loads((run / "results.json").read_text())
    assert stored["examples"] == results["examples"] == 40
    assert stored["AP"] == pytest.approx(results["AP"], abs=1e-6)
    # Of the untrained network both are below 0.001. What it learns of the images it has seen tells more.
    assert results["AP50"] > 0.05
    seen = json.loads(processes.run("eval.py", f"--model={run}", "--split=train", "--json").stdout)
    assert seen["examples"] == 128 and seen["AP50"] > 0.1
    assert (run / "curves.png").is_file()


@pytest.mark.slow
def test_the_keras_file_alone_knows_its_task(run, squares, results):
    path = run / "model.keras"
    found = json.loads(processes.run("eval.py", f"--model={path}", f"--dataset={squares}", "--json").stdout)
    assert found["AP"] == results["AP"]


def test_replicas_share_the_images(run, results):
    arguments = ("--strategy=mirrored", "--logical_cpus=2", "--batch_size=3", "--json")
    found = json.loads(processes.run("eval.py", f"--model={run}", *arguments).stdout)
    assert found["examples"] == 40
    assert found["AP"] == pytest.approx(results["AP"], abs=1e-4)


def test_per_class(run, results, tmp_path):
    finished = processes.run("eval.py", f"--model={run}", f"--per_class_csv={tmp_path / 'ap.csv'}")
    with open(tmp_path / "ap.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["red", "blue"]
    assert np.mean([float(row["AP"]) for row in rows]) == pytest.approx(results["AP"], abs=1e-5)
    table = dict(line.split(maxsplit=1) for line in finished.stdout.splitlines())
    assert table["model"] == f"{run} (keras)"
    assert table["data"].endswith(", 40 examples of val")
    assert float(table["AP50"]) == pytest.approx(results["AP50"], abs=1e-4)
    assert float(table["red"]) == pytest.approx(float(rows[0]["AP"]), abs=1e-4)


def test_predictions_are_what_pycocotools_evaluates(run, squares, results, tmp_path):
    found = tmp_path / "found.json"
    finished = processes.run(
        "predict.py", f"--model={run}", f"--coco_json={found}", f"--output_dir={tmp_path / 'drawn'}", "--min_score=0.2",
        "--json", squares / "val",
    )  # fmt: skip
    truth = json.loads((squares / "val/instances.json").read_text())
    for i, annotation in enumerate(truth["annotations"], start=1):
        annotation |= {"id": i, "iscrowd": 0, "area": annotation["bbox"][2] * annotation["bbox"][3]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    coco = COCO(str(tmp_path / "truth.json"))
    evaluation = COCOeval(coco, coco.loadRes(str(found)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(results["AP"], abs=1e-4)
    assert evaluation.stats[1] == pytest.approx(results["AP50"], abs=1e-4)
    predictions = json.loads(finished.stdout)["predictions"]
    assert len(predictions) == 40
    entries = json.loads(found.read_text())
    shown = [box for prediction in predictions for box in prediction["boxes"]]
    assert len(shown) == sum(entry["score"] >= 0.2 for entry in entries)
    assert {box["name"] for box in shown} <= {"red", "blue"}
    drawings = sorted((tmp_path / "drawn").iterdir())
    assert [path.name for path in drawings] == [f"{i:06}.png" for i in range(1, 41)]
    for path, prediction in zip(drawings, predictions, strict=True):
        drawn, image = np.asarray(Image.open(path)), np.asarray(Image.open(squares / "val" / path.name))
        assert drawn.shape == image.shape
        assert (drawn != image).any() == bool(prediction["boxes"])


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        (["--label_smoothing=0.1"], "--label_smoothing is for classifiers, the model is a detector"),
        (["--mixup_alpha=0.2"], "--mixup_alpha is for classifiers"),
        (
            ["--recipe=mobilenet"],
            "--recipe of a detector is one of ssd, ssd_small, digit_scenes, scenes. Received: 'mobile",
        ),
        (["--augmentation=inception"], "unknown augmentation 'inception'. Known: none, ssd, ssd_no_flip."),
        (["--condconv_classifier"], "--condconv_classifier is not for --model=condconv_ssd300_mobilenet_v1"),
        (["--data_service=grpc://localhost:1"], "--data_service is not for digit_scenes"),
        (["--crop_fraction=0.9"], "--crop_fraction must be 1 or None, as a crop would cut boxes"),
        (["--dataset=digits"], "digits"),
    ],
)
def test_flags_that_are_not_a_detectors(arguments, contains, tmp_path):
    processes.assert_refused("train.py", *SMALL, f"--model_dir={tmp_path / 'run'}", *arguments, contains=contains)
    assert not (tmp_path / "run").exists()


def test_augmentations_of_boxes_are_not_a_classifiers(tmp_path):
    contains = "unknown augmentation 'ssd'. Known: inception, none, pad_crop."
    arguments = ("--model=mobilenet_v1", "--augmentation=ssd", f"--model_dir={tmp_path / 'run'}")
    processes.assert_refused("train.py", *arguments, contains=contains)


def test_outputs_that_a_detector_does_not_have(run, squares, tmp_path):
    arguments = ("eval.py", f"--model={run}", f"--confusion_csv={tmp_path / 'c.csv'}")
    processes.assert_refused(*arguments, contains="--confusion_csv is for classifiers")
    arguments = ("predict.py", f"--model={run}", "--top_k=3", squares / "val")
    processes.assert_refused(*arguments, contains="--top_k is not for a model for detection")


def test_an_id_for_two_images_is_refused(run, squares, tmp_path):
    arguments = ("predict.py", f"--model={run}", f"--coco_json={tmp_path / 'found.json'}", squares)
    processes.assert_refused(*arguments, contains="--coco_json has one entry for the id 1")


def test_drawings_replace_nothing(run, squares, tmp_path):
    (tmp_path / "000003.png").write_text("mine")
    arguments = ("predict.py", f"--model={run}", f"--output_dir={tmp_path}", squares / "val")
    processes.assert_refused(*arguments, contains="--output_dir has '000003.png' already")
    assert (tmp_path / "000003.png").read_text() == "mine"
    arguments = ("predict.py", f"--model={run}", f"--output_dir={tmp_path / 'new'}", squares)
    processes.assert_refused(*arguments, contains="--output_dir has room for one '000001.png'")
