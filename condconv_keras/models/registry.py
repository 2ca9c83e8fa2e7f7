"""The models by name.

This module imports no Keras backend; `create_model` imports the builder of the model that it makes.
"""

import dataclasses
import fnmatch
import importlib
import inspect
import os

from condconv_keras.facts.model_card import TASKS
from condconv_keras.models.entries import ENTRIES
from condconv_keras.models.options import NetworkOptions
from condconv_keras.models.placement import CondConvPlacement
from condconv_keras.utils.errors import UserError, unknown_name

_ENTRIES = {entry.name: entry for entry in ENTRIES}
_OPTIONS = {field.name for field in dataclasses.fields(NetworkOptions)} - {"name", "placement"}
PLACEMENT_FIELDS = tuple(field.name for field in dataclasses.fields(CondConvPlacement))


def list_models(pattern="*", task=None):
    """Returns the sorted names of models.

    Args:
        pattern: shell pattern of the names, as in `"condconv_*"`.
        task: `"classification"`, `"detection"` or None for both.

    Raises:
        ValueError: another task.
    """
    if task not in (None, *TASKS):
        raise ValueError(f"`task` must be None or one of {TASKS}. Received: task={task!r}")
    return sorted(name for name in fnmatch.filter(_ENTRIES, pattern) if task in (None, _ENTRIES[name].task))


def model_entry(name):
    """Returns the `ModelEntry` of a registered model; raises `UserError` for an unknown name."""
    if name not in _ENTRIES:
        raise unknown_name("model", name, _ENTRIES)
    return _ENTRIES[name]


def create_model(name, **kwargs):
    """Builds a registered model.

    Args:
        name: registry name; `list_models()` lists them.
        **kwargs: `weights`, the fields of `condconv_keras.models.options.NetworkOptions` such as `input_shape`,
            `classes`, `include_top`, `pooling`, `padding`; arguments of the family (`models/<family>.py`) such as
            `width_multiplier` or `stochastic_depth_rate`; of a `condconv_` model also the fields of
            `CondConvPlacement`: `num_experts`, `start_block` or `start_group`, `condconv_head`, `condconv_shortcut`,
            `condconv_classifier`, `condconv_heads`, `routing_per`, `routing_activation`.
            What is not given is the registered setting. `weights` is None, or one of
            - the path of a `.keras` file, as training and imports write it: of this network, of its plain twin, or of
              a detector's backbone;
            - `"imagenet"` for published weights (`models/published_weights.py`), which are downloaded once; of a
              detector those of its backbone;
            - the path of a `.weights.h5` file of a model of the same arguments.
            The first two bring the `padding` and `bn_epsilon` that they need. What they cannot give keeps its initial
            weights: a prediction of other classes, and all of a detector that is not in its backbone.

    Returns:
        A functional Keras model named `name`: logits [batch, classes] by default, of a detector the dict that
        `models/ssd.py` describes. Its layers `stride_8`, `stride_16` and `stride_32` are the last feature maps of the
        blocks at these strides.

    Raises:
        UserError: unknown name, or weights that are missing, do not fit or cannot be downloaded.
        TypeError: unknown keyword.
        ValueError: a value out of range.

    Example:

    >>> model = create_model("condconv_mobilenet_v1", num_experts=4, width_multiplier=0.5, input_shape=(96, 96, 3))
    """
    entry = model_entry(name)
    builder = _builder(entry)
    _check_keywords(entry, builder, kwargs)

    import keras

    arguments = {
        "input_shape": entry.default_input_shape(keras.config.image_data_format()),
        **entry.arguments,
        **kwargs,
    }
    weights = arguments.pop("weights", None)
    if weights is None:
        return _build(entry, builder, arguments)
    if weights == "imagenet" or os.fspath(weights).endswith(".keras"):
        return _build_trained(entry, builder, arguments, kwargs, weights)
    from condconv_keras.models.classifier import load_weights

    model = _build(entry, builder, arguments)
    load_weights(model, weights)
    return model


def _build_trained(entry, builder, arguments, given, weights):
    """Builds a model with the settings of trained weights and copies them; `given` is what the caller asked for."""
    from condconv_keras.pretrained import copy_weights, load_trained, pretrained_file

    path = pretrained_file(entry.backbone or entry.name, given) if weights == "imagenet" else os.fspath(weights)
    trained, settings = load_trained(path)
    for key, value in settings.items():
        if given.get(key, value) != value:
            raise UserError(f"the weights {weights!r} need {key}={value!r}. Received: {key}={given[key]!r}")
    model = _build(entry, builder, arguments | settings)
    copy_weights(model, trained, f"the file of weights {path!r}" if path == weights else "the ImageNet checkpoint")
    return model


def _builder(entry):
    module, function = entry.builder.split(":")
    return getattr(importlib.import_module(module), function)


def _family_arguments(builder):
    return set(inspect.signature(builder).parameters) - {"options"}


def _build(entry, builder, arguments):
    """Builds an entry's model; `arguments` have the names of three places: the options, the placement, the family."""
    placement = entry.placement
    if placement is not None:
        placement = placement.replace(**_chosen(arguments, PLACEMENT_FIELDS))
    options = NetworkOptions(name=entry.name, placement=placement, **_chosen(arguments, _OPTIONS))
    return builder(options, **_chosen(arguments, _family_arguments(builder)))


def _chosen(arguments, names):
    return {name: arguments[name] for name in names if name in arguments}


def _check_keywords(entry, builder, kwargs):
    accepted = {"weights", *_OPTIONS, *_family_arguments(builder), *(PLACEMENT_FIELDS if entry.placement else ())}
    for keyword in kwargs:
        if keyword not in accepted:
            raise TypeError(
                f"create_model({entry.name!r}) got an unexpected keyword argument {keyword!r}. "
                f"Accepted: {', '.join(sorted(accepted))}."
            )
