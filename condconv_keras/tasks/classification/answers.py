"""The answers of classifiers: how files are compared with the Keras model.

The figures are of centered log-probabilities: the logarithms of the probabilities, less their mean over the classes.
They are the logits up to a constant of each image, so that no error hides where the softmax is flat.
"""

import dataclasses
import math

import numpy as np

from condconv_keras.models.returned import are_probabilities, single_output
from condconv_keras.tasks.answers import Answers
from condconv_keras.tasks.classification.metrics import evaluate
from condconv_keras.tasks.classification.predictor import keras_predict
from condconv_keras.tasks.error_figures import decibels, ratio
from condconv_keras.tasks.progress import with_progress
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.softmax import softmax

# A file may answer this part of the held-out examples less often right than Keras.
MAX_TOP_1_LOSS = 0.01
SMALLEST_PROBABILITY = 1e-30
# Differences of logarithms up to this are rounding of float32 probabilities: a few units in the last place.
_RESOLUTION = 4 * float(np.finfo(np.float32).eps)
# A class may be taken for another one where this many standard deviations of the noise explain it.
_DEVIATIONS = 3
# What one network answers, computed in two ways in float32, differs by less, as a relative error.
_TOLERANCE = 0.01
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How a file's answers differ from Keras's.

    Attributes:
        images: number of images.
        relative_error: largest absolute difference of a centered log-probability, as a part of the largest one of the
            reference.
        snr_db: 10 log10 of the reference's sum of squares over that of the differences, at most `EQUAL_DB`.
        same_class: number of images with the same most probable class.
        lost_margin: of the images with another class, how far at most the reference's log-probability of that class
            lies below its best one; 0 if there is none.

    Where an answer is not finite, the error and the margin are infinite and the ratio is minus infinity.
    """

    images: int
    relative_error: float
    snr_db: float
    same_class: int
    lost_margin: float

    def to_dict(self):
        """Returns the figures of a file that passed as a dict that JSON can hold."""
        names = ("images", "relative_error", "snr_db", "same_class")
        return {name: getattr(self, name) for name in names}

    @property
    def text(self):
        """The figures for a person."""
        error = f"relative error {self.relative_error:.1e}, SNR {self.snr_db:.0f} dB"
        return f"{self.same_class} of {self.images} images as Keras, {error}"


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Top-1 on the same held-out examples, fractions: `top_1` of the file, `keras_top_1` of the Keras model."""

    top_1: float
    keras_top_1: float
    examples: int

    def to_dict(self):
        """Returns the figures as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    @property
    def text(self):
        """The figures for a person."""
        return f"top-1 {self.top_1:.4f} (Keras {self.keras_top_1:.4f}, {self.examples} images)"


def centered_log_probabilities(probabilities):
    """Returns log(probabilities, at least 1e-30) less their mean over the classes, float64 [images, classes]."""
    logarithms = np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST_PROBABILITY))
    return logarithms - logarithms.mean(axis=-1, keepdims=True)


def compare(reference, received):
    """Compares centered log-probabilities [images, classes]; returns a `Comparison`."""
    best, chosen = reference.argmax(axis=-1), received.argmax(axis=-1)
    same_class = int((best == chosen).sum())
    if not np.isfinite(received).all():
        return Comparison(len(reference), math.inf, -math.inf, same_class, math.inf)
    difference = np.maximum(np.abs(received - reference) - _RESOLUTION, 0)
    rows = np.arange(len(reference))
    return Comparison(
        images=len(reference),
        relative_error=ratio(difference.max(), np.abs(reference).max()),
        snr_db=decibels(np.square(reference).sum(), np.square(difference).sum()),
        same_class=same_class,
        lost_margin=float((reference[rows, best] - reference[rows, chosen]).max()),
    )


def failures(comparison, reference, max_relative_error=None, min_snr_db=None):
    """Lists what keeps a file from passing: the figures below their thresholds, as text; empty if it passes.

    A disagreement about the class counts only where noise at the threshold does not explain it: where the reference's
    margin between its class and the file's is more than the largest error allowed, or, for a signal-to-noise ratio,
    more than three standard deviations of a difference of two log-probabilities that each have all the noise allowed.
    Thus two classes that the model itself can hardly tell apart may change places; a confident answer may not.

    Args:
        comparison: `Comparison`.
        reference: the centered log-probabilities that it is about.
        max_relative_error, min_snr_db: the threshold, one of the two.
    """
    found = []
    if max_relative_error is not None:
        allowed_margin = max_relative_error * np.abs(reference).max()
        if not comparison.relative_error <= max_relative_error:
            found.append(f"relative error {comparison.relative_error:.1e} (at most {max_relative_error:.0e})")
    else:
        noise = np.sqrt(np.square(reference).mean()) * 10 ** (-min_snr_db / 20)
        allowed_margin = _DEVIATIONS * math.sqrt(2) * noise
        if not comparison.snr_db >= min_snr_db:
            found.append(f"SNR {comparison.snr_db:.1f} dB (at least {min_snr_db:.0f})")
    if not comparison.lost_margin <= allowed_margin:
        found.append(
            f"same class for {comparison.same_class} of {comparison.images} images "
            f"(log-probabilities up to {comparison.lost_margin:.2g} apart change places, {allowed_margin:.2g} allowed)"
        )
    return found


class ClassifierAnswers(Answers):
    """Probabilities, compared as centered log-probabilities.

    Args:
        model: Keras classifier.
        card: its `ModelCard`.
        images: as in `condconv_keras.export.check.export_check.ExportCheck`.

    Raises:
        UserError: the probabilities that are made of the model's outputs by its card are not the model's.
    """

    def __init__(self, model, card, images):
        self._model = model
        self._card = card
        self._images = images
        self._keras_predict = keras_predict(model, card)
        self._keras_top_1 = None
        self._reference = self.of_keras()
        self._check_reference()

    def _check_reference(self):
        """Compares what files are to answer with what the model itself returns, whatever its card says of that."""
        outputs = self._model(self._card.preprocessing.scale_images(self._images), training=False)
        outputs = np.asarray(single_output(outputs), np.float32)
        if not np.isfinite(outputs).all():
            return
        expected = centered_log_probabilities(outputs if are_probabilities(outputs) else softmax(outputs))
        difference = np.maximum(np.abs(self._reference - expected) - _RESOLUTION, 0).max()
        error = ratio(difference, np.abs(expected).max())
        if not error <= _TOLERANCE:
            raise UserError(
                f"the card of the model {self._card.model!r} does not say what it returns: the probabilities that are "
                f"made of that differ by a relative error of {error:.1e} from the model's own; save it with a "
                "ModelCard without `returns`"
            )

    def of_keras(self):
        return centered_log_probabilities(self._keras_predict(self._images))

    def of_file(self, file_format, path, threads):
        predict = file_format.predictor(path, self._model, self._card, threads)
        return centered_log_probabilities(predict(self._images))

    def compare(self, received):
        return compare(self._reference, received)

    def failures(self, comparison, max_relative_error, min_snr_db):
        return failures(comparison, self._reference, max_relative_error, min_snr_db)

    def accuracy(self, file_format, path, dataset, examples):
        predict = file_format.predictor(path, self._model, self._card)
        metrics = self._top_1(predict, path.name, dataset, examples)
        if self._keras_top_1 is None:
            self._keras_top_1 = self._top_1(self._keras_predict, "Keras", dataset, examples).top_1
        accuracy = Accuracy(metrics.top_1, self._keras_top_1, metrics.examples)
        # Of few examples, one is more than the allowed part.
        allowed = max(MAX_TOP_1_LOSS, 1 / accuracy.examples)
        if accuracy.keras_top_1 - accuracy.top_1 <= allowed + 1e-9:
            return accuracy, []
        figures = f"top-1 {accuracy.top_1:.4f} on {accuracy.examples} held-out images"
        return accuracy, [f"{figures} (Keras {accuracy.keras_top_1:.4f}, at most {allowed:.4f} more)"]

    def _top_1(self, predict, name, dataset, examples):
        split = dataset.evaluation_split
        examples = min(examples or math.inf, dataset.splits[split])
        # The files of a folder are sorted by class: a part of them has to be drawn from all.
        batches = (
            dataset.examples(split, shuffle_files_seed=0)
            .take(examples)
            .map(lambda image, label: (self._card.preprocessing.evaluation_image(image), label))
            .batch(_BATCH)
            .prefetch(1)
        )
        return evaluate(predict, with_progress(batches, examples, f"top-1 of {name}"))
