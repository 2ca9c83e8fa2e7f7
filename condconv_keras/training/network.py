"""The network of a run, its preprocessing, and the trained model that both start from."""

import dataclasses
import sys

from condconv_keras.facts.model_card import CLASSIFICATION
from condconv_keras.models import model_entry
from condconv_keras.pretrained import IMAGENET, create_model, starting_file
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.lazy import LazyModule

initial_weights = LazyModule("condconv_keras.training.initial_weights")
layers = LazyModule("condconv_keras.layers")


def make_preprocessing(config, channels):
    """Returns the `Preprocessing` of a run.

    Args:
        config: `TrainConfig`.
        channels: of the data.
    """
    recipe, inherited = config.recipe, (config.inherited or {}).get("preprocessing", {})
    size = (recipe.input_size, recipe.input_size)
    fields = {"input_size": size, "channels": channels, "crop_fraction": recipe.crop_fraction}
    return model_entry(config.model).preprocessing(**{**fields, **inherited})


def build_network(config, input_shape, classes, weights=None):
    """Builds the network of a run, with fused batch normalization.

    Args:
        config: `TrainConfig`.
        input_shape: shape of one image, without the batch axis.
        classes: number of classes.
        weights: as in `create_model`.

    Raises:
        UserError: an argument that the model does not have or that is out of range, or weights that do not fit.
    """
    recipe, inherited = config.recipe, (config.inherited or {}).get("model_arguments", {})
    arguments = {**config.model_arguments, **inherited}
    if config.task == CLASSIFICATION:
        arguments["dropout_rate"] = recipe.dropout_rate
    if recipe.bn_momentum is not None:
        arguments["bn_momentum"] = recipe.bn_momentum
    if recipe.stochastic_depth_rate:
        arguments["stochastic_depth_rate"] = recipe.stochastic_depth_rate
    try:
        network = create_model(config.model, input_shape=input_shape, classes=classes, weights=weights, **arguments)
    except (ValueError, TypeError) as error:
        raise UserError(one_line(error)) from error
    return layers.use_fused_batch_norm(network)


def with_initial_model(config):
    """Opens the trained model that a new run starts from.

    Returns:
        The `TrainConfig` with what the run inherits, and the `InitialModel`, None where there is none or `.weights.h5`
        are loaded into the network as it is built.

    Raises:
        UserError: the file is missing or damaged, does not fit, or cannot be downloaded.
    """
    path = config.initial_weights
    if path is None or path.endswith(".weights.h5"):
        return dataclasses.replace(config, inherited=None), None
    if path == IMAGENET:
        path = str(starting_file(config.model, config.model_arguments))
        print(f"starting from {path}", file=sys.stderr)
    initial = initial_weights.open_initial_model(path)
    return dataclasses.replace(config, inherited=initial.inherited), initial


def without_download(config):
    """The `TrainConfig` with what a run would inherit, as far as that is known without downloading weights."""
    if config.initial_weights != IMAGENET:
        return with_initial_model(config)[0]
    # Of the published weights, which are not opened, the channels are known.
    inherited = {"model_arguments": {}, "preprocessing": {"channels": model_entry(config.model).channels}}
    return dataclasses.replace(config, inherited=inherited)
