"""A data set of images with boxes, whatever its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from condconv_keras.data.dataset import Dataset
from condconv_keras.utils.lazy import tensorflow as tf


class DetectionDataset(Dataset):
    """A `Dataset` whose labels are the boxes of an image.

    The label of a record is a dict of tensors of the image's `n` boxes, from 0 to `MAX_BOXES`:

    - `boxes`: float32 `[n, 4]`, (ymin, xmin, ymax, xmax) as fractions of the image's height and width, within [0, 1],
      each of a positive area.
    - `classes`: int32 `[n]`, indices of `class_names`.
    - `is_crowd`: bool `[n]`, whether the box is around a group, or around what is neither to be learned nor counted.
    - `area`: float32 `[n]`, square pixels of the stored image: the annotation's own, of the object's outline, where it
      has one that is finite and not negative, else the box's.
    - `image_id`: int64 `[]`, another for every image of a split.

    `condconv_keras.data.sources.clean_boxes` says which boxes are left out.

    Args:
        category_ids: tuple of ints, the COCO id of each class, for results in COCO's format; 1, 2, ... by default.
        skipped_boxes: dict of split name to a dict of the reason why boxes were left out to their number. By default it
            has no reasons, as for a source that is cleaned as it is read, which TFDS is: nothing is counted there.
        **description: as of `Dataset`.
    """

    content = "boxes"
    purpose = "has boxes: it is for detectors"

    def __init__(
        self,
        *,
        category_ids: tuple[int, ...] | None = None,
        skipped_boxes: dict[str, dict[str, int]] | None = None,
        **description: Any,
    ) -> None:
        super().__init__(**description)
        self.category_ids = tuple(range(1, len(self.class_names) + 1)) if category_ids is None else category_ids
        self.skipped_boxes = {split: {} for split in self.splits} if skipped_boxes is None else skipped_boxes

    def with_classes(self, class_names: Sequence[str], indices: Sequence[int]) -> Self:
        """As of `Dataset`; a class that the data set lacks has the category id 0."""
        labeled = super().with_classes(class_names, indices)
        ids = dict(zip(indices, self.category_ids, strict=True))
        labeled.category_ids = tuple(ids.get(i, 0) for i in range(len(class_names)))
        return labeled

    def _relabel(self, label: dict[str, tf.Tensor], indices: tf.Tensor) -> dict[str, tf.Tensor]:
        return {**label, "classes": tf.gather(indices, label["classes"])}

    def left_out(self, *splits: str) -> dict[str, Any]:
        """Returns how many images and boxes of the splits were left out, as a dict that JSON can hold."""
        return {
            **super().left_out(*splits),
            "skipped_boxes": sum(count for split in splits for count in self.skipped_boxes[split].values()),
        }
