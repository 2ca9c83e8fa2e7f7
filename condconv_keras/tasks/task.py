"""What a kind of model adds to all else: one class says it whole, a package of its name beside this module has it."""

import abc
import dataclasses
import types
from collections.abc import Callable, Mapping

from condconv_keras.data.dataset import Dataset
from condconv_keras.data.opening import open_dataset
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.tasks.predictions import Predictions
from condconv_keras.tasks.recipe import Recipe
from condconv_keras.tasks.reports import Report
from condconv_keras.utils.lazy import require


@dataclasses.dataclass(frozen=True, kw_only=True)
class Validation:
    """How a model is evaluated on a split by replicas that each see a part of it.

    Attributes:
        predict: function of a batch of images that returns a tensor or a dict of tensors, [batch, ...].
        make_batches: function of an `InputShard` that returns the pipeline's batches, fillers among them.
        examples: number of examples of the split.
        count: function of a batch's labels, NumPy arrays, that returns how many of them are no fillers.
        measure: function of an iterable of (predictions, labels), NumPy arrays of the batches of all replicas, fillers
            among them, that returns the metrics.
    """

    predict: Callable
    make_batches: Callable
    examples: int
    count: Callable
    measure: Callable


class Task(abc.ABC):
    """One kind of model, as in classification.

    Attributes:
        card: class of its models' cards, which also names the task.
        noun: what messages call such a model, as in `"classifier"`.
        extra: the extra of the distribution that brings all its packages.
        packages: names of the packages that training its models and running them in Keras take.
        metric_packages: those that its metrics take, of an exported model too.

        dataset: the kind of data set that its models learn from.
        folders: which folders can be such a data set, for help.
        published_data: how the names of the data sets start that its published recipes are for.

        recipe: class of its recipes.
        recipes: dict of name to recipe.
        small_recipe: the name of the one for a data set without a recipe of its own.
        augmentations: names of what may happen to a training image.

        step_means: names of what a training step reports besides the loss, means over an epoch.
        validation: dict of a column of a run's history to the attribute of the held-out metrics that it shows.
        curves: the panels of a run's picture: dict of title to a dict of columns of the history to their labels.
        metrics: names of the metrics in the results of a run.

        has_raw_outputs: whether a `.tflite` file of its models can return what the network does, nothing behind it.
        has_metadata: whether a `.tflite` file of its models can carry the metadata of MediaPipe Tasks.

        reports: dict of name to the `Report` that an evaluation can write.
        predictions: the `Predictions` that a program prints of images without labels.
    """

    card: type[ModelCard]
    noun: str
    extra: str = "tensorflow"
    packages: tuple[str, ...] = ("tensorflow",)
    metric_packages: tuple[str, ...] = ("tqdm",)

    dataset: type[Dataset]
    folders: str
    published_data: str

    recipe: type[Recipe]
    recipes: Mapping[str, Recipe]
    small_recipe: str
    augmentations: tuple[str, ...]

    step_means: tuple[str, ...] = ()
    validation: Mapping[str, str] = types.MappingProxyType({})
    curves: Mapping[str, Mapping[str, str]]
    metrics: tuple[str, ...]

    has_raw_outputs: bool = False
    has_metadata: bool = False

    reports: Mapping[str, Report]
    predictions: Predictions

    @property
    def name(self):
        """One of `condconv_keras.facts.model_card.TASKS`."""
        return self.card.task

    def require(self):
        """Raises a `MissingPackage` unless its packages are installed."""
        require(*self.packages, extra=self.extra)

    def require_metrics(self):
        """Raises a `MissingPackage` unless the packages of its metrics are installed."""
        require(*self.metric_packages, extra=self.extra)

    # Data.

    def open_dataset(self, *arguments, **options):
        """Opens a data set of the task; arguments and errors as of `condconv_keras.data.open_dataset`."""
        return open_dataset(*arguments, **options, kind=self.dataset)

    def check_training_data(self, dataset):  # noqa: B027 (most data sets have something to learn)
        """Raises a `UserError` for a data set from which a model of the task has nothing to learn."""

    @abc.abstractmethod
    def card_fields(self, dataset):
        """Returns what the card of a model that is trained on a data set has besides its classes, a dict."""

    @abc.abstractmethod
    def training_batches(self, dataset, card, batch_size, recipe, position, shard, data_service=None):
        """Returns endless `(images, targets)` of the training split.

        Args:
            dataset: the task's data set.
            card: the model's card.
            batch_size: int.
            recipe: the task's `Recipe`, whose augmentation is used, or None for none.
            position: `condconv_keras.data.input.streams.InputPosition`.
            shard, data_service: as in `condconv_keras.data.training_batches`.
        """

    @abc.abstractmethod
    def presence_batches(self, dataset, split, preprocessing, batch_size, shard=None):
        """Yields the images of a split and the classes in each, without fillers.

        Args:
            dataset, split, preprocessing, batch_size, shard: as in `condconv_keras.data.evaluation_batches`.

        Yields:
            float32 [batch, height, width, channels] in 0..255 and booleans [batch, classes].
        """

    # Training.

    @abc.abstractmethod
    def network_arguments(self, recipe):
        """Returns the keywords of `create_model` that a recipe decides for models of the task alone, a dict."""

    @abc.abstractmethod
    def make_objective(self, recipe, num_classes, class_weights=None):
        """Returns the function of a batch's targets and the network's outputs that training minimizes.

        It returns the loss of each example, float [batch], and a dict of `step_means` to values whose mean is meant.

        Args:
            recipe: the task's recipe.
            num_classes: classes.
            class_weights: as of `class_weights`.
        """

    def class_weights(self, recipe, dataset):
        """Returns the weights of the classes in the loss, float [classes], or None for none."""
        return None

    def data_facts(self, recipe, dataset):
        """Returns what a description of a run says of its data besides their size, as a dict that JSON can hold."""
        return {}

    def result_facts(self, metrics, card):
        """Returns what the results of a run say besides `metrics.to_dict()`, as a dict that JSON can hold."""
        return {}

    # Evaluation.

    @abc.abstractmethod
    def make_validation(self, model, card, dataset, split, batch_size, repeated=False):
        """Returns the `Validation` of a Keras model on a split.

        Args:
            model: Keras model.
            card: its card.
            dataset, split, batch_size: as in `condconv_keras.data.evaluation_batches`; the size of one replica's batch.
            repeated: whether the batches can be gone through again and again, without reading the data anew.
        """

    @abc.abstractmethod
    def evaluate(self, predict, card, dataset, split, batch_size, with_progress=False):
        """Returns the metrics of a model on a split; each has `to_dict()`.

        Args:
            predict: function of images as `keras_predict` returns it.
            card: the model's card.
            dataset, split, batch_size: as in `condconv_keras.data.evaluation_batches`.
            with_progress: whether to show a progress bar on a terminal.
        """

    @abc.abstractmethod
    def summary_rows(self, results):
        """Returns the main ones of the metrics' `to_dict()` as (name, text) pairs that a person reads."""

    @abc.abstractmethod
    def metric_rows(self, metrics):
        """Returns all metrics that a person reads, as (name, text) pairs."""

    # Prediction: functions of float32 images [batch, height, width, channels] in 0..255 that return NumPy arrays.

    @abc.abstractmethod
    def keras_predict(self, model, card):
        """Returns the `predict` function of a Keras model."""

    @abc.abstractmethod
    def saved_model_predict(self, loaded, path, card):
        """Returns the `predict` function of a SavedModel.

        Args:
            loaded: what TensorFlow loaded.
            path: of its folder.
            card: its card.

        Raises:
            UserError: it takes and returns something else than those of `python -m export`.
        """

    @abc.abstractmethod
    def tflite_predict(self, path, card, num_threads=None):
        """Returns the `predict` function of a `.tflite` file.

        Args:
            path: `.tflite` file.
            card: its card.
            num_threads: of its interpreter, or None for LiteRT's choice.

        Raises:
            UserError: LiteRT cannot load it, or it is not that of the card.
        """

    # Export.

    @abc.abstractmethod
    def endpoints(self, model, card, class_names):
        """Traces the functions that a SavedModel offers.

        Args:
            model: functional or sequential Keras model of the task.
            card: its card.
            class_names: lookup table from int64 class ids to names.

        Returns:
            A dict of `tf.function`s by name; the first trace of each is the one for its signature.
        """

    @abc.abstractmethod
    def converted_outputs(self, outputs, card, quantize):
        """Returns the dict of tensors that the converter to TFLite is given.

        Args:
            outputs: of the network, as of `condconv_keras.export.tflite.mobile_network`, in TensorFlow's graph.
            card: the model's card.
            quantize: whether the activations are quantized.
        """

    @abc.abstractmethod
    def finish_tflite(self, content, card, quantize, raw_outputs):
        """Returns the bytes of a `.tflite` file with what the converter leaves out.

        Args:
            content: what the converter returned.
            card: the model's card.
            quantize: as in `converted_outputs`.
            raw_outputs: whether the file returns what its network does; of a task that `has_raw_outputs`.
        """

    def tflite_raw_outputs(self, path, images, num_threads=None):
        """Returns what the network in a `.tflite` file returns, a dict of arrays, of a task that `has_raw_outputs`.

        Args:
            path, num_threads: as in `tflite_predict`.
            images: float32 [count, height, width, channels] in 0..255.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def answers(self, model, card, images):
        """Returns the `Answers` of a Keras model to images, which exported files are compared with."""

    @abc.abstractmethod
    def output_facts(self, card):
        """Returns what `model.json` says of the outputs of all files, as a dict that JSON can hold."""

    @abc.abstractmethod
    def file_facts(self, file_format, card, raw_outputs):
        """Returns what `model.json` says of the outputs of one file.

        Arguments as in `finish_tflite`, and the file's `condconv_keras.export.format.ExportFormat`.
        """

    @abc.abstractmethod
    def write_beside(self, folder, card, raw_outputs):
        """Writes the files that a reader of a `.tflite` file needs besides the cards; as in `finish_tflite`."""
