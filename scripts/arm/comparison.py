"""A file's answers on ARM compared with those of the same file on x86, by the figures and limits of the exporter."""

import dataclasses

import numpy as np

from condconv_keras.serving.litert import OUTPUT
from condconv_keras.tasks.classification import answers as classification
from condconv_keras.tasks.detection import answers as detection
from condconv_keras.tasks.detection.exported import RAW_OUTPUTS, clipped


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How a file's answers on ARM differ from those on x86.

    Attributes:
        images: number of images.
        same_class: number of those with the same most probable class, or with the same class of the best detection.
        margin: where the class is another one, by how much at most x86 prefers its own: the difference of its two
            probabilities, or of the best scores that it has for both, as a part of the larger. 0 if all are the same.
        largest: largest difference of a probability, or of what a detector's network returns.
        relative_error, snr_db: as the exporter's check defines them for the task.
        failures: what the check would refuse the file for, as text: empty if it passes.
    """

    images: int
    same_class: int
    margin: float
    largest: float
    relative_error: float
    snr_db: float
    failures: tuple[str, ...]


def compare(file_format, expected, received, anchors=None):
    """Compares answers; the limits are the format's for an untrained model, which are the stricter ones.

    Args:
        file_format: `ExportFormat` of the file.
        expected, received: dicts of what the file and, where there is one, its network return, on x86 and on ARM.
        anchors: of a detector, else None.

    Returns:
        `Comparison`.
    """
    limits = file_format.max_relative_error, file_format.min_snr_db
    if anchors is None:
        reference, answer = (classification.centered_log_probabilities(each[OUTPUT]) for each in (expected, received))
        found = classification.compare(reference, answer)
        failures, outputs = classification.failures(found, reference, *limits), (OUTPUT,)
        scores, best, chosen = expected[OUTPUT], reference.argmax(axis=-1), answer.argmax(axis=-1)
    else:
        found = detection.compare(expected, received, clipped(received), anchors)
        failures, outputs = detection.failures(found, *limits), RAW_OUTPUTS
        best, chosen = (each["classes"][:, 0].astype(int) for each in (expected, received))
        scores = best_scores(expected, 1 + max(best.max(), chosen.max()))
    rows = np.arange(found.images)
    return Comparison(
        images=found.images,
        same_class=int((best == chosen).sum()),
        margin=float((1 - scores[rows, chosen] / scores[rows, best]).max()),
        largest=max(float(np.abs(received[name] - expected[name]).max()) for name in outputs),
        relative_error=found.relative_error,
        snr_db=found.snr_db,
        failures=tuple(failures),
    )


def best_scores(detections, classes):
    """Returns the best score that a detector has for each class in each image, [images, classes]; 0 for none.

    Args:
        detections: dict of `classes` and `scores`, [images, detections].
        classes: number of classes.
    """
    is_class = detections["classes"][..., np.newaxis] == np.arange(classes)
    return (detections["scores"][..., np.newaxis] * is_class).max(axis=1)
