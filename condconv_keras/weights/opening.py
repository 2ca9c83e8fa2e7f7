"""Opens files of published weights: each reader says itself what it recognizes."""

from __future__ import annotations

import os
import pathlib
import types
import zipfile
from collections.abc import Mapping
from typing import Any

from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.weights.source import WeightSource

# Modules with `recognizes(path, start)`, whether they read what lies at a path, and `open_weights(path, name,
# arguments)`, as in `open_source`. The first that recognizes a file reads it.
_READERS = tuple(
    LazyModule(f"condconv_keras.weights.readers.{name}") for name in ("tf_checkpoint", "keras_files", "pytorch")
)
_KINDS = (
    "a timm .safetensors or .pth, an efficientnet-lite .pth, a keras.applications .h5 or .keras, or a TensorFlow "
    "checkpoint (folder, .index or .tar.gz)"
)
_START = 16  # bytes


def open_source(
    path: str | os.PathLike[str], name: str, arguments: Mapping[str, Any] = types.MappingProxyType({})
) -> WeightSource:
    """Reads a file of published weights, whose kind is recognized from its content.

    Args:
        path: file, or the folder or prefix of a TensorFlow checkpoint.
        name: registry name of the model that the weights are for.
        arguments: `create_model` arguments that the caller has decided on; `padding` and `width_multiplier` choose
            between sources that name their tensors alike.

    Returns:
        A `WeightSource`.

    Raises:
        UserError: nothing lies there, it is damaged, of no known kind, or not for this model.
    """
    path = pathlib.Path(path)
    start = _start(path)
    if start.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(path):
        raise UserError(f"expected {_KINDS}, {str(path)!r} is damaged")
    for reader in _READERS:
        if reader.recognizes(path, start):
            return reader.open_weights(path, name, arguments)
    problem = f"{str(path)!r} is none of them" if path.is_file() else f"nothing lies at {str(path)!r}"
    raise UserError(f"expected {_KINDS}, {problem}")


def _start(path: pathlib.Path) -> bytes:
    """The first bytes of a file, none of what is no file."""
    if not path.is_file():
        return b""
    with open(path, "rb") as file:
        return file.read(_START)
