"""Any Keras model with its card as one `.keras` file."""

from __future__ import annotations

import os
from typing import Any

from condconv_keras.facts.model_card import ModelCard, archived_card, check_members
from condconv_keras.models.returned import with_returns
from condconv_keras.models.saved_networks import is_saved_model, load_saved_network
from condconv_keras.utils.errors import MissingPackage, UserError, one_line
from condconv_keras.utils.files import whole_file
from condconv_keras.utils.lazy import LazyModule, installs_named, keras

layers = LazyModule("condconv_keras.layers")


def save_model(model: keras.Model, card: ModelCard, path: str | os.PathLike[str]) -> None:
    """Saves a Keras model with its card as one `.keras` file, whole or not at all.

    Args:
        model: Keras model.
        card: its `ModelCard`. If it does not say what the classifier returns, that is found out and added.
        path: where to write the file.

    Raises:
        UserError: as of `condconv_keras.models.returned.with_returns`.
    """
    card = with_returns(model, card, f"the model for {str(path)!r}")
    with whole_file(path) as partial:
        model.save(partial)
        card.put_into(partial)


def load_keras_file(path: str | os.PathLike[str]) -> tuple[keras.Model, ModelCard | Any]:
    """Loads a `.keras` file.

    Returns:
        The Keras model, which computes as of `condconv_keras.layers.slice_strided_1x1`, and its `ModelCard` or None if
        the file has none.

    Raises:
        UserError: the file is missing, corrupt or no `.keras` file.
        MissingPackage: Keras or its backend is not installed.
    """
    try:
        with installs_named():
            check_members(path)
            return layers.slice_strided_1x1(keras.saving.load_model(path, compile=False)), archived_card(path)
    except MissingPackage:
        raise
    except Exception as error:
        # Keras raises what its readers raise: zip, HDF5, JSON, type and value errors.
        reason = one_line(error, 200)
        raise UserError(f"expected a model saved as .keras, {str(path)!r} is none ({reason})") from error


def load_network(path: str | os.PathLike[str]) -> tuple[keras.Model, ModelCard | Any]:
    """Loads a `.keras` file or the Keras network of a SavedModel.

    Returns and raises as `load_keras_file` or `condconv_keras.models.saved_networks.load_saved_network`.
    """
    return load_saved_network(path) if is_saved_model(path) else load_keras_file(path)
