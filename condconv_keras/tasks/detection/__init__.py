"""SSD detection: matching, losses, decoding and non-maximum suppression, COCO metrics, drawing.

A box is float32 (ymin, xmin, ymax, xmax) as fractions of its image's height and width. Classes count from 0; in class
logits and class targets 0 is the background and class `c` is `1 + c`.

    anchors = card.anchor_boxes
    targets = match_anchors(anchors, boxes, classes, is_crowd)  # one image; batch with tf.data
    detections = detect(network(images), anchors)

Nothing here imports TensorFlow before it computes with it, except the losses, which are Keras classes.
"""

from typing import TYPE_CHECKING

from condconv_keras.utils.lazy import attach

_HOME = {
    "CocoEvaluator": "condconv_keras.tasks.detection.coco",
    "DetectionMetrics": "condconv_keras.tasks.detection.coco",
    "SigmoidFocalLoss": "condconv_keras.tasks.detection.losses",
    "SmoothL1Loss": "condconv_keras.tasks.detection.losses",
    "coco_results": "condconv_keras.tasks.detection.coco",
    "decode_boxes": "condconv_keras.tasks.detection.boxes",
    "detect": "condconv_keras.tasks.detection.postprocessing",
    "draw_boxes": "condconv_keras.tasks.detection.drawing",
    "encode_boxes": "condconv_keras.tasks.detection.boxes",
    "iou": "condconv_keras.tasks.detection.boxes",
    "match_anchors": "condconv_keras.tasks.detection.matching",
}

__all__ = [
    "CocoEvaluator",
    "DetectionMetrics",
    "SigmoidFocalLoss",
    "SmoothL1Loss",
    "coco_results",
    "decode_boxes",
    "detect",
    "draw_boxes",
    "encode_boxes",
    "iou",
    "match_anchors",
]

if TYPE_CHECKING:
    from condconv_keras.tasks.detection.boxes import decode_boxes, encode_boxes, iou
    from condconv_keras.tasks.detection.coco import CocoEvaluator, DetectionMetrics, coco_results
    from condconv_keras.tasks.detection.drawing import draw_boxes
    from condconv_keras.tasks.detection.losses import SigmoidFocalLoss, SmoothL1Loss
    from condconv_keras.tasks.detection.matching import match_anchors
    from condconv_keras.tasks.detection.postprocessing import detect
else:
    __getattr__, __dir__ = attach(__name__, _HOME)
