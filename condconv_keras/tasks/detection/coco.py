"""COCO detection metrics, computed by pycocotools, and detections in COCO's results format."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from condconv_keras.utils.lazy import LazyModule

cocoeval = LazyModule("pycocotools.cocoeval")
coco_api = LazyModule("pycocotools.coco")


@dataclasses.dataclass(frozen=True, eq=False)
class DetectionMetrics:
    """COCO's metrics: fractions, None where there is no ground truth to find. Source: cocodataset.org, "Detection".

    Attributes:
        AP: average precision, mean over the classes and over the IoU thresholds 0.50, 0.55, ..., 0.95.
        AP50: the same at the IoU threshold 0.50.
        AP75: the same at the IoU threshold 0.75.
        AP_small: AP of objects below 32² square pixels.
        AP_medium: AP of objects between 32² and 96² square pixels.
        AP_large: AP of objects above 96² square pixels.
        AR_1: largest recall with one detection an image and class, mean over the classes and thresholds.
        AR_10: the same with 10 detections.
        AR_100: the same with 100 detections.
        AR_small: AR_100 of objects below 32² square pixels.
        AR_medium: AR_100 of objects between 32² and 96² square pixels.
        AR_large: AR_100 of objects above 96² square pixels.
        examples: number of images.
        per_class: dict of class name to its AP.
        NAMES: the names of the fractions, in the order of `COCOeval.stats`.
    """

    NAMES: typing.ClassVar[tuple[str, ...]] = (
        "AP",
        "AP50",
        "AP75",
        "AP_small",
        "AP_medium",
        "AP_large",
        "AR_1",
        "AR_10",
        "AR_100",
        "AR_small",
        "AR_medium",
        "AR_large",
    )

    AP: float | None
    AP50: float | None
    AP75: float | None
    AP_small: float | None
    AP_medium: float | None
    AP_large: float | None
    AR_1: float | None
    AR_10: float | None
    AR_100: float | None
    AR_small: float | None
    AR_medium: float | None
    AR_large: float | None
    examples: int
    per_class: dict[str, float | None] = dataclasses.field(repr=False)

    def to_dict(self) -> dict[str, float | None]:
        """Returns the numbers, without those per class, as a dict that JSON can hold."""
        return {name: getattr(self, name) for name in (*self.NAMES, "examples")}


class CocoEvaluator:
    """Gathers detections and ground truth of a data set, every image once, and computes COCO's metrics.

    It keeps small arrays only: about 24 bytes for a detection.

    Args:
        class_names: strings that differ; class `c` is `class_names[c]`.
    """

    def __init__(self, class_names: Iterable[str]) -> None:
        self.class_names = tuple(class_names)
        self._images: dict[int, tuple[_Truth, _Detections]] = {}

    def add(self, detections: Mapping[str, np.ndarray], ground_truth: Sequence[Mapping[str, Any]]) -> None:
        """Adds a batch of images, those without boxes too.

        Args:
            detections: dict of arrays as `detect` returns them, [batch, ...]: boxes as fractions of the image.
            ground_truth: list with a dict for each image of the batch: `image_id` integer, `height` and `width` in
                pixels, `boxes` [n, 4] as fractions, `classes` [n] from 0, `is_crowd` [n], `area` [n] in square pixels.

        Raises:
            ValueError: an image was added before, or the lengths differ.
        """
        counts = np.asarray(detections["count"])
        if len(counts) != len(ground_truth):
            raise ValueError(
                f"`ground_truth` must have one entry per image. Received: {len(counts)} images, "
                f"{len(ground_truth)} entries"
            )
        for i, truth in enumerate(ground_truth):
            image_id = int(truth["image_id"])
            if image_id in self._images:
                raise ValueError(f"An image must be evaluated once. Received again: image_id={image_id}")
            size = (int(truth["height"]), int(truth["width"]))
            self._images[image_id] = (_Truth.of(truth, size), _Detections.of(detections, i, size))

    def results(self, category_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Returns all detections as a list in COCO's results format; see `coco_results`."""
        return [entry for i, (_, found) in self._images.items() for entry in found.results(i, category_ids)]

    def metrics(self) -> DetectionMetrics:
        """Returns the `DetectionMetrics` of what was added.

        Raises:
            ValueError: nothing was added.
        """
        if not self._images:
            raise ValueError("expected at least one image to evaluate")

        categories = range(len(self.class_names))
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            truth = self._indexed(entry for i, (truth, _) in self._images.items() for entry in truth.annotations(i))
            found = self._indexed(entry for i, (_, found) in self._images.items() for entry in found.annotations(i))
            evaluation = cocoeval.COCOeval(truth, found, iouType="bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        # [IoU thresholds, recalls, classes, areas, numbers of detections]; -1 where the class has no ground truth.
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        return DetectionMetrics(
            **{name: _fraction(value) for name, value in zip(DetectionMetrics.NAMES, evaluation.stats, strict=True)},
            examples=len(self._images),
            per_class={self.class_names[c]: _fraction(precision[:, :, c].mean()) for c in categories},
        )

    def _indexed(self, annotations: Iterable[dict[str, Any]]) -> Any:
        """Annotations of pycocotools, over all images and classes."""

        coco = coco_api.COCO()
        coco.dataset = {
            "images": [{"id": image_id} for image_id in self._images],
            "categories": [{"id": c, "name": name} for c, name in enumerate(self.class_names)],
            # From 1: COCOeval marks what is not matched by the id 0.
            "annotations": [{"id": i, **annotation} for i, annotation in enumerate(annotations, start=1)],
        }
        coco.createIndex()
        return coco


def coco_results(
    image_id: int | str, size: Sequence[int], detections: Mapping[str, np.ndarray], category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Returns the detections of one image in COCO's results format, ready for JSON.

    Args:
        image_id: integer or string.
        size: (height, width) of the image in pixels.
        detections: dict of arrays of one image, as `detect` returns them for a batch: `boxes` [max, 4], `classes`
            [max], `scores` [max], `count` [].
        category_ids: the COCO id of each class.

    Returns:
        List of dicts `image_id`, `category_id`, `bbox` ([x, y, width, height] in pixels) and `score`, the highest score
        first.
    """
    batch = {name: np.asarray(value)[np.newaxis] for name, value in detections.items()}
    return _Detections.of(batch, 0, size).results(image_id, category_ids)


@dataclasses.dataclass(frozen=True, eq=False)
class _Detections:
    """Detections of one image: boxes float32 [n, 4] (x, y, width, height in pixels), classes, scores."""

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, batch: Mapping[str, np.ndarray], index: int, size: Sequence[int]) -> _Detections:
        """Copies what is detected in one image of a batch, so that the batch's arrays can go."""
        count = int(batch["count"][index])
        boxes, classes, scores = (np.asarray(batch[name][index])[:count] for name in ("boxes", "classes", "scores"))
        return cls(_xywh(boxes, size), classes.astype(np.int32), scores.astype(np.float32))

    def annotations(self, image_id: int) -> Iterator[dict[str, Any]]:
        for box, category, score in zip(self.boxes.tolist(), self.classes.tolist(), self.scores.tolist(), strict=True):
            area = box[2] * box[3]
            yield {"image_id": image_id, "category_id": category, "bbox": box, "area": area, "score": score}

    def results(self, image_id: int | str, category_ids: Sequence[int]) -> list[dict[str, Any]]:
        return [
            {"image_id": image_id, "category_id": int(category_ids[category]), "bbox": box, "score": score}
            for box, category, score in zip(
                self.boxes.tolist(), self.classes.tolist(), self.scores.tolist(), strict=True
            )
        ]


@dataclasses.dataclass(frozen=True, eq=False)
class _Truth:
    """Ground truth of one image: boxes as in `_Detections`, classes, is_crowd, area."""

    boxes: np.ndarray
    classes: np.ndarray
    is_crowd: np.ndarray
    area: np.ndarray

    @classmethod
    def of(cls, truth: Mapping[str, Any], size: Sequence[int]) -> _Truth:
        return cls(
            _xywh(truth["boxes"], size),
            np.array(truth["classes"], np.int32),
            np.array(truth["is_crowd"], bool),
            np.array(truth["area"], np.float64),
        )

    def annotations(self, image_id: int) -> Iterator[dict[str, Any]]:
        columns = (array.tolist() for array in (self.boxes, self.classes, self.is_crowd, self.area))
        for box, category, is_crowd, area in zip(*columns, strict=True):
            yield {
                "image_id": image_id,
                "category_id": category,
                "bbox": box,
                "iscrowd": int(is_crowd),
                "area": area,
            }


def _xywh(boxes: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Boxes [n, 4] (ymin, xmin, ymax, xmax) as fractions to float32 [n, 4] (x, y, width, height) in pixels."""
    ymin, xmin, ymax, xmax = np.asarray(boxes, np.float64).reshape(-1, 4).T
    height, width = size
    columns = (xmin * width, ymin * height, (xmax - xmin) * width, (ymax - ymin) * height)
    return np.stack(columns, axis=-1).astype(np.float32)


def _fraction(value: float) -> float | None:
    """A statistic of COCOeval, which is -1 where there is no ground truth."""
    return None if value < 0 else float(value)
