"""SSD detection: matching, losses, decoding and non-maximum suppression, COCO metrics, drawing.

A box is float32 (ymin, xmin, ymax, xmax) as fractions of its image's height and width. Classes count from 0; in class
logits and class targets 0 is the background and class `c` is `1 + c`.

    anchors = ssd_anchors((300, 300))
    targets = match_anchors(anchors, boxes, classes, is_crowd)  # one image; batch with tf.data
    detections = detect(network(images), anchors)

Nothing here imports TensorFlow before it computes with it, except the losses, which are Keras classes.
"""

from condconv_keras.utils.lazy import import_module

_HOME = {
    "CocoEvaluator": "coco",
    "DetectionMetrics": "coco",
    "SigmoidFocalLoss": "losses",
    "SmoothL1Loss": "losses",
    "coco_results": "coco",
    "decode_boxes": "boxes",
    "detect": "postprocessing",
    "draw_boxes": "drawing",
    "encode_boxes": "boxes",
    "iou": "boxes",
    "match_anchors": "matching",
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


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOME})
