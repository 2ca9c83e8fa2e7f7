"""The answers of detectors: how files are compared with the Keras model, in two steps that any tie survives.

What the network returns, `box_codes` and `class_logits`, is compared number by number. The signal is each number less
the mean of its column, of one coordinate or class, over all images and anchors: the logits of a detector have a large
negative bias, and no error hides behind it. Of a network that has hardly learned anything little but the bias is left:
float32 rounds that, so the largest signal counts as one hundredth of the largest number at least.

Then the file's detections are checked against what its own network returns: each is an anchor's decoded box with that
anchor's score, no two of a class overlap, and everything better than the last one is there, or overlaps with a better
one of its class. That is what non-maximum suppression is, in whatever order it takes equal scores, of which a file with
8-bit logits has many. Wrong anchors, scales, thresholds and classes fail.
"""

import dataclasses
import math

import numpy as np

from condconv_keras.data.detection_dataset import DetectionDataset
from condconv_keras.tasks.answers import Answers
from condconv_keras.tasks.detection import decode_boxes, detect, iou
from condconv_keras.tasks.detection.exported import RAW_OUTPUTS
from condconv_keras.tasks.detection.postprocessing import IOU_THRESHOLD, MAX_DETECTIONS, SCORE_THRESHOLD
from condconv_keras.tasks.detection.predictor import keras_predict
from condconv_keras.tasks.error_figures import decibels, ratio

# A file's AP may be this much lower than Keras's.
MAX_AP_LOSS = 0.01
# Boxes (fractions of the image) and scores of one network, computed in two ways in float32, differ by less.
_TOLERANCE = 1e-4
# And so do overlaps, which are quotients of small areas.
_IOU_TOLERANCE = 1e-3
# Of the largest number: what float32 leaves of it after a network of some thirty layers, and a margin.
_LEAST_SIGNAL = 0.01
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class DetectorComparison:
    """How a file's answers differ from Keras's; the worse figure of the two outputs.

    Attributes:
        images: number of images.
        relative_error: largest absolute difference, as a part of the largest absolute signal of the reference (or of
            `_LEAST_SIGNAL` of its largest absolute number).
        snr_db: 10 log10 of the signal's sum of squares over that of the differences, at most `EQUAL_DB`.
        faults: what is wrong with the detections, as text.

    Where an answer is not finite, the error is infinite and the ratio minus infinity.
    """

    images: int
    relative_error: float
    snr_db: float
    faults: tuple[str, ...] = ()

    def to_dict(self):
        """Returns the figures of a file that passed as a dict that JSON can hold."""
        return {name: getattr(self, name) for name in ("images", "relative_error", "snr_db")}

    @property
    def text(self):
        """The figures for a person."""
        return f"{self.images} images, relative error {self.relative_error:.1e}, SNR {self.snr_db:.0f} dB"


