"""What a new run starts from: nothing, or a trained model, from which it inherits."""

import dataclasses
import typing

from condconv_keras.facts.archives import archive_has_experts, names_experts
from condconv_keras.models import model_entry
from condconv_keras.models.registry import starting_model
from condconv_keras.models.saved_networks import is_saved_model, network_of
from condconv_keras.pretrained import IMAGENET
from condconv_keras.utils.lazy import LazyModule

initial_weights = LazyModule("condconv_keras.training.initial_weights")
stored_classifier = LazyModule("condconv_keras.training.stored_classifier")


class Loadable(typing.Protocol):
    """A `condconv_keras.stored.StoredModel`, as a run needs it."""

    def load(self) -> tuple[typing.Any, typing.Any]:
        """Returns a Keras model and its `ModelCard`, or None without one."""


def with_initial_model(config, stored=None):
    """Opens the trained model that a new run starts from.

    Args:
        config: `TrainConfig`.
        stored: `StoredModel` of the configuration's model where that is none that is registered.

    Returns:
        The `TrainConfig` with what the run inherits, and the `StoredClassifier` or `InitialModel`, None where there is
        none or `.weights.h5` are loaded into the network as it is built.

    Raises:
        UserError: the file is missing or damaged, does not fit, or cannot be downloaded.
    """
    if config.is_stored:
        initial = stored_classifier.StoredClassifier(config, *stored.load())
        return dataclasses.replace(config, inherited=initial.inherited), initial
    path = config.weights
    if path is None or path.endswith(".weights.h5"):
        return dataclasses.replace(config, inherited=None), None
    initial = initial_weights.open_initial_model(config)
    return dataclasses.replace(config, inherited=initial.inherited), initial


def without_download(config, stored=None):
    """The result of `with_initial_model` as far as that is known without downloading weights."""
    if config.weights != IMAGENET:
        return with_initial_model(config, stored)
    # Of the published weights, which are not opened, the channels are known.
    inherited = {"model_arguments": {}, "preprocessing": {"channels": model_entry(config.model).channels}}
    return dataclasses.replace(config, inherited=inherited), None


def has_trained_experts(config):
    """Whether the weights that a `TrainConfig` of a registered twin starts from are those of experts, not loading them.

    Raises:
        UserError: the `.keras` file is damaged, or the SavedModel, or that has no network.
    """
    if config.weights is None or model_entry(config.model).placement is None:
        return False
    if config.weights == IMAGENET:
        return model_entry(starting_model(config.model)).placement is not None
    if config.weights.endswith(".weights.h5"):
        return True
    if is_saved_model(config.weights):
        return names_experts(network_of(config.weights))
    return archive_has_experts(config.weights)
