"""The models by name.

This module imports no Keras backend; `create_model` imports the builder of the model that it makes.
"""

import dataclasses
import fnmatch
import importlib
import inspect

from condconv_keras.errors import unknown_name
from models.entries import ENTRIES
from models.options import NetworkOptions
from models.placement import CondConvPlacement

_ENTRIES = {entry.name: entry for entry in ENTRIES}
_OPTIONS = {field.name for field in dataclasses.fields(NetworkOptions)} - {"name", "placement"}
PLACEMENT_FIELDS = tuple(field.name for field in dataclasses.fields(CondConvPlacement))


def list_models(pattern="*"):
    """Returns the sorted names that match a shell pattern, as in `"condconv_*"`."""
    return sorted(fnmatch.filter(_ENTRIES, pattern))


def model_entry(name):
    """Returns the `ModelEntry` of a registered model; raises `UserError` for an unknown name."""
    if name not in _ENTRIES:
        raise unknown_name("model", name, _ENTRIES)
    return _ENTRIES[name]


def create_model(name, **kwargs):
    """Builds a registered model.

    Args:
        name: registry name; `list_models()` lists them.
        **kwargs: `weights`, the fields of `models.options.NetworkOptions` such as `input_shape`, `classes`,
            `include_top`, `pooling`, `padding`; arguments of the family (`models/<family>.py`) such as
            `width_multiplier` or `stochastic_depth_rate`; of a `condconv_` model also the fields of
            `CondConvPlacement`: `num_experts`, `start_block` or `start_group`, `condconv_head`, `condconv_shortcut`,
            `condconv_classifier`. What is not given is the registered setting. `weights` is None or the path of a
            `.weights.h5` or `.keras` file of a model of the same arguments.

    Returns:
        A functional Keras model named `name`, logits [batch, classes] by default. Its layers `stride_8`, `stride_16`
        and `stride_32` are the last feature maps at these strides.

    Raises:
        UserError: unknown name, or a weights file that is missing or does not fit.
        TypeError: unknown keyword.
        ValueError: a value out of range.

    Example:

    >>> model = create_model("condconv_mobilenet_v1", num_experts=4, width_multiplier=0.5, input_shape=(96, 96, 3))
    """
    entry = model_entry(name)
    module, function = entry.builder.split(":")
    builder = getattr(importlib.import_module(module), function)
    family_arguments = set(inspect.signature(builder).parameters) - {"options"}
    placement_fields = PLACEMENT_FIELDS if entry.placement else ()
    _check_keywords(name, kwargs, accepted={"weights", *_OPTIONS, *family_arguments, *placement_fields})

    import keras

    arguments = {
        "input_shape": entry.default_input_shape(keras.config.image_data_format()),
        **entry.arguments,
        **kwargs,
    }
    placement = entry.placement
    if placement is not None:
        placement = placement.replace(**{key: arguments[key] for key in placement_fields if key in arguments})
    options = NetworkOptions(
        name=name, placement=placement, **{key: arguments[key] for key in _OPTIONS if key in arguments}
    )
    model = builder(options, **{key: arguments[key] for key in family_arguments if key in arguments})
    if arguments.get("weights") is not None:
        from models.classifier import load_weights

        load_weights(model, arguments["weights"])
    return model


def _check_keywords(name, kwargs, accepted):
    for keyword in kwargs:
        if keyword not in accepted:
            raise TypeError(
                f"create_model({name!r}) got an unexpected keyword argument {keyword!r}. "
                f"Accepted: {', '.join(sorted(accepted))}."
            )
