"""The zoo with weights: `create_model`, and the published ImageNet weights as `.keras` files in the Keras cache."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any, Literal, Unpack

from condconv_keras.facts import old_names
from condconv_keras.facts.created_models import remember
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.models.arguments import ModelArguments
from condconv_keras.models.building import build_model, check_keywords
from condconv_keras.models.registry import model_entry, starting_model
from condconv_keras.models.saving import load_keras_file
from condconv_keras.models.settings import weight_settings
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.lazy import LazyModule, keras
from condconv_keras.weights.convert import import_weights
from condconv_keras.weights.download import converted
from condconv_keras.weights.published import published_for
from condconv_keras.weights.skipped_layers import layers_to_skip

warm_starts = LazyModule("condconv_keras.weights.warm_start")

IMAGENET = "imagenet"


def create_model(
    name: str,
    *,
    weights: Literal["imagenet"] | str | os.PathLike[str] | None = None,
    **kwargs: Unpack[ModelArguments],
) -> keras.Model:
    """Builds a registered model.

    Args:
        name: registry name; `list_models()` lists them.
        weights: None for initial weights, or one of

            - the path of a `.keras` file, as training and imports write it, with this network, its plain twin or a
              detector's backbone;
            - `"imagenet"` for published weights, which are downloaded once; a detector gets those of its backbone;
            - the path of a `.weights.h5` file of a model of the same arguments.

            The first two bring the `padding` and `bn_epsilon` that they need. Whatever they cannot give keeps its
            initial weights: a prediction of other classes, and all of a detector that is not in its backbone.
        **kwargs: the fields of `condconv_keras.models.options.NetworkOptions` such as `input_shape`, `classes`,
            `include_top`, `pooling`, `padding`; arguments of the family (`models/families/`) such as
            `width_multiplier` or `stochastic_depth_rate`; for a `condconv_` model also the fields of
            `CondConvPlacement`: `num_experts`, `start_block` or `start_stage`, `condconv_head`, `condconv_shortcut`,
            `condconv_classifier`, `condconv_predictors`, `routing_per`, `routing_activation`.
            A keyword that is missing keeps the registered setting. The names of version 0.1
            (`condconv_keras.facts.old_names`) are taken, too.

    Returns:
        A functional Keras model named `name`: logits [batch, classes] by default, of a detector the dict that
        `models/families/ssd.py` describes. Its layers `stride_8`, `stride_16` and `stride_32` are the last feature
        maps of the blocks at these strides. Its images are scaled: `condconv_keras.card_of(model)` says how.

    Raises:
        UserError: unknown name, or weights that are missing, do not fit or cannot be downloaded.
        TypeError: unknown keyword.
        ValueError: a value out of range.

    Examples:
        >>> model = create_model("condconv_mobilenet_v1", num_experts=4, width_multiplier=0.5, input_shape=(96, 96, 3))
    """
    kwargs = old_names.renamed(kwargs, old_names.MODEL_ARGUMENTS)
    check_keywords(model_entry(name), kwargs, further=("weights",))
    if weights is None:
        return remember(build_model(name, **kwargs))
    if weights == IMAGENET or os.fspath(weights).endswith(".keras"):
        return _trained_model(name, weights, kwargs)
    model = build_model(name, **kwargs)
    _load_weights(model, weights)
    return remember(model)


def _trained_model(name: str, weights: str | os.PathLike[str], arguments: Mapping[str, Any]) -> keras.Model:
    """Builds a model with the settings of trained weights and copies them; `arguments` are what was asked for."""
    path, description = weights, f"the file of weights {os.fspath(weights)!r}"
    if weights == IMAGENET:
        path, description = pretrained_file(model_entry(name).backbone or name, arguments), "the ImageNet checkpoint"
    trained, card, settings = load_trained(path)
    for key, value in settings.items():
        if arguments.get(key, value) != value:
            raise UserError(f"the weights {weights!r} need {key}={value!r}. Received: {key}={arguments[key]!r}")
    model = build_model(name, **{**arguments, **settings})
    copy_weights(model, trained, description)
    return remember(model, card)


def _load_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Loads a local `.weights.h5` file; raises `UserError` when it is missing or does not fit `model`."""
    path = os.fspath(path)
    if not path.endswith(".weights.h5"):
        raise UserError(f"`weights` must be 'imagenet', a .keras or a .weights.h5 file. Received: {path!r}")
    if not os.path.isfile(path):
        raise UserError(f"`weights` must be an existing local file. Received: {path!r}")
    try:
        with warnings.catch_warnings():
            # Keras repeats a failure as one warning per layer, before the error.
            warnings.simplefilter("ignore", UserWarning)
            model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        reason = one_line(error, 300)
        raise UserError(f"`weights` must fit the model {model.name!r}. Received: {path!r} ({reason})") from error


def pretrained_file(name: str, arguments: Mapping[str, Any] | None = None) -> str:
    """Returns the path of a `.keras` file, model card included, with the published ImageNet weights of a model.

    The first call downloads and converts them (see `condconv_keras.weights.download` for the cache, a mirror, and
    what to do without a network); later calls find the file.

    Args:
        name: registry name.
        arguments: mapping of the `create_model` arguments that choose between weights, such as `num_experts`.

    Raises:
        UserError: none are published for the model with these arguments, or they cannot be had.
    """
    published = published_for(name, arguments or {})

    def convert(source: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
        import_weights(source, name, output, arguments=published.arguments)

    return converted(published, name, convert)


def starting_file(name: str, arguments: Mapping[str, Any] | None) -> str:
    """Returns the path of the `.keras` file that training a model from ImageNet weights starts from.

    A detector starts from those of its backbone, and a twin of which none are published from those of its plain network
    (a warm start). Arguments and errors are those of `pretrained_file`.
    """
    return pretrained_file(starting_model(name), arguments)


def load_trained(path: str | os.PathLike[str]) -> tuple[keras.Model, ModelCard | None, dict[str, Any]]:
    """Loads a `.keras` file for its weights.

    Returns:
        The Keras model, its `ModelCard` or None, and the `create_model` arguments that its weights need, as in
        `weight_settings`.

    Raises:
        UserError: the file is missing, damaged or holds no network of the zoo.
    """
    if not os.path.isfile(path):
        raise UserError(f"`weights` must be an existing local file. Received: {str(path)!r}")
    model, card = load_keras_file(path)
    return model, card, weight_settings(model)


def copy_weights(model: keras.Model, trained: keras.Model, description: str) -> None:
    """Gives a model the weights of a trained one: of the same network, its plain twin or a detector's backbone.

    See `warm_start`, and `layers_to_skip` for the layers that keep their initial weights.

    Args:
        model: the new model.
        trained: trained model.
        description: of it, for messages.

    Raises:
        UserError: the networks differ; the message names the first ten variables.
    """
    try:
        warm_starts.warm_start(model, trained, skip_layers=layers_to_skip(model, trained))
    except UserError as error:
        raise UserError(f"{description} does not fit: {error}") from error
