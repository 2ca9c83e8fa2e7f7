"""The cards of models that have not been read from a file with a card."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

from condconv_keras.facts.created_models import is_created, trained_card
from condconv_keras.facts.model_card import CLASSIFICATION, LOGITS, PROBABILITIES, ModelCard
from condconv_keras.facts.preprocessing import SCALING
from condconv_keras.models.registry import is_registered, model_entry
from condconv_keras.utils.lazy import keras


def registered_card(model: keras.Model) -> ModelCard | None:
    """Returns the card of a Keras classifier or detector whose name is in the registry, else None.

    Input size, channels and the number of classes are the model's own; its classes are named by their index.
    """
    if not is_registered(model.name):
        return None
    classes = model_entry(model.name).card.number_of_classes(model)
    return None if classes is None else _card(model, map(str, range(classes)))


def _card(model: keras.Model, class_names: Iterable[str]) -> ModelCard:
    entry = model_entry(model.name)
    height, width, channels = model.input_shape[1:]
    input_size = (height or entry.input_size, width or entry.input_size)
    return entry.make_card(class_names, entry.preprocessing(input_size=input_size, channels=channels))


def card_of(model: keras.Model) -> ModelCard:
    """Returns how a model of the zoo is fed and read: its classes and its preprocessing.

    Args:
        model: a model that `create_model` returned, or a copy of one by `with_routing`, `fold_routing` or `fold`;
            `channels_last`. (`load_model` returns the card of a stored model.)

    Returns:
        A `ModelCard`, of a detector a `DetectorCard`. Weights bring the scaling of pixels and the crop; they bring the
        names of classes, too, where the model has as many, else classes are named by their index. Without
        `include_top` there are no classes.

    Raises:
        ValueError: another model.

    Examples:
        >>> model = create_model("condconv_efficientnet_b0", weights="imagenet")
        >>> card = card_of(model)
        >>> card.top_classes(model.predict(card.inputs([photo])), k=3)
    """
    if not is_created(model) or keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "`model` has to be one that `create_model` returned, with images in channels_last; `load_model` returns "
            f"the card of a stored one. Received: {model!r}"
        )
    card, trained = registered_card(model) or _card(model, ()), trained_card(model)
    if card.task == CLASSIFICATION:
        card = dataclasses.replace(card, returns=_returned(model))
    if trained is None:
        return card
    brought: tuple[str, ...] = SCALING
    if trained.task == card.task:
        brought = (*SCALING, "crop_fraction")
        if len(trained.class_names) == len(card.class_names):
            card = dataclasses.replace(card, class_names=trained.class_names)
    changes = {name: getattr(trained.preprocessing, name) for name in brought}
    return dataclasses.replace(card, preprocessing=dataclasses.replace(card.preprocessing, **changes))


def _returned(model: keras.Model) -> Literal["logits", "probabilities"] | None:
    """What a classifier of the zoo returns, or None without classes or with an activation that is neither."""
    layers = {layer.name: layer for layer in model.layers}
    activation = layers["predictions"].activation if "predictions" in layers else None
    if activation is keras.activations.linear:
        return LOGITS
    return PROBABILITIES if activation is keras.activations.softmax else None
