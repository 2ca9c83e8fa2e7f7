"""A stored model and its card, for programs."""

from __future__ import annotations

import os
from typing import Any, Literal

from condconv_keras.facts.model_card import ModelCard
from condconv_keras.stored import StoredModel
from condconv_keras.utils.lazy import keras


# `ModelCard | Any`, as typeshed has it where None is rare: `card.inputs` needs no check that there is a card.
def load_model(
    path: str | os.PathLike[str], raw: bool = False, weights: Literal["imagenet"] | None = None
) -> tuple[keras.Model | Any, ModelCard | Any]:
    """Loads a stored model.

    Args:
        path: run folder, `.keras` file, or SavedModel of the exporter; with `weights` a registry name.
        raw: whether to load the last weights of a run instead of their moving average.
        weights: `"imagenet"` for the published weights of a registered model, else None.

    Returns:
        The model, and its `ModelCard`: classes, preprocessing and task. A run or a `.keras` file gives the Keras model
        as it was saved, which takes images [batch, height, width, channels] that `card.preprocessing.scale_images` has
        scaled; the card is None if the file has none and the model's name is not in the registry. A SavedModel gives
        the Keras model that was exported, with the same weights. One without the network, as version 0.1 wrote it,
        gives the object that TensorFlow loads: its `signatures["serving_default"](images=...)` scales images in 0..255
        itself.

    Raises:
        UserError: nothing lies there, or something else, or it is damaged.
        MissingPackage: a package that it needs is not installed.

    Examples:
        >>> model, card = load_model("runs/digits")
        >>> logits = model(card.preprocessing.scale_images(images))
    """
    return StoredModel.open(path, weights, raw).load()
