"""Compares exported files with the Keras model that they came from, and refuses those that differ.

The figures are those of the model's task: its `answers` module defines them.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from condconv_keras.data.dataset import Dataset
from condconv_keras.export.check.routing import RoutingCheck
from condconv_keras.export.format import ExportFormat
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import keras

# What rounding weights in other places than Keras does, such as after batch normalization is folded in, may cost.
ROUNDING_MARGIN_DB = 10.0
LEAST_ROUNDED_SNR_DB = 20.0


class Differs(UserError):
    """A file does not answer as the Keras model does.

    Attributes:
        figures: by how much, a dict that JSON can hold.
    """

    def __init__(self, message: str, figures: dict[str, Any]) -> None:
        super().__init__(message)
        self.figures = figures


class ExportCheck:
    """Lets files pass that answer as the Keras model does.

    Args:
        model: Keras classifier or detector.
        card: its `ModelCard`.
        images: float32 [count, height, width, channels] in 0..255, different real images: a file that keeps the first
            image's kernels (a known bug of converters) fails on the second.
        dataset: data set of the task, with the model's classes, whose held-out split measures the accuracy, or None.
        examples: how many of its images, or None for all.
        trained: whether the model is; the accuracy of an untrained one is not measured.
        routing_outputs: whether the files that can return routing weights are expected to.

    Raises:
        UserError: the model does not return what its card says.
    """

    def __init__(
        self,
        model: keras.Model,
        card: ModelCard,
        images: np.ndarray,
        dataset: Dataset | None = None,
        examples: int | None = None,
        trained: bool = False,
        routing_outputs: bool = False,
    ) -> None:
        self._model = model
        self._trained = trained
        self._dataset = dataset if trained else None
        self._examples = examples
        self._answers = get_task(card.task).answers(model, card, images)
        self._routing = RoutingCheck(model, card, images) if routing_outputs else None

    def __call__(self, path: pathlib.Path, file_format: ExportFormat) -> tuple[Any, Any]:
        """Runs a file as its user would, all images through one loaded file, with one thread and with several.

        Args:
            path: where the file lies, its `model.json` in place.
            file_format: its `condconv_keras.export.format.ExportFormat`.

        Returns:
            The worst comparison, as `Answers.compare` returns it, and the accuracy or None.

        Raises:
            Differs: it does; the message names the file and the figures.
            UserError: the file cannot be loaded.
        """
        comparisons = []
        least = self._min_snr_db(file_format)
        for threads in file_format.threads:
            comparison = self._answers.compare(self._answers.of_file(file_format, path, threads))
            found = self._answers.failures(comparison, file_format.max_relative_error, least)
            if self._routing is not None and "routing_outputs" in file_format.flags:
                found += self._routing.failures(file_format, path, threads)
            _refuse(path, found, comparison, "" if threads is None else f" with num_threads={threads}")
            comparisons.append(comparison)
        return min(comparisons, key=lambda comparison: comparison.snr_db), self._accuracy(file_format, path)

    def _min_snr_db(self, file_format: ExportFormat) -> float | None:
        """The least signal-to-noise ratio of a format for this model, or None."""
        least = file_format.min_snr_db
        if self._trained and file_format.min_trained_snr_db is not None:
            least = file_format.min_trained_snr_db
        if file_format.weights_dtype is None:
            return least
        with _rounded_weights(self._model, file_format.weights_dtype):
            rounded = self._answers.compare(self._answers.of_keras())
        # Weights that overflow leave no ratio at all; the file would pass with any answers.
        return min(least, max(rounded.snr_db - ROUNDING_MARGIN_DB, LEAST_ROUNDED_SNR_DB))

    def _accuracy(self, file_format: ExportFormat, path: pathlib.Path) -> Any:
        if self._dataset is None:
            return None
        accuracy, found = self._answers.accuracy(file_format, path, self._dataset, self._examples)
        _refuse(path, found, accuracy)
        return accuracy


@contextlib.contextmanager
def _rounded_weights(model: keras.Model, dtype: str) -> Iterator[None]:
    weights = model.get_weights()
    with np.errstate(over="ignore"):
        # Vectors, as biases and statistics, keep their type in a file.
        model.set_weights([w.astype(dtype).astype(w.dtype) if w.ndim > 1 else w for w in weights])
    try:
        yield
    finally:
        model.set_weights(weights)


def _refuse(path: pathlib.Path, found: list[str], figures: Any, circumstances: str = "") -> None:
    if found:
        message = f"{path.name} differs from the Keras model{circumstances}: {', '.join(found)}"
        raise Differs(message, figures.to_dict())
