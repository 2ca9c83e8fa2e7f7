"""What is read in a `.keras` file without Keras."""

from __future__ import annotations

import os
import zipfile

from condconv_keras.facts.model_card import DAMAGE
from condconv_keras.utils.errors import UserError, one_line


def archive_has_experts(path: str | os.PathLike[str]) -> bool:
    """Whether the network in a `.keras` file has CondConv layers; raises a `UserError` for a damaged file."""
    try:
        with zipfile.ZipFile(path) as archive:
            # The end of the names of both layers.
            return b'CondConv2D"' in archive.read("config.json")
    except (*DAMAGE, OSError, KeyError) as error:
        raise UserError(f"expected a model saved as .keras, {str(path)!r} is none ({one_line(error, 200)})") from error
