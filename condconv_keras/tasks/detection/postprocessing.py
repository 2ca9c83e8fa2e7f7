"""From a network's outputs to detections."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from condconv_keras.tasks.detection.boxes import decode_boxes
from condconv_keras.utils.lazy import tensorflow as tf

# Of every detector here, stored or exported.
MAX_DETECTIONS = 100
SCORE_THRESHOLD = 1e-8
IOU_THRESHOLD = 0.6
_PER_CLASS = 100  # detections of one class in an image


def detect(
    outputs: Mapping[str, tf.Tensor | np.ndarray],
    anchors: tf.Tensor | np.ndarray,
    max_detections: int = MAX_DETECTIONS,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
) -> dict[str, tf.Tensor]:
    """Decodes the boxes and keeps the best ones by class-wise non-maximum suppression.

    A score is the sigmoid of its class's logit; the background's is not used. Within a class a box falls to a better
    one whose IoU with it is above the threshold; at most 100 of a class and `max_detections` of all remain. Boxes are
    clipped to the image after that. A box or a score that is not a number is no detection. Source: Liu et al., "SSD",
    arXiv 1512.02325, section 3, with the thresholds of SSD with MobileNetV1 in the TensorFlow Object Detection API.

    Args:
        outputs: dict of `box_codes` float32 [batch, anchors, 4] and `class_logits` float32 [batch, anchors, 1 +
            classes].
        anchors: float32 [anchors, 4], of `DetectorCard.anchor_boxes`.
        max_detections: detections per image.
        score_threshold: a detection's score is above it.
        iou_threshold: in [0, 1].

    Returns:
        Dict of `boxes` float32 [batch, max_detections, 4] in [0, 1], `classes` int32 [batch, max_detections] from 0,
        `scores` float32 [batch, max_detections], the highest first, and `count` int32 [batch], the detections of each
        image; zeros after that many.
    """

    boxes = decode_boxes(outputs["box_codes"], anchors)
    scores = tf.sigmoid(outputs["class_logits"][..., 1:])
    is_number = tf.reduce_all(tf.math.is_finite(boxes), axis=-1, keepdims=True)
    boxes, scores, classes, count = tf.image.combined_non_max_suppression(
        boxes[:, :, tf.newaxis],  # one box for all classes
        tf.where(is_number & tf.math.is_finite(scores), scores, 0.0),
        max_output_size_per_class=_PER_CLASS,
        max_total_size=max_detections,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
    )
    return {"boxes": boxes, "classes": tf.cast(classes, tf.int32), "scores": scores, "count": count}
