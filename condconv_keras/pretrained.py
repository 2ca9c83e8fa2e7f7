"""Published ImageNet weights of the zoo: fetched, imported and kept as `.keras` files in the Keras cache."""

import functools
import os

from condconv_keras.models.published_weights import PUBLISHED_WEIGHTS, published_weights
from condconv_keras.models.registry import create_model, model_entry
from condconv_keras.utils.errors import UserError

IMAGENET = "imagenet"


def pretrained_file(name, arguments=None):
    """Returns the path of a `.keras` file, model card included, with the published ImageNet weights of a model.

    The first call downloads and converts them (see `condconv_keras.weights.download` for the cache, a mirror, and
    what to do without a network); later calls find the file.

    Args:
        name: registry name.
        arguments: mapping of the `create_model` arguments that choose between weights, such as `num_experts`.

    Raises:
        UserError: none are published for the model with these arguments, or they cannot be had.
    """
    from condconv_keras.weights.convert import import_weights
    from condconv_keras.weights.download import converted

    published = published_for(name, arguments or {})
    convert = functools.partial(
        _convert,
        import_weights,
        name=name,
        preprocessing=model_entry(name).preprocessing(),
        arguments=published.arguments,
    )
    return converted(published, name, convert)


def starting_file(name, arguments):
    """Returns the path of the `.keras` file that training a model from ImageNet weights starts from.

    A detector starts from those of its backbone, and a twin of which none are published from those of its plain network
    (a warm start). Arguments and errors are those of `pretrained_file`.
    """
    name = model_entry(name).backbone or name
    plain = name.removeprefix("condconv_")
    return pretrained_file(plain if name not in PUBLISHED_WEIGHTS and plain in PUBLISHED_WEIGHTS else name, arguments)


def published_for(name, arguments):
    """Returns the `PublishedWeights` that fit a model; what `arguments` leave out is the registered setting."""
    entry = model_entry(name)
    placement = {} if entry.placement is None else {"num_experts": entry.placement.num_experts}
    return published_weights(
        name, {"width_multiplier": 1.0, "depth_multiplier": 1.0, **placement, **entry.arguments, **arguments}
    )


def _convert(import_weights, source, output, *, name, preprocessing, arguments):
    build_model = functools.partial(create_model, name)
    import_weights(source, name, output, build_model=build_model, preprocessing=preprocessing, arguments=arguments)


def load_trained(path):
    """Loads a `.keras` file for its weights.

    Returns:
        The Keras model, and the `create_model` arguments that its weights need, as in `weight_settings`.

    Raises:
        UserError: the file is missing, damaged or holds no network of the zoo.
    """
    from condconv_keras.models.saving import load_model
    from condconv_keras.models.settings import weight_settings

    if not os.path.isfile(path):
        raise UserError(f"`weights` must be an existing local file. Received: {str(path)!r}")
    model, _ = load_model(path)
    return model, weight_settings(model)


def copy_weights(model, trained, description):
    """Gives a model the weights of a trained one: of the same network, its plain twin or a detector's backbone.

    See `warm_start`, and `layers_to_skip` for the layers that keep their initial weights.

    Args:
        model: the new model.
        trained: trained model.
        description: of it, for messages.

    Raises:
        UserError: the networks differ; the message names the first ten variables.
    """
    from condconv_keras.training.initial_weights import layers_to_skip
    from condconv_keras.weights.warm_start import warm_start

    try:
        warm_start(model, trained, skip_layers=layers_to_skip(model, trained))
    except UserError as error:
        raise UserError(f"{description} does not fit: {error}") from error


def model_file(model, weights):
    """The file behind the flags --model and --weights of a command that uses a model.

    Args:
        model: path, or with `weights` the name of a registered model.
        weights: None or `"imagenet"`.

    Raises:
        UserError: another `weights`, an unknown model, or as in `pretrained_file`.
    """
    if weights is None:
        return model
    if weights != IMAGENET:
        raise UserError(f"--weights is {IMAGENET!r}, or left out for a --model that is a path. Received: {weights!r}")
    return pretrained_file(model)
