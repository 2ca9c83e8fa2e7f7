"""What a new run starts from: nothing, or a trained model, from which it inherits."""

import dataclasses
import zipfile

from condconv_keras.facts.model_card import DAMAGE
from condconv_keras.models import model_entry
from condconv_keras.models.registry import starting_model
from condconv_keras.models.saved_networks import is_saved_model, network_of
from condconv_keras.pretrained import IMAGENET
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.lazy import LazyModule

initial_weights = LazyModule("condconv_keras.training.initial_weights")


def with_initial_model(config):
    """Opens the trained model that a new run starts from.

    Returns:
        The `TrainConfig` with what the run inherits, and the `InitialModel`, None where there is none or `.weights.h5`
        are loaded into the network as it is built.

    Raises:
        UserError: the file is missing or damaged, does not fit, or cannot be downloaded.
    """
    path = config.weights
    if path is None or path.endswith(".weights.h5"):
        return dataclasses.replace(config, inherited=None), None
    initial = initial_weights.open_initial_model(config)
    return dataclasses.replace(config, inherited=initial.inherited), initial


def without_download(config):
    """The `TrainConfig` with what a run would inherit, as far as that is known without downloading weights."""
    if config.weights != IMAGENET:
        return with_initial_model(config)[0]
    # Of the published weights, which are not opened, the channels are known.
    inherited = {"model_arguments": {}, "preprocessing": {"channels": model_entry(config.model).channels}}
    return dataclasses.replace(config, inherited=inherited)


def has_trained_experts(config):
    """Whether the weights that a `TrainConfig` of a twin starts from are those of experts; nothing is loaded.

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
        return _has_experts(network_of(config.weights).encode())
    try:
        with zipfile.ZipFile(config.weights) as archive:
            return _has_experts(archive.read("config.json"))
    except (*DAMAGE, OSError, KeyError) as error:
        reason = one_line(error, 200)
        raise UserError(f"expected a model saved as .keras, {config.weights!r} is none ({reason})") from error


def _has_experts(text):
    """Whether the text of a network names a CondConv layer."""
    return b'CondConv2D"' in text  # the end of the names of both layers
