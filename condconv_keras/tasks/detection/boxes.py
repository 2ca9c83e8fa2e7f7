"""Overlap of boxes and their code relative to anchors, on the box operations of tf-models-official."""

from __future__ import annotations

import numpy as np

from condconv_keras.utils.lazy import LazyModule, load
from condconv_keras.utils.lazy import tensorflow as tf

iou_similarity = LazyModule("official.vision.ops.iou_similarity", extra="detection")
box_ops = LazyModule("official.vision.ops.box_ops", extra="detection")


# Of the codes (ty, tx, th, tw), as in `FasterRcnnBoxCoder` of the TensorFlow Object Detection API.
CODE_SCALES = (10.0, 10.0, 5.0, 5.0)


def load_operations() -> None:
    """Imports what this module takes of tf-models-official; see `condconv_keras.utils.lazy.load`."""
    load(iou_similarity, box_ops)


def iou(a: tf.Tensor | np.ndarray, b: tf.Tensor | np.ndarray) -> tf.Tensor:
    """Returns the intersection over union of every box of `a` with every box of `b`, float32 [n, m].

    It is 0 where the intersection has no area, also for two equal boxes without area.

    Args:
        a: float32 boxes [n, 4].
        b: float32 boxes [m, 4].
    """

    return iou_similarity.iou(a, b)


def encode_boxes(boxes: tf.Tensor | np.ndarray, anchors: tf.Tensor | np.ndarray) -> tf.Tensor:
    """Codes boxes relative to anchors.

    With center (y, x), height h and width w: ty = 10 (y - ya) / ha, tx = 10 (x - xa) / wa, th = 5 log(h / ha),
    tw = 5 log(w / wa), the sizes enlarged by 1e-8 so that a box without area has a finite code. Source: Ren et al.,
    "Faster R-CNN", arXiv 1506.01497, section 3.1.2, with SSD's scales.

    Args:
        boxes: float32 [..., 4].
        anchors: float32 [..., 4], broadcast to `boxes`.

    Returns:
        float32 codes [..., 4].
    """

    return box_ops.encode_boxes(tf.convert_to_tensor(boxes), anchors, list(CODE_SCALES))


def decode_boxes(codes: tf.Tensor | np.ndarray, anchors: tf.Tensor | np.ndarray) -> tf.Tensor:
    """Returns the boxes of codes, float32 [..., 4], not clipped: the inverse of `encode_boxes`.

    A box is at most 62.5 times as high and as wide as its anchor, however large the code: the limit of
    tf-models-official, which keeps the exponential finite.

    Args:
        codes: float32 [..., 4].
        anchors: float32 [..., 4], broadcast to `codes`.
    """

    return box_ops.decode_boxes(tf.convert_to_tensor(codes), anchors, list(CODE_SCALES))
