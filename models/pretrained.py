"""Published ImageNet weights of the zoo: fetched, imported and kept as `.keras` files in the Keras cache."""

import functools

from condconv_keras.errors import UserError
from models.published_weights import published_weights
from models.registry import create_model, model_entry

IMAGENET = "imagenet"


def pretrained_file(name, arguments=None):
    """Returns the path of a `.keras` file, model card included, with the published ImageNet weights of a model.

    The first call downloads and converts them (see `condconv_keras.weights.published` for the cache, a mirror, and
    what to do without a network); later calls find the file.

    Args:
        name: registry name.
        arguments: mapping of the `create_model` arguments that choose between weights, such as `num_experts`.

    Raises:
        UserError: none are published for the model with these arguments, or they cannot be had.
    """
    from condconv_keras.weights.convert import import_weights
    from condconv_keras.weights.published import converted

    published = published_for(name, arguments or {})
    convert = functools.partial(
        _convert,
        import_weights,
        name=name,
        preprocessing=model_entry(name).preprocessing(),
        arguments=published.arguments,
    )
    return converted(published, name, convert)


def published_for(name, arguments):
    """Returns the `PublishedWeights` that fit a model; what `arguments` leave out is the registered setting."""
    entry = model_entry(name)
    placement = {} if entry.placement is None else {"num_experts": entry.placement.num_experts}
    return published_weights(name, {"width_multiplier": 1.0, **placement, **entry.arguments, **arguments})


def _convert(import_weights, source, output, *, name, preprocessing, arguments):
    build_model = functools.partial(create_model, name)
    import_weights(source, name, output, build_model=build_model, preprocessing=preprocessing, arguments=arguments)


def pretrained_model(name, arguments):
    """Returns the Keras model in `pretrained_file`; arguments and errors as there."""
    from condconv_keras.model_card import load_model

    return load_model(pretrained_file(name, arguments))[0]


def copy_weights(model, pretrained):
    """Copies the weights of a pretrained model by the names of its layers and variables.

    The model may lack the classifier. A classifier of another number of classes keeps its initial weights: it is to
    be trained.

    Args:
        model: model of the same network.
        pretrained: model with a classifier.

    Raises:
        UserError: the networks differ; the message names the first ten variables.
    """
    from condconv_keras.weights.assign import assign_weights
    from condconv_keras.weights.source import WeightSource

    tensors = {_key(layer, v.name): v.numpy() for layer in pretrained.layers for v in layer.weights}
    own = {_key(layer, v.name): v.numpy() for layer in model.layers if _is_head(layer) for v in layer.weights}
    head = {
        key for layer in pretrained.layers if _is_head(layer) for key in (_key(layer, v.name) for v in layer.weights)
    }
    if any(tensors[key].shape != own[key].shape for key in head & own.keys()) or not own:
        tensors = {key: tensor for key, tensor in tensors.items() if key not in head} | own

    def find(layer, variable_name):
        return _key(layer, variable_name), lambda tensor: tensor

    assign_weights(model, WeightSource(f"the ImageNet checkpoint of {pretrained.name!r}", tensors, find))


def _key(layer, variable_name):
    return f"{layer.name}/{variable_name}"


def _is_head(layer):
    return layer.name in ("classifier", "classifier_routing")


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
