"""Which boxes of an image's annotation a data set keeps."""

import collections
import dataclasses

import numpy as np

MAX_BOXES = 100  # of an image

UNKNOWN_CLASS = "unknown class"
NOT_FINITE = "not finite"
NO_AREA = "no area"
OUTSIDE = "outside the image"
TOO_MANY = f"more than {MAX_BOXES} in the image"


@dataclasses.dataclass(frozen=True)
class Boxes:
    """The boxes of one image.

    Attributes:
        boxes: float `[n, 4]`, (ymin, xmin, ymax, xmax). Pixels or fractions of the image's size.
        classes: int `[n]`; -1 for a class that the data set does not know.
        is_crowd: bool `[n]`.
        area: float `[n]` in square pixels; NaN where the annotation has none.
    """

    boxes: np.ndarray
    classes: np.ndarray
    is_crowd: np.ndarray
    area: np.ndarray

    def __getitem__(self, selection):
        """Returns some of the boxes, by a mask or indices."""
        return Boxes(*(getattr(self, field.name)[selection] for field in dataclasses.fields(self)))


def clean_boxes(annotation, size):
    """Brings the boxes of an image into the form that training and evaluation rely on, without the bad ones.

    Boxes are clipped to the image. Left out are, and counted by the first reason that applies: boxes of an unknown
    class; with a coordinate that is NaN or infinite; whose height or width is not positive; with nothing inside the
    image. Of more than `MAX_BOXES` the largest stay, in their order. An area that is missing, negative or not finite is
    replaced by that of the clipped box.

    Args:
        annotation: `Boxes` in pixels of the image.
        size: `(height, width)` of the image in pixels.

    Returns:
        `Boxes` (fractions as float32, int32, bool, float32) and a dict of reason to count.
    """
    skipped = collections.Counter()

    def keep(kept, mask, reason):
        if mask.all():  # as of nearly all images, of which there may be a hundred thousand
            return kept
        skipped[reason] += int(np.sum(~mask))
        return kept[mask]

    kept = keep(annotation, annotation.classes >= 0, UNKNOWN_CLASS)
    kept = keep(kept, np.isfinite(kept.boxes).all(axis=1), NOT_FINITE)
    kept = keep(kept, _has_area(kept.boxes), NO_AREA)
    clipped = np.clip(kept.boxes / np.tile(size, 2), 0.0, 1.0).astype(np.float32)
    kept = keep(dataclasses.replace(kept, boxes=clipped), _has_area(clipped), OUTSIDE)
    box_area = np.prod((kept.boxes[:, 2:] - kept.boxes[:, :2]) * np.array(size), axis=1)
    largest = np.sort(np.argsort(-box_area, kind="stable")[:MAX_BOXES])
    skipped[TOO_MANY] += len(box_area) - len(largest)
    valid = np.isfinite(kept.area) & (kept.area >= 0)
    kept = Boxes(
        kept.boxes,
        kept.classes.astype(np.int32),
        kept.is_crowd.astype(bool),
        np.where(valid, kept.area, box_area).astype(np.float32),
    )
    return kept[largest], {reason: count for reason, count in skipped.items() if count}


def _has_area(boxes):
    return (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
