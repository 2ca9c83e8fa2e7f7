"""Which anchor has to predict which box."""

from __future__ import annotations

import numpy as np

from condconv_keras.tasks.detection.boxes import encode_boxes, iou, load_operations
from condconv_keras.utils.lazy import LazyModule, load
from condconv_keras.utils.lazy import tensorflow as tf

box_matcher = LazyModule("official.vision.ops.box_matcher", extra="detection")
iou_similarity = LazyModule("official.vision.ops.iou_similarity", extra="detection")


_MATCHED_IOU = 0.5
_IGNORED_SHARE = 0.5


def load_matching() -> None:
    """Imports what `match_anchors` takes of tf-models-official; see `condconv_keras.utils.lazy.load`."""
    load_operations()
    load(box_matcher)


def match_anchors(
    anchors: tf.Tensor | np.ndarray,
    boxes: tf.Tensor | np.ndarray,
    classes: tf.Tensor | np.ndarray,
    is_crowd: tf.Tensor | np.ndarray,
) -> dict[str, tf.Tensor]:
    """Returns the targets of one image.

    An anchor is matched to the box it overlaps most if their IoU is at least 0.5; besides, every box gets the anchor
    that it overlaps most. The first of equal overlaps counts, in the order given. Where several boxes overlap one
    anchor most, it goes to the first of them, and the others keep those anchors that they match by their IoU.
    A box that overlaps no anchor, as one without area, matches none. A crowd box never matches; an unmatched anchor
    of whose area more than half lies in one crowd box is ignored. Source: Liu et al., "SSD", arXiv 1512.02325, section
    2.2, as `BoxMatcher` of tf-models-official computes it.

    Args:
        anchors: float32 [anchors, 4].
        boxes: float32 [n, 4]; n may be 0 or unknown.
        classes: integers [n], from 0.
        is_crowd: bool [n].

    Returns:
        Dict with the keys of a network's outputs: `box_codes` float32 [anchors, 5], the codes and 1 for a matched
        anchor, zeros for another; `class_logits` int32 [anchors]: 0 for the background, 1 + class, -1 for an ignored
        anchor.
    """

    anchors = tf.convert_to_tensor(anchors, tf.float32)
    boxes = tf.convert_to_tensor(boxes, tf.float32)
    overlaps = iou(anchors, boxes)
    is_target = ~tf.convert_to_tensor(is_crowd, tf.bool) & (tf.reduce_max(overlaps, axis=0) > 0)
    # A row for "no box" behind the others: the box of an anchor can be looked up even where there is none.
    choices = tf.concat([tf.boolean_mask(boxes, is_target), tf.zeros([1, 4])], axis=0)
    labels = tf.concat([1 + tf.boolean_mask(tf.cast(classes, tf.int32), is_target), [0]], axis=0)
    chosen, is_matched = _choose(tf.boolean_mask(overlaps, is_target, axis=1))
    chosen = tf.where(is_matched, chosen, tf.size(labels) - 1)
    codes = tf.where(is_matched[:, tf.newaxis], encode_boxes(tf.gather(choices, chosen), anchors), 0.0)
    is_ignored = _in_crowd(anchors, tf.boolean_mask(boxes, is_crowd)) & ~is_matched
    return {
        "box_codes": tf.concat([codes, tf.cast(is_matched, tf.float32)[:, tf.newaxis]], axis=-1),
        "class_logits": tf.where(is_ignored, -1, tf.gather(labels, chosen)),
    }


def _choose(overlaps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Each anchor's box, int32 [anchors], and whether it is matched, from the IoU [anchors, n]."""

    matcher = box_matcher.BoxMatcher(thresholds=[_MATCHED_IOU], indicators=[-1, 1], force_match_for_each_col=True)
    chosen, indicators = matcher(overlaps)
    return chosen, indicators == 1


def _in_crowd(anchors: tf.Tensor, crowds: tf.Tensor) -> tf.Tensor:
    """Whether more than half of an anchor's area lies in one of the crowd boxes, bool [anchors]."""

    shares = iou_similarity.intersection(anchors, crowds) / iou_similarity.area(anchors)[:, tf.newaxis]
    return tf.reduce_any(shares > _IGNORED_SHARE, axis=1)
