"""Which published ImageNet weights a model takes."""

from condconv_keras.models.registry import model_entry, published_models, starting_model
from condconv_keras.utils.errors import UserError


def published_for(name, arguments):
    """Returns the first `PublishedWeights` of a model that agree with the arguments it is created with.

    Args:
        name: registry name.
        arguments: mapping of the `create_model` arguments that were given; what is left out is the registered setting.

    Raises:
        UserError: there are none.
    """
    entry = model_entry(name)
    if not entry.published:
        source = starting_model(name)
        hint = f"; training with `weights='imagenet'` starts it from those of {source!r}" if source != name else ""
        raise UserError(
            f"no ImageNet weights are published for the model {name!r}{hint}; there are for "
            f"{', '.join(published_models())}"
        )
    placement = {} if entry.placement is None else {"num_experts": entry.placement.num_experts}
    arguments = {"width_multiplier": 1.0, "depth_multiplier": 1.0, **placement, **entry.arguments, **arguments}
    for published in entry.published:
        if all(arguments.get(key, value) == value for key, value in published.arguments.items()):
            return published
    keys = sorted({key for published in entry.published for key in published.arguments})
    choices = ", ".join(dict.fromkeys(_text(published.arguments) for published in entry.published))
    received = _text({key: arguments[key] for key in keys if key in arguments})
    raise UserError(f"ImageNet weights of the model {name!r} are published for {choices}. Received: {received}")


def _text(arguments):
    return " ".join(f"{key}={value}" for key, value in arguments.items())