@dataclasses.dataclass(frozen=True)
class DetectorAccuracy:
    """COCO's AP on the same held-out images: `AP` of the file, `keras_AP` of the Keras model."""

    AP: float
    keras_AP: float
    examples: int

    def to_dict(self):
        """Returns the figures as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    @property
    def text(self):
        """The figures for a person."""
        return f"AP {self.AP:.4f} (Keras {self.keras_AP:.4f}, {self.examples} images)"


@dataclasses.dataclass(frozen=True, eq=False)
class _Answer:
    """What a network returns for the images, and the detections."""

    outputs: dict
    detections: dict


class DetectorAnswers(Answers):
    """Raw outputs and detections.

    Args:
        task: the `Task`, which evaluates.
        model: Keras detector.
        card: its `ModelCard`.
        images: as in `condconv_keras.export.check.export_check.ExportCheck`.
    """

    def __init__(self, task, model, card, images):
        self._task = task
        self._model = model
        self._card = card
        self._images = images
        self._anchors = card.anchor_boxes
        self._keras_predict = keras_predict(model, card)
        self._keras_ap = None
        self._reference = self.of_keras().outputs

    def of_keras(self):
        outputs = self._model(self._card.preprocessing.scale_images(self._images), training=False)
        return _Answer(_arrays(outputs), _arrays(detect(outputs, self._anchors)))

    def of_file(self, file_format, path, threads):
        detections = file_format.predictor(path, self._model, self._card, threads)(self._images)
        outputs = file_format.raw_outputs(path, self._model, self._card, self._images, threads)
        return _Answer(outputs, detections)

    def compare(self, received):
        return compare(self._reference, received.outputs, received.detections, self._anchors)

    def failures(self, comparison, max_relative_error, min_snr_db):
        return failures(comparison, max_relative_error, min_snr_db)

    def accuracy(self, file_format, path, dataset, examples):
        split = dataset.evaluation_split
        examples = min(examples or math.inf, dataset.splits[split])
        part = _Part(dataset, split, examples)
        if self._keras_ap is None:
            self._keras_ap = self._average_precision(self._keras_predict, part, split)
        if self._keras_ap is None:  # nothing to find in these images
            return None, []
        found = self._average_precision(file_format.predictor(path, self._model, self._card), part, split)
        accuracy = DetectorAccuracy(found, self._keras_ap, examples)
        if self._keras_ap - accuracy.AP <= MAX_AP_LOSS + 1e-9:
            return accuracy, []
        figures = f"AP {accuracy.AP:.4f} on {examples} held-out images"
        return accuracy, [f"{figures} (Keras {self._keras_ap:.4f}, at most {MAX_AP_LOSS:.4f} more)"]

    def _average_precision(self, predict, dataset, split):
        return self._task.evaluate(predict, self._card, dataset, split, _BATCH, with_progress=True).AP


def compare(reference, outputs, detections, anchors):
    """Compares what a network returns with a reference, and its detections with what it returns.

    Args:
        reference: dict of NumPy arrays of `RAW_OUTPUTS`, [images, anchors, numbers].
        outputs, detections, anchors: as of `detection_faults`.

    Returns:
        `DetectorComparison`.
    """
    pairs = [(reference[name], outputs[name]) for name in RAW_OUTPUTS]
    images = len(pairs[0][0])
    if not all(np.isfinite(values).all() for _, values in pairs):
        return DetectorComparison(images, math.inf, -math.inf)
    errors, ratios = zip(*(_figures(*pair) for pair in pairs), strict=True)
    return DetectorComparison(images, max(errors), min(ratios), tuple(detection_faults(outputs, detections, anchors)))


def failures(comparison, max_relative_error=None, min_snr_db=None):
    """Lists what keeps a file from passing, the faults of its detections first; empty if it passes.

    Args:
        comparison: `DetectorComparison`.
        max_relative_error, min_snr_db: the threshold, one of the two.
    """
    found = list(comparison.faults)
    if max_relative_error is not None and not comparison.relative_error <= max_relative_error:
        found.append(f"relative error {comparison.relative_error:.1e} (at most {max_relative_error:.0e})")
    if min_snr_db is not None and not comparison.snr_db >= min_snr_db:
        found.append(f"SNR {comparison.snr_db:.1f} dB (at least {min_snr_db:.0f})")
    return found


def detection_faults(outputs, detections, anchors):
    """Lists what shows that detections are not those of a network's outputs, as text; empty if they are.

    Args:
        outputs: dict of NumPy arrays that a network returns, [batch, ...].
        detections: dict of NumPy arrays as of `detect`, [batch, ...].
        anchors: float32 [anchors, 4].
    """
    boxes = decode_boxes(outputs["box_codes"], anchors).numpy()
    scores = 1 / (1 + np.exp(-outputs["class_logits"][..., 1:].astype(np.float64)))
    faults = []
    for i, count in enumerate(detections["count"]):
        found = {name: detections[name][i][:count] for name in ("boxes", "classes", "scores")}
        fault = _fault(boxes[i], scores[i], found)
        if fault:
            faults.append(f"in image {i} {fault}")
    return faults[:1]


def _fault(boxes, scores, found):
    """What is wrong with the detections in one image, or None.

    Args:
        boxes: float [anchors, 4], decoded, not clipped.
        scores: float [anchors, classes].
        found: dict of `boxes` [n, 4], `classes` [n], `scores` [n].
    """
    classes = found["classes"]
    if classes.size and not 0 <= classes.min() <= classes.max() < scores.shape[1]:
        return f"a class is {classes.max()} of {scores.shape[1]}"
    differences = np.maximum(
        np.abs(np.clip(boxes, 0, 1)[:, np.newaxis] - found["boxes"]).max(axis=-1),
        np.abs(scores[:, classes] - found["scores"]),
    )
    matched = differences.argmin(axis=0) if len(classes) else np.zeros(0, int)
    wrong = np.flatnonzero(~(differences[matched, np.arange(len(classes))] <= _TOLERANCE))
    if wrong.size:
        return f"{wrong.size} of {len(classes)} detections are no box and score of an anchor"
    if (np.diff(found["scores"]) > 0).any():
        return "the detections are not in the order of their scores"
    is_full = len(classes) == MAX_DETECTIONS
    lowest = found["scores"][-1] if is_full else SCORE_THRESHOLD
    for label in range(scores.shape[1]):
        fault = _class_fault(boxes, scores[:, label], matched[classes == label], lowest)
        if fault:
            return f"{fault} (class {label})"
    return None


def _class_fault(boxes, scores, kept, lowest):
    """What is wrong with the anchors that are kept of a class in one image, or None."""
    candidates = np.flatnonzero(scores > lowest + _TOLERANCE)
    overlaps = iou(boxes[kept], boxes[kept]).numpy() * (1 - np.eye(len(kept)))
    if (overlaps > IOU_THRESHOLD + _IOU_TOLERANCE).any():
        return f"two detections overlap by {overlaps.max():.2f}"
    overlaps = iou(boxes[candidates], boxes[kept]).numpy()
    is_better = scores[kept] >= scores[candidates][:, np.newaxis] - _TOLERANCE
    falls = (overlaps > IOU_THRESHOLD - _IOU_TOLERANCE) & is_better
    missing = ~falls.any(axis=1) & ~np.isin(candidates, kept)
    if missing.any():
        return f"{missing.sum()} boxes with scores up to {scores[candidates[missing]].max():.3f} are missing"
    return None


def _figures(reference, received):
    """Relative error and signal-to-noise ratio of one output, [images, anchors, numbers]."""
    signal = reference.astype(np.float64) - reference.mean(axis=(0, 1), dtype=np.float64)
    difference = received.astype(np.float64) - reference
    return (
        ratio(np.abs(difference).max(), max(np.abs(signal).max(), _LEAST_SIGNAL * np.abs(reference).max())),
        decibels(np.square(signal).sum(), np.square(difference).sum()),
    )


def _arrays(tensors):
    return {name: np.array(tensor) for name, tensor in tensors.items()}


class _Part(DetectionDataset):
    """The first images of a data set's split, in an order that mixes the files of a folder."""

    def __init__(self, dataset, split, examples):
        super().__init__(
            name=dataset.name,
            class_names=dataset.class_names,
            category_ids=dataset.category_ids,
            image_shape=dataset.image_shape,
            splits={split: examples},
        )
        self._whole = dataset

    def read_records(self, split, shuffle_seed):
        del shuffle_seed
        return self._whole.records(split, 0).take(self.splits[split])

    def image(self, record):
        return self._whole.image(record)
