"""What the exporter needs to know of a kind of model: what is served of it, what a file returns, how it is checked."""

import abc
import importlib

from condconv_keras.facts.model_card import TASKS


class ExportTask(abc.ABC):
    """One kind of model."""

    @abc.abstractmethod
    def endpoints(self, model, card, class_names):
        """Traces the functions that a SavedModel offers.

        Args:
            model: functional or sequential Keras model of the task.
            card: its `ModelCard`.
            class_names: lookup table from int64 class ids to names.

        Returns:
            A dict of `tf.function`s by name; the first trace of each is the one for its signature.
        """

    @abc.abstractmethod
    def converted_outputs(self, outputs, quantize):
        """Returns the dict of tensors that the converter is given.

        Args:
            outputs: what `condconv_keras.export.tflite.mobile_network` returns.
            quantize: whether the activations are quantised.
        """

    @abc.abstractmethod
    def finish(self, content, card, quantize, raw_outputs):
        """Returns the bytes of a `.tflite` file with what the converter leaves out.

        Args:
            content: what the converter returned.
            card: `ModelCard`.
            quantize: as in `converted_outputs`.
            raw_outputs: whether a detector returns what its network does.
        """

    @abc.abstractmethod
    def answers(self, model, card, images):
        """Returns the `Answers` of a Keras model to images, as in `condconv_keras.export.check.gate.Gate`."""

    @abc.abstractmethod
    def facts(self, card):
        """Returns what `model.json` says of the outputs of all files, as a dict that JSON can hold."""

    @abc.abstractmethod
    def file_facts(self, mode, card, raw_outputs):
        """Returns what `model.json` says of the outputs of one file; arguments as in `finish`, and its `Mode`."""

    @abc.abstractmethod
    def write_beside(self, folder, card, raw_outputs):
        """Writes the files that a reader of a `.tflite` file needs besides the cards; arguments as in `finish`."""


class Answers(abc.ABC):
    """The answers of a Keras model to the gate's images, and how others are compared with them."""

    @abc.abstractmethod
    def of_keras(self):
        """Returns what the Keras model answers with the weights it has now."""

    @abc.abstractmethod
    def of_file(self, path, threads):
        """Returns what a file answers; arguments and errors as of `condconv_keras.stored.predictor.open_predictor`."""

    @abc.abstractmethod
    def compare(self, received):
        """Compares answers with those that the Keras model gave first.

        Returns:
            An object with `snr_db`, `text` for people and `to_dict()`.
        """

    @abc.abstractmethod
    def failures(self, comparison, max_relative_error, min_snr_db):
        """Lists what keeps a file from passing, as text; empty if it passes. One threshold is None."""

    @abc.abstractmethod
    def accuracy(self, path, dataset, examples):
        """Measures a file and the Keras model on the held-out split of a data set of the task.

        Args:
            path: of the file.
            dataset: data set.
            examples: how many of the images are used, or None for all.

        Returns:
            The accuracy, with `text` and `to_dict()`, or None if there is nothing to measure; and the list of failures.
        """


def export_task(name):
    """Returns the `ExportTask` of this name, one of `TASKS`: the `TASK` of `condconv_keras.export.<name>`."""
    if name not in TASKS:
        raise ValueError(f"`name` must be one of {TASKS}. Received: {name!r}")
    return importlib.import_module(f"condconv_keras.export.{name}").TASK
