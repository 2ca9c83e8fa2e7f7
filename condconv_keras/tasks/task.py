"""What training and evaluation need to know of a kind of model: its data, its objective, its metrics."""

import abc
import dataclasses
import types
from collections.abc import Callable, Mapping

from condconv_keras.data.dataset import VALIDATION_FRACTION
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
    """One kind of model.

    Attributes:
        extra: the extra of the distribution that brings all its packages.
        packages: names of the packages that training its models and running them in Keras take.
        metric_packages: those that its metrics take, of an exported model too.
        step_means: names of what a training step reports besides the loss, means over an epoch.
        validation: dict of a column of a run's history to the attribute of the held-out metrics that it shows.
    """

    extra: str = "tensorflow"
    packages: tuple[str, ...] = ("tensorflow",)
    metric_packages: tuple[str, ...] = ("tqdm",)
    step_means: tuple[str, ...] = ()
    validation: Mapping[str, str] = types.MappingProxyType({})

    def require(self):
        """Raises a `MissingPackage` unless its packages are installed."""
        require(*self.packages, extra=self.extra)

    def require_metrics(self):
        """Raises a `MissingPackage` unless the packages of its metrics are installed."""
        require(*self.metric_packages, extra=self.extra)

    @abc.abstractmethod
    def open_dataset(
        self, name, data_dir=None, validation_fraction=VALIDATION_FRACTION, skip_bad_images=False, download=True
    ):
        """Opens a data set of the task, as `condconv_keras.data.open_dataset` does."""

    @abc.abstractmethod
    def make_card(self, model, dataset, preprocessing):
        """Returns the `ModelCard` of a model, by its registry name, that is trained on a data set."""

    @abc.abstractmethod
    def training_batches(self, dataset, preprocessing, batch_size, recipe, position, shard, data_service=None):
        """Returns endless `(images, targets)` of the training split.

        Args:
            dataset: the task's data set.
            preprocessing: `Preprocessing`.
            batch_size: int.
            recipe: `Recipe`, whose augmentation is used, or None for none.
            position: `condconv_keras.data.input.streams.InputPosition`.
            shard, data_service: as in `condconv_keras.data.training_batches`.
        """

    @abc.abstractmethod
    def make_objective(self, recipe, num_classes):
        """Returns the function of a batch's targets and the network's outputs that training minimizes.

        It returns the loss of each example, float [batch], and a dict of `step_means` to values whose mean is meant.
        """

    @abc.abstractmethod
    def make_validation(self, model, card, dataset, split, batch_size, repeated=False):
        """Returns the `Validation` of a Keras model on a split.

        Args:
            model: Keras model.
            card: its `ModelCard`.
            dataset, split, batch_size: as in `condconv_keras.data.evaluation_batches`; the size of one replica's batch.
            repeated: whether the batches can be gone through again and again, without reading the data anew.
        """

    @abc.abstractmethod
    def evaluate(self, predict, card, dataset, split, batch_size, with_progress=False):
        """Returns the metrics of a model on a split; each has `to_dict()`.

        Args:
            predict: function of float32 images [batch, height, width, channels] in 0..255 that returns the task's
                predictions as NumPy arrays.
            card: the model's `ModelCard`.
            dataset, split, batch_size: as in `condconv_keras.data.evaluation_batches`.
            with_progress: whether to show a progress bar on a terminal.
        """

    @abc.abstractmethod
    def summary_rows(self, results):
        """Returns the main ones of the metrics' `to_dict()` as (name, text) pairs that a person reads."""

    @abc.abstractmethod
    def fits(self, model, num_classes):
        """Whether a Keras model has the outputs of the task and of this number of classes."""

    @abc.abstractmethod
    def keras_predict(self, model, card):
        """Returns the `predict` function of a Keras model for `evaluate`."""
