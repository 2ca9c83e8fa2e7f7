"""What is read in a `.keras` file without Keras."""

from __future__ import annotations

import os
import zipfile

from condconv_keras.facts.model_card import DAMAGE
from condconv_keras.utils.errors import UserError, one_line


def names_experts(text: str) -> bool:
    """Whether the configuration of a network, as JSON text, names a CondConv layer."""
    return 'CondConv2D"' in text  # the end of the names of both layers


def archive_has_experts(path: str | os.PathLike[str]) -> bool:
    """Whether the network in a `.keras` file has CondConv layers; raises a `UserError` for a damaged file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return names_experts(archive.read("config.json").decode())
    except (*DAMAGE, OSError, KeyError, ValueError) as error:
        raise UserError(f"expected a model saved as .keras, {str(path)!r} is none ({one_line(error, 200)})") from error
