"""From published weights to a `.keras` file that `predict.py`, `eval.py`, `train.py` and `python -m export` take."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import types
from collections.abc import Mapping
from typing import Any

from condconv_keras.facts.imagenet import class_names
from condconv_keras.facts.model_card import LOGITS, ModelCard
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.models.building import build_model
from condconv_keras.models.registry import model_entry
from condconv_keras.models.saving import save_model
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.files import check_parents, file_hash
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.weights.opening import open_source
from condconv_keras.weights.source import WeightSource

assign = LazyModule("condconv_keras.weights.assign")

_IMAGENET_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class ImportedWeights:
    """The outcome of an import.

    Attributes:
        description: description of the source.
        tensors: number of arrays that were imported.
        values: number of values in them, batch normalization's moving statistics included.
        model_arguments: `create_model` arguments that the model was built with.
        preprocessing: `Preprocessing` of the written model.
    """

    description: str
    tensors: int
    values: int
    model_arguments: Mapping[str, Any]
    preprocessing: Preprocessing


def import_weights(
    source: str | os.PathLike[str] | WeightSource,
    name: str,
    output: str | os.PathLike[str],
    *,
    arguments: Mapping[str, Any] = types.MappingProxyType({}),
    sha256: str | None = None,
) -> ImportedWeights:
    """Writes published weights as a `.keras` file with its model card.

    Args:
        source: path of a file, folder or prefix, see `condconv_keras.weights.opening.open_source`; or a `WeightSource`,
            as `condconv_keras.weights.readers.keras_applications.open_keras_model` makes one of a model object.
        name: registry name of the model.
        output: path of the file to write, ending in `.keras`. A file that lies there is replaced at the end.
        arguments: `create_model` arguments that take the place of the source's.
        sha256: expected SHA-256 of the file, in hexadecimal, verified before anything of it is read.

    Returns:
        `ImportedWeights`.

    Raises:
        UserError: the source is missing, damaged, or does not fit; the hash differs; or the model cannot be built
            with the arguments. Nothing is written.
    """
    output = check_output(output)
    if not isinstance(source, WeightSource):
        if sha256 is not None:
            check_sha256(source, sha256)
        source = open_source(source, name, arguments)
    elif sha256 is not None:
        raise UserError(f"`sha256` is of one file, {source.description} is none")
    # What the source knows takes the place of what is registered.
    preprocessing = dataclasses.replace(model_entry(name).preprocessing(), **source.preprocessing)
    arguments = {**source.model_arguments, **arguments}
    try:
        # Any input size: weights are often used at another one than that of their training.
        model = build_model(name, input_shape=(None, None, preprocessing.channels), **arguments)
    except (ValueError, TypeError) as error:
        raise UserError(one_line(error)) from error
    assign.check_experts(model, source)
    assign.assign_weights(model, source)
    classes = model.output_shape[-1]
    card = ModelCard(name, _class_names(classes), preprocessing)
    if arguments.get("classifier_activation") is None:
        card = dataclasses.replace(card, returns=LOGITS)
    save_model(model, card, output)
    return ImportedWeights(
        description=source.description,
        tensors=len(source.tensors),
        values=sum(tensor.size for tensor in source.tensors.values()),
        model_arguments=arguments,
        preprocessing=preprocessing,
    )


def check_output(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the path of a `.keras` file to write; raises a `UserError` if it cannot be one."""
    path = pathlib.Path(path)
    if path.suffix != ".keras" or path.is_dir():
        raise UserError(f"`output` is a file that ends in .keras, received: {str(path)!r}")
    check_parents(path, "output")
    return path


def check_sha256(path: str | os.PathLike[str], expected: str) -> None:
    """Raises a `UserError` unless a file has the SHA-256 `expected`, in hexadecimal."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"`sha256` is of one file, {str(path)!r} is none")
    received = file_hash(path)
    if received != expected.lower():
        raise UserError(f"{str(path)!r} has the SHA-256 {received}, expected {expected.lower()}")


def _class_names(classes: int) -> tuple[str, ...]:
    return class_names() if classes == _IMAGENET_CLASSES else tuple(map(str, range(classes)))
