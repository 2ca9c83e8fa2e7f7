"""What the check of an export asks of a Keras model and of the files that are made of it."""

import abc


class Answers(abc.ABC):
    """The answers of a Keras model to the check's images, and how others are compared with them."""

    @abc.abstractmethod
    def of_keras(self):
        """Returns what the Keras model answers with the weights it has now."""

    @abc.abstractmethod
    def of_file(self, file_format, path, threads):
        """Returns what a file of an `ExportFormat` answers; errors as of its `predictor`."""

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
    def accuracy(self, file_format, path, dataset, examples):
        """Measures a file and the Keras model on the held-out split of a data set of the task.

        Args:
            file_format: the file's `ExportFormat`.
            path: of the file.
            dataset: data set.
            examples: how many of the images are used, or None for all.

        Returns:
            The accuracy, with `text` and `to_dict()`, or None if there is nothing to measure; and the list of failures.
        """
