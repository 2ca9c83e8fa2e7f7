"""The networks that `create_model` made in this process, each with the card of the weights that it started from."""

from __future__ import annotations

import weakref

from condconv_keras.facts.model_card import ModelCard
from condconv_keras.utils.lazy import keras

_CREATED: weakref.WeakKeyDictionary[keras.Model, ModelCard | None] = weakref.WeakKeyDictionary()


def remember(model: keras.Model, trained_card: ModelCard | None = None) -> keras.Model:
    """Notes that `create_model` made a model, from weights with this `ModelCard` or from initial ones; returns it."""
    _CREATED[model] = trained_card
    return model


def remember_copy(copy: keras.Model, model: keras.Model) -> keras.Model:
    """Notes of the copy of a network what is noted of the network, if anything is; returns the copy."""
    return remember(copy, _CREATED[model]) if is_created(model) else copy


def is_created(model: keras.Model) -> bool:
    """Whether `create_model` made a model, or that which it is a copy of."""
    return model in _CREATED


def trained_card(model: keras.Model) -> ModelCard | None:
    """Returns the card of the weights that a model as of `is_created` started from; None for initial weights."""
    return _CREATED[model]
