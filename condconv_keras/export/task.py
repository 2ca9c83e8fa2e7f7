"""What the exporter needs to know of a kind of model: what is served of it, what a file returns, how it is checked."""

import abc


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
            quantize: whether the activations are quantized.
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
        """Returns the `Answers` of a Keras model to images, for `condconv_keras.export.check.gate.Gate`."""

    @abc.abstractmethod
    def facts(self, card):
        """Returns what `model.json` says of the outputs of all files, as a dict that JSON can hold."""

    @abc.abstractmethod
    def file_facts(self, file_format, card, raw_outputs):
        """Returns what `model.json` says of the outputs of one file.

        Arguments as in `finish`, and the file's `condconv_keras.export.format.ExportFormat`.
        """

    @abc.abstractmethod
    def write_beside(self, folder, card, raw_outputs):
        """Writes the files that a reader of a `.tflite` file needs besides the cards; arguments as in `finish`."""
