import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.facts.anchors import SSD_MOBILENET_V1
from condconv_keras.tasks.detection import match_anchors
from tests.tasks.detection import numpy_detection as oracle

ANCHORS = np.array(
    [
        (0.0, 0.0, 0.5, 0.5),
        (0.0, 0.5, 0.5, 1.0),
        (0.5, 0.0, 1.0, 0.5),
        (0.5, 0.5, 1.0, 1.0),
        (0.0, 0.0, 1.0, 1.0),
    ],
    np.float32,
)
_SIGNATURE = [
    tf.TensorSpec(shape, dtype) for shape, dtype in (([None, 4], tf.float32), ([None], tf.int32), ([None], tf.bool))
]


def _match(boxes, classes=None, is_crowd=None, anchors=ANCHORS):
    """In a graph that does not know the number of boxes, as in an input pipeline."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    classes = np.arange(len(boxes)) if classes is None else classes
    is_crowd = np.zeros(len(boxes)) if is_crowd is None else is_crowd
    graph = tf.function(lambda *arguments: match_anchors(anchors, *arguments), input_signature=_SIGNATURE)
    targets = graph(boxes, np.array(classes, np.int32), np.array(is_crowd, bool))
    return targets["box_codes"].numpy(), targets["class_logits"].numpy()


def _slow_targets(anchors, boxes, classes, is_crowd):
    """What the docstring of `match_anchors` says, anchor by anchor."""
    real = [i for i in range(len(boxes)) if not is_crowd[i]]
    overlaps = {(a, i): oracle.iou(anchors[a], boxes[i]) for a in range(len(anchors)) for i in real}
    match = {}
    for a in range(len(anchors)):
        best = max(real, key=lambda i: overlaps[a, i], default=None)
        if best is not None and overlaps[a, best] >= 0.5:
            match[a] = best
    for i in reversed(real):  # the first of two boxes writes last
        best = max(range(len(anchors)), key=lambda a: overlaps[a, i])
        if overlaps[best, i] > 0:
            match[best] = i
    codes, labels = np.zeros((len(anchors), 5)), np.zeros(len(anchors), int)
    for a, anchor in enumerate(anchors):
        if a in match:
            codes[a] = (*oracle.encode(boxes[match[a]], anchor), 1)
            labels[a] = 1 + classes[match[a]]
        elif any(oracle.intersection(anchor, boxes[i]) > oracle.area(anchor) / 2 for i in np.nonzero(is_crowd)[0]):
            labels[a] = -1
    return codes, labels


@pytest.mark.parametrize("count", [0, 1, 5, 40])
def test_random_boxes_and_crowds(count):
    rng = np.random.default_rng(count)
    anchors = SSD_MOBILENET_V1.boxes((96, 128))
    for _ in range(3):
        boxes, classes = oracle.random_boxes(rng, count), rng.integers(0, 9, count)
        is_crowd = rng.random(count) < 0.2
        codes, labels = _match(boxes, classes, is_crowd, anchors)
        expected_codes, expected_labels = _slow_targets(anchors, boxes, classes, is_crowd)
        np.testing.assert_array_equal(labels, expected_labels)
        np.testing.assert_allclose(codes, expected_codes, atol=1e-3)


def test_no_boxes_without_a_graph():
    targets = match_anchors(ANCHORS, np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, bool))
    assert not targets["box_codes"].numpy().any() and not targets["class_logits"].numpy().any()
    assert targets["box_codes"].dtype == tf.float32 and targets["class_logits"].dtype == tf.int32


def test_the_threshold_and_the_forced_match():
    # IoU 0.5 with anchor 0 exactly, IoU 0.25 / (1 + 0.25 - 0.25) with nobody else at all.
    _, labels = _match([(0.0, 0.0, 0.5, 0.25)], classes=[6])
    np.testing.assert_array_equal(labels, [7, 0, 0, 0, 0])
    # A tiny box is far below the threshold everywhere.
    codes, labels = _match([(0.6, 0.6, 0.62, 0.62)], classes=[2])
    np.testing.assert_array_equal(labels, [0, 0, 0, 3, 0])
    np.testing.assert_allclose(codes[3], (*oracle.encode((0.6, 0.6, 0.62, 0.62), ANCHORS[3]), 1), atol=1e-3)
    assert not np.delete(codes, 3, axis=0).any()


def test_a_forced_match_takes_an_anchor_from_a_box_that_overlaps_it_more():
    # Box 0 is anchor 0; box 1 overlaps anchor 0 most of all anchors, though less than box 0 does.
    _, labels = _match([(0.0, 0.0, 0.5, 0.5), (0.1, 0.1, 0.2, 0.2)])
    np.testing.assert_array_equal(labels, [1, 0, 0, 0, 0])
    # The earlier of the two gets it: the other has nothing left.
    _, labels = _match([(0.1, 0.1, 0.2, 0.2), (0.0, 0.0, 0.5, 0.5)])
    np.testing.assert_array_equal(labels, [1, 0, 0, 0, 0])


def test_a_box_whose_best_anchor_is_gone_keeps_those_above_the_threshold():
    anchors = np.array([(0, 0, 1, 1), (0, 0, 1, 0.9), (0, 0, 1, 0.6)], np.float32)
    _, labels = _match([(0, 0, 1, 0.99), (0, 0, 1, 0.98)], classes=[3, 4], anchors=anchors)
    # Both overlap anchor 0 most. Of anchor 1 the second box overlaps more, of anchor 2 as well.
    np.testing.assert_array_equal(labels, [4, 5, 5])


def test_ties_go_to_the_first():
    # The box lies in the middle of the four quarters; anchor 0 and box 0 are the first.
    _, labels = _match([(0.25, 0.25, 0.75, 0.75)] * 2, classes=[7, 8], anchors=ANCHORS[:4])
    assert labels[0] == 8 and not labels[1:].any()


def test_boxes_that_overlap_nothing():
    codes, labels = _match([(0.2, 0.2, 0.2, 0.4), (0.3, 0.3, 0.3, 0.3), (2.0, 2.0, 3.0, 3.0), (0.5, 0.5, 1.0, 1.0)])
    np.testing.assert_array_equal(labels, [0, 0, 0, 4, 0])
    assert np.isfinite(codes).all()


def test_crowds_never_match_and_hide_what_is_mostly_inside():
    crowd = (0.0, 0.0, 0.5, 0.8)  # all of anchor 0, 60% of anchor 1, 40% of anchor 4
    codes, labels = _match([crowd, (0.0, 0.6, 0.5, 1.0)], classes=[0, 4], is_crowd=[True, False])
    # Anchor 1 is matched to the real box, which counts though it is mostly inside.
    np.testing.assert_array_equal(labels, [-1, 5, 0, 0, 0])
    np.testing.assert_array_equal(codes[:, 4], [0, 1, 0, 0, 0])
    _, labels = _match([(0.0, 0.0, 1.0, 0.5)], is_crowd=[True])  # half of anchor 4, not more
    np.testing.assert_array_equal(labels, [-1, 0, -1, 0, 0])
