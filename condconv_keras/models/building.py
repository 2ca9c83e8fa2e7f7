"""Builds a registered model, with initial weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from condconv_keras.models.arguments import ModelArguments
from condconv_keras.models.entry import ModelEntry
from condconv_keras.models.options import NetworkOptions
from condconv_keras.models.placement import CondConvPlacement
from condconv_keras.models.registry import model_entry
from condconv_keras.utils.lazy import keras

_OPTIONS = tuple(field.name for field in dataclasses.fields(NetworkOptions) if field.name not in ("name", "placement"))
PLACEMENT_FIELDS = tuple(field.name for field in dataclasses.fields(CondConvPlacement))


def build_model(name: str, **kwargs: Unpack[ModelArguments]) -> keras.Model:
    """Builds a registered model with initial weights.

    Args:
        name: registry name; `list_models()` lists them.
        **kwargs: as of `condconv_keras.pretrained.create_model`, but for `weights`.

    Returns:
        A functional Keras model, see `create_model`.

    Raises:
        UserError: unknown name.
        TypeError: unknown keyword.
        ValueError: a value out of range.
    """
    entry = model_entry(name)
    check_keywords(entry, kwargs)
    input_shape = entry.default_input_shape(keras.config.image_data_format())
    arguments = {"input_shape": input_shape, **entry.arguments, **kwargs}
    placement = entry.placement
    if placement is not None:
        placement = placement.replace(**_chosen(arguments, PLACEMENT_FIELDS))
    options = NetworkOptions(name=entry.name, placement=placement, **_chosen(arguments, _OPTIONS))
    return entry.builder(options, **_chosen(arguments, entry.keywords))


def check_keywords(entry: ModelEntry, keywords: Iterable[str], further: Iterable[str] = ()) -> None:
    """Raises a TypeError for the first keyword that `build_model` does not take for an entry's model.

    Args:
        entry: `ModelEntry`.
        keywords: names that were given.
        further: names that the caller takes besides.
    """
    accepted = {*further, *_OPTIONS, *entry.keywords, *(PLACEMENT_FIELDS if entry.placement else ())}
    for keyword in keywords:
        if keyword not in accepted:
            raise TypeError(
                f"the model {entry.name!r} got an unexpected keyword argument {keyword!r}. "
                f"Accepted: {', '.join(sorted(accepted))}."
            )


def _chosen(arguments: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: arguments[name] for name in names if name in arguments}
