import numpy as np
import tensorflow as tf

from condconv_keras.tasks.detection import decode_boxes, encode_boxes, iou
from tests.tasks.detection import numpy_detection as oracle

RNG = np.random.default_rng(0)


def test_iou_by_hand():
    unit = (0.0, 0.0, 1.0, 1.0)
    others = np.array(
        [
            unit,  # equal
            (0.0, 1.0, 1.0, 2.0),  # touches at a side
            (1.0, 1.0, 2.0, 2.0),  # touches at a corner
            (0.0, 0.5, 1.0, 1.5),  # half of each
            (0.25, 0.25, 0.75, 0.75),  # inside
            (0.5, 0.5, 0.5, 0.9),  # no area
            (3.0, 3.0, 4.0, 4.0),  # apart
        ],
        np.float32,
    )
    np.testing.assert_allclose(iou(np.array([unit], np.float32), others)[0], [1, 0, 0, 1 / 3, 0.25, 0, 0], atol=1e-6)


def test_equal_boxes_without_area_do_not_overlap():
    box = np.array([[0.2, 0.2, 0.2, 0.6]], np.float32)
    assert iou(box, box).numpy() == 0


def test_iou_of_random_boxes():
    a, b = oracle.random_boxes(RNG, 20), oracle.random_boxes(RNG, 30)
    expected = [[oracle.iou(first, second) for second in b] for first in a]
    np.testing.assert_allclose(iou(a, b), expected, atol=1e-5)
    assert iou(a, b[:0]).shape == (20, 0) and iou(a[:0], b).shape == (0, 30)


def test_a_code_by_hand():
    anchor = np.array([[0.4, 0.4, 0.6, 0.8]], np.float32)  # center (0.5, 0.6), 0.2 high, 0.4 wide
    box = np.array([[0.35, 0.6, 0.75, 0.8]], np.float32)  # center (0.55, 0.7), 0.4 high, 0.2 wide
    expected = [[2.5, 2.5, 5 * np.log(2), -5 * np.log(2)]]
    np.testing.assert_allclose(encode_boxes(box, anchor), expected, atol=1e-5)
    np.testing.assert_allclose(decode_boxes(np.array(expected, np.float32), anchor), box, atol=1e-6)


def test_codes_of_random_boxes_and_back():
    boxes, anchors = oracle.random_boxes(RNG, 50), oracle.random_boxes(RNG, 50)
    codes = encode_boxes(tf.constant(boxes), tf.constant(anchors)).numpy()
    np.testing.assert_allclose(codes, [oracle.encode(*pair) for pair in zip(boxes, anchors, strict=True)], atol=1e-3)
    np.testing.assert_allclose(decode_boxes(codes, anchors), boxes, atol=1e-5)


def test_leading_axes_are_broadcast():
    anchors = oracle.random_boxes(RNG, 7)
    codes = RNG.normal(size=(2, 3, 7, 4)).astype(np.float32)
    boxes = decode_boxes(codes, anchors).numpy()
    expected = [oracle.decode(code, anchor) for code, anchor in zip(codes[1, 2], anchors, strict=True)]
    np.testing.assert_allclose(boxes[1, 2], expected, atol=1e-5)
    np.testing.assert_allclose(encode_boxes(boxes, anchors), codes, atol=1e-3)


def test_no_box_and_no_code_gives_an_infinity():
    anchor = np.array([[0.4, 0.4, 0.6, 0.8]], np.float32)
    assert np.isfinite(encode_boxes(np.array([[0.5, 0.5, 0.5, 0.5]], np.float32), anchor)).all()
    assert np.isfinite(decode_boxes(np.full((1, 4), 1e6, np.float32), anchor)).all()
