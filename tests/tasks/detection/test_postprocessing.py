import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.facts.anchors import SSD_MOBILENET_V1
from condconv_keras.tasks.detection import detect
from tests.tasks.detection import numpy_detection as oracle


def _slow_detections(codes, logits, anchors, max_detections, score_threshold, iou_threshold):
    """(score, class, clipped box) of one image, the best first."""
    boxes = [oracle.decode(code, anchor) for code, anchor in zip(codes, anchors, strict=True)]
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    kept = []
    for category in range(scores.shape[1] - 1):
        of_class = scores[:, 1 + category]
        chosen = []
        for i in np.argsort(-of_class):
            worse = any(oracle.iou(boxes[i], boxes[j]) > iou_threshold for j in chosen)
            if of_class[i] > score_threshold and not worse and len(chosen) < 100:
                chosen.append(i)
        kept += [(of_class[i], category, np.clip(boxes[i], 0, 1)) for i in chosen]
    return sorted(kept, key=lambda detection: -detection[0])[:max_detections]


def _check(detections, expected):
    for i, image in enumerate(expected):
        count = len(image)
        assert detections["count"][i] == count
        for name, column in (("scores", 0), ("classes", 1), ("boxes", 2)):
            found = detections[name][i].numpy()
            np.testing.assert_allclose(found[:count], [entry[column] for entry in image], atol=1e-5)
            assert not found[count:].any()


@pytest.mark.parametrize(
    ("classes", "options"),
    [
        (3, {"max_detections": 100, "score_threshold": 1e-8, "iou_threshold": 0.6}),
        (3, {"max_detections": 500, "score_threshold": 0.5, "iou_threshold": 0.3}),
        (1, {"max_detections": 150, "score_threshold": 1e-8, "iou_threshold": 0.9}),  # more than 100 of a class
        (2, {"max_detections": 7, "score_threshold": 0.9, "iou_threshold": 0.6}),
    ],
)
def test_random_outputs(classes, options):
    rng = np.random.default_rng(0)
    anchors = SSD_MOBILENET_V1.boxes((96, 96))
    codes = rng.normal(scale=2, size=(2, len(anchors), 4)).astype(np.float32)
    logits = rng.normal(scale=2, size=(2, len(anchors), 1 + classes)).astype(np.float32)
    graph = tf.function(
        lambda outputs: detect(outputs, anchors, **options),
        input_signature=[
            {
                "box_codes": tf.TensorSpec([None, len(anchors), 4], tf.float32),
                "class_logits": tf.TensorSpec([None, len(anchors), 1 + classes], tf.float32),
            }
        ],
    )
    detections = graph({"box_codes": codes, "class_logits": logits})
    _check(detections, [_slow_detections(*image, anchors, **options) for image in zip(codes, logits, strict=True)])
    assert detections["classes"].dtype == detections["count"].dtype == tf.int32
    assert detections["boxes"].shape == (2, options["max_detections"], 4)


def _by_hand(boxes, logits):
    """Detections where the anchors are the boxes and the codes zero."""
    boxes, logits = np.array(boxes, np.float32), np.array(logits, np.float32)
    return detect({"box_codes": np.zeros((1, *boxes.shape), np.float32), "class_logits": logits[None]}, boxes)


def test_by_hand():
    detections = _by_hand(
        [(0, 0, 0.5, 0.5), (0, 0, 0.5, 0.45), (-0.2, 0.5, 0.5, 1.5)],
        [[9, 1, 0], [9, 2, -1], [-9, -1, -2]],
    )
    # In class 0 the second box wins over the first, in class 1 the first over the second; the third is clipped.
    assert detections["count"] == 4
    np.testing.assert_array_equal(detections["classes"][0, :4], [0, 1, 0, 1])
    np.testing.assert_allclose(detections["scores"][0, :4], 1 / (1 + np.exp([-2, 0, 1, 2])), rtol=1e-5)
    expected = [(0, 0, 0.5, 0.45), (0, 0, 0.5, 0.5), (0, 0.5, 0.5, 1), (0, 0.5, 0.5, 1)]
    np.testing.assert_allclose(detections["boxes"][0, :4], expected, atol=1e-6)


def test_nothing_is_detected_by_a_network_that_is_sure_of_it():
    detections = _by_hand([(0, 0, 1, 1)], [[-50, -50]])
    assert detections["count"] == 0 and not any(np.any(values) for values in detections.values())


def test_what_is_not_a_number_is_no_detection():
    anchors = np.array([(0, 0, 0.1, 0.1), (0.2, 0.2, 0.3, 0.3), (0.4, 0.4, 0.5, 0.5)], np.float32)
    codes, logits = np.zeros((1, 3, 4), np.float32), np.zeros((1, 3, 3), np.float32)
    codes[0, 0, 2] = np.nan
    logits[0, 1, 1] = np.nan
    detections = detect({"box_codes": codes, "class_logits": logits}, anchors)
    # Left: class 1 of the second anchor, both classes of the third.
    assert detections["count"] == 3 and sorted(detections["classes"][0, :3].numpy()) == [0, 1, 1]
    assert all(np.isfinite(values).all() for values in detections.values())
