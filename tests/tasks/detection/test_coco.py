"""COCO metrics against pycocotools on files, and by hand."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from condconv_keras.facts.model_card import DetectorCard
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.tasks.detection import CocoEvaluator, coco_results, task
from tests.tasks.detection import numpy_detection as oracle

NAMES = ("cat", "dog", "bird", "unicorn")  # no unicorn occurs
CATEGORY_IDS = (3, 17, 18, 90)
SIZES = {11: (480, 640), 5: (300, 300), 42: (400, 250), 7: (640, 480)}
AVERAGE_PRECISIONS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
AVERAGE_RECALLS = ("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large")
SUMMARY = AVERAGE_PRECISIONS + AVERAGE_RECALLS


def _truth(image_id, boxes, classes, is_crowd=None, area=None):
    height, width = SIZES[image_id]
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    if area is None:
        area = [oracle.area(box) * height * width for box in boxes]
    return {
        "image_id": np.int64(image_id),
        "height": height,
        "width": width,
        "boxes": boxes,
        "classes": np.array(classes, np.int32),
        "is_crowd": np.zeros(len(boxes), bool) if is_crowd is None else is_crowd,
        "area": np.array(area, np.float32),
    }


def _detected(*images):
    """(boxes, classes, scores) of each image as `detect` returns them: what lies after `count` has no meaning."""
    most = max(len(boxes) for boxes, _, _ in images) + 1
    batch = {
        "boxes": np.full((len(images), most, 4), 0.5, np.float32),
        "classes": np.zeros((len(images), most), np.int32),
        "scores": np.ones((len(images), most), np.float32),
        "count": np.array([len(boxes) for boxes, _, _ in images], np.int32),
    }
    for i, values in enumerate(images):
        for name, value in zip(("boxes", "classes", "scores"), values, strict=True):
            batch[name][i, : len(value)] = np.reshape(value, (-1, 4)) if name == "boxes" else value
    return batch


def _random_image(rng, image_id, no_boxes=False):
    """Ground truth with crowds and areas of all ranges; detections near it, of wrong classes and anywhere."""
    count = 0 if no_boxes else rng.integers(8, 15)
    boxes, classes = oracle.random_boxes(rng, count, 0.03, 0.5), rng.integers(0, 3, count)
    height, width = SIZES[image_id]
    area = [oracle.area(box) * height * width * rng.uniform(0.5, 1) for box in boxes]  # as of a mask
    truth = _truth(image_id, boxes, classes, rng.random(count) < 0.2, area)
    near = np.repeat(boxes, 3, axis=0) + rng.normal(scale=0.015, size=(3 * count, 4))
    found = np.concatenate([near, oracle.random_boxes(rng, 20, 0.03)]).clip(0, 1)
    found_classes = np.concatenate([np.repeat(classes, 3), rng.integers(0, 4, 20)])
    is_wrong = rng.random(len(found)) < 0.2
    found_classes = np.where(is_wrong, (found_classes + 1) % 4, found_classes)
    return truth, (found.astype(np.float32), found_classes, rng.permutation(len(found)) / 200 + 0.1)


def _annotation(truth, i):
    ymin, xmin, ymax, xmax = truth["boxes"][i].astype(float) * ([truth["height"], truth["width"]] * 2)
    return {
        "image_id": int(truth["image_id"]),
        "category_id": CATEGORY_IDS[truth["classes"][i]],
        "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
        "iscrowd": int(truth["is_crowd"][i]),
        "area": float(truth["area"][i]),
    }


def _from_files(folder, truths, results):
    """COCOeval of the two files that a user of pycocotools would have."""
    annotations = [_annotation(truth, i) for truth in truths for i in range(len(truth["boxes"]))]
    instances = {
        "images": [{"id": int(truth["image_id"])} for truth in truths],
        "categories": [{"id": i, "name": name} for i, name in zip(CATEGORY_IDS, NAMES, strict=True)],
        "annotations": [{"id": 100 + i, **annotation} for i, annotation in enumerate(annotations)],
    }
    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / "results.json").write_text(json.dumps(results))
    ground_truth = COCO(str(folder / "instances.json"))
    evaluation = COCOeval(ground_truth, ground_truth.loadRes(str(folder / "results.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


@pytest.fixture(scope="module")
def random_case():
    rng = np.random.default_rng(3)
    images = [_random_image(rng, image_id, no_boxes=image_id == 42) for image_id in SIZES]
    evaluator = CocoEvaluator(NAMES)
    for batch in (images[:3], images[3:]):
        evaluator.add(_detected(*(found for _, found in batch)), [truth for truth, _ in batch])
    return images, evaluator


def test_the_metrics_are_those_of_pycocotools_on_files(random_case, tmp_path, capsys):
    images, evaluator = random_case
    metrics = evaluator.metrics()
    assert not capsys.readouterr().out
    results = []
    for truth, (boxes, classes, scores) in images:
        height, width = truth["height"], truth["width"]
        for (ymin, xmin, ymax, xmax), c, score in zip(boxes.astype(float), classes, scores, strict=True):
            bbox = [xmin * width, ymin * height, (xmax - xmin) * width, (ymax - ymin) * height]
            entry = {"image_id": int(truth["image_id"]), "category_id": CATEGORY_IDS[c], "bbox": bbox, "score": score}
            results.append(entry)
    evaluation = _from_files(tmp_path, [truth for truth, _ in images], results)
    expected = dict(zip(SUMMARY, evaluation.stats, strict=True))
    assert len({round(float(value), 6) for value in expected.values()}) == 12  # the case tells them apart
    assert min(expected.values()) > 0 and max(expected.values()) < 1
    for name, value in expected.items():
        assert getattr(metrics, name) == pytest.approx(value, abs=1e-9), name
    assert metrics.per_class["unicorn"] is None
    for c, name in enumerate(NAMES[:3]):
        of_class = evaluation.eval["precision"][:, :, c, 0, 2].mean()
        assert 0 < of_class < 1 and metrics.per_class[name] == pytest.approx(of_class, abs=1e-9)
    assert json.loads(json.dumps(metrics.to_dict())) == {**{n: getattr(metrics, n) for n in SUMMARY}, "examples": 4}


def test_the_written_results_are_what_was_evaluated(random_case, tmp_path):
    images, evaluator = random_case
    evaluation = _from_files(tmp_path, [truth for truth, _ in images], evaluator.results(CATEGORY_IDS))
    np.testing.assert_allclose(evaluator.metrics().AP, evaluation.stats[0], atol=1e-9)


def test_perfect_and_empty_predictions():
    boxes = np.array([[0.1, 0.1, 0.2, 0.2], [0.5, 0.5, 0.9, 0.95]], np.float32)  # 3,072 and 55,296 square pixels
    truths = [_truth(11, boxes, [0, 1]), _truth(5, [], [])]
    nothing = ([], [], [])
    perfect, empty = CocoEvaluator(NAMES), CocoEvaluator(NAMES)
    perfect.add(_detected((boxes, [0, 1], [0.9, 0.8]), nothing), truths)
    empty.add(_detected(nothing, nothing), truths)
    for evaluator, value in ((perfect, 1.0), (empty, 0.0)):
        metrics = evaluator.metrics()
        assert metrics.AP_small is None and metrics.AR_small is None
        others = [getattr(metrics, name) for name in SUMMARY if "small" not in name]
        assert others == pytest.approx([value] * 10, abs=1e-9)
        assert metrics.per_class == pytest.approx({"cat": value, "dog": value, "bird": None, "unicorn": None})
        assert metrics.examples == 2


def test_images_without_boxes_count():
    boxes = np.array([[0.1, 0.1, 0.3, 0.4]], np.float32)
    evaluator = CocoEvaluator(NAMES)
    # The better of two detections is in the image that has no box: precision 1/2 at every recall.
    evaluator.add(_detected((boxes, [0], [0.5]), (boxes, [0], [0.9])), [_truth(11, boxes, [0]), _truth(5, [], [])])
    np.testing.assert_allclose(evaluator.metrics().AP, 0.5)


def test_a_data_set_without_any_box():
    evaluator = CocoEvaluator(NAMES)
    evaluator.add(_detected(([], [], [])), [_truth(11, [], [])])
    metrics = evaluator.metrics()
    assert all(getattr(metrics, name) is None for name in SUMMARY) and set(metrics.per_class.values()) == {None}


def test_two_classes_of_one_name_have_two_rows():
    boxes = np.array([[0.1, 0.1, 0.2, 0.2], [0.5, 0.5, 0.9, 0.95]], np.float32)
    card = DetectorCard("ssd", ("car", "bus", "car"), Preprocessing((8, 8), 3, 0.0, 1.0), category_ids=(3, 5, 7))
    truth = {
        "boxes": boxes[np.newaxis],
        "classes": np.array([[0, 2]]),
        "is_crowd": np.zeros((1, 2), int),
        "area": np.full((1, 2), 900.0),
        "image_id": np.array([11]),
        "size": np.array([[100, 100]]),
        "count": np.array([2]),
    }
    metrics = task._measure([(_detected((boxes[:1], [0], [0.9])), truth)], card)
    assert metrics.per_class == pytest.approx({"car (3)": 1.0, "bus": None, "car (7)": 0.0})


def test_misuse():
    evaluator = CocoEvaluator(NAMES)
    with pytest.raises(ValueError, match="at least one image"):
        evaluator.metrics()
    detections, truth = _detected(([], [], [])), _truth(11, [], [])
    evaluator.add(detections, [truth])
    with pytest.raises(ValueError, match=r"evaluated once. Received again: image_id=11"):
        evaluator.add(detections, [truth])
    with pytest.raises(ValueError, match=r"Received: 1 images, 0 entries"):
        evaluator.add(detections, [])


def test_results_of_one_image():
    batch = _detected(([(0.1, 0.2, 0.3, 0.6), (0, 0, 1, 1)], [1, 0], [0.75, 0.5]))
    results = coco_results("a.jpg", (100, 200), {name: values[0] for name, values in batch.items()}, CATEGORY_IDS)
    assert json.loads(json.dumps(results)) == [
        {"image_id": "a.jpg", "category_id": 17, "bbox": pytest.approx([40, 10, 80, 20]), "score": 0.75},
        {"image_id": "a.jpg", "category_id": 3, "bbox": [0, 0, 200, 100], "score": 0.5},
    ]
