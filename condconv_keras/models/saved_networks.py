"""The Keras network of a SavedModel: its configuration beside the card, its weights in the SavedModel's own checkpoint.

A SavedModel holds graphs and variables, but no layers. `network.json` lies where TensorFlow keeps what it does not read
and has:

- `network`: the configuration, as of `condconv_keras.models.network_text`.
- `weights`: one record for each of `model.weights`, in this order: `name`, the `key` of the variable in the checkpoint,
  `shape` and `dtype`; of a weight that the signatures have times the scale of a batch normalization, `scale` with the
  places in this list of that one's `gamma` (or null) and `variance`, and its `epsilon`.
- `returns`: that of the network's card. The card beside it says what the signatures return.
- `files`: SHA-256 of the files that say what the SavedModel computes and which values its variables have (of each value
  `variables.index` has a sum, which TensorFlow checks when it reads the value), and of `network_rounding.npz`, which
  `condconv_keras.utils.scaled_weights` needs to give scaled weights back.
- `sha256`: of all the rest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import pathlib
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Literal

from condconv_keras.facts.exported_cards import exported_card
from condconv_keras.facts.model_card import FILE_NAME, LOGITS, PROBABILITIES, ModelCard
from condconv_keras.models.network_text import build_network, network_text, put_weights
from condconv_keras.utils.errors import MissingPackage, UserError, one_line
from condconv_keras.utils.files import file_hash, literal_path, put_text, whole_file
from condconv_keras.utils.json_text import exact_json_text
from condconv_keras.utils.lazy import LazyModule, installs_named, keras
from condconv_keras.utils.lazy import numpy as np
from condconv_keras.utils.lazy import tensorflow as tf
from condconv_keras.utils.scaled_weights import rounding, scale_of, unscaled
from condconv_keras.utils.typed_fields import OTHER_FORM

if TYPE_CHECKING:
    from condconv_keras.layers.batch_norm_folding import Folded
    from condconv_keras.layers.normalized_parts import Part

# No public function of TensorFlow tells which variable lies under which key; the message itself is part of the format.
object_graph = LazyModule("tensorflow.core.protobuf.trackable_object_graph_pb2")

EXTRA = "assets.extra"  # where TensorFlow keeps what it does not read
WEIGHTS = "network_weights"  # the name in the SavedModel of the list of `model.weights`
_FILE = "network.json"
_GRAPH = "saved_model.pb"
_CHECKPOINT = "variables/variables"
_ROUNDING = f"{EXTRA}/network_rounding.npz"
_FILES = (_GRAPH, f"{_CHECKPOINT}.index")


def is_saved_model(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a SavedModel's folder."""
    return pathlib.Path(path, _GRAPH).is_file()


def has_network(path: str | os.PathLike[str]) -> bool:
    """Whether a SavedModel has its Keras network; those of version 0.1 and of others do not."""
    return pathlib.Path(path, EXTRA, _FILE).is_file()


def card_file(path: str | os.PathLike[str]) -> pathlib.Path:
    """The path of a SavedModel's card."""
    return pathlib.Path(path, EXTRA, FILE_NAME)


def put_network(path: str | os.PathLike[str], network: Folded, returns: str | None) -> None:
    """Writes a network into its SavedModel, for `load_saved_network`.

    Args:
        path: the SavedModel's folder, in which the list of `network.variables` is tracked under the name `WEIGHTS`.
        network: the `Folded` network that the signatures compute; `network.before` is written.
        returns: field of its card.

    Raises:
        UserError: the network could not be built again: it has code of its own (a `Lambda`) or classes that are not
            registered. Nothing is written.
    """
    path, model = pathlib.Path(path), network.before
    text, scales = network_text(model), _scales(network)
    records = [
        {"name": weight.path, "key": key, **form, **scale}
        for weight, key, form, scale in zip(model.weights, _keys(path), _forms(model), scales, strict=True)
    ]
    if _forms(build_network(text, "the model")) != _forms(model):
        raise UserError("expected a network that its configuration says whole, it is built again with other weights")
    place = path / EXTRA / _FILE
    place.parent.mkdir(exist_ok=True)
    names = list(_FILES)
    if any(scales):
        _put_rounding(path / _ROUNDING, network)
        names.append(_ROUNDING)
    content: dict[str, Any] = {"files": {name: file_hash(path / name) for name in names}, "returns": returns}
    content |= {"weights": records, "network": json.loads(text)}
    put_text(place, exact_json_text({"sha256": _digest(content), **content}) + "\n")


def _scales(network: Folded) -> list[dict[str, Any]]:
    """For each weight what its record has beside its form."""
    places = {id(weight): place for place, weight in enumerate(network.before.weights)}

    def record(part: Part | None) -> dict[str, Any]:
        if part is None:
            return {}
        normalization = part.normalization
        gamma = places[id(normalization.gamma)] if normalization.scale else None
        variance = places[id(normalization.moving_variance)]
        return {"scale": {"gamma": gamma, "variance": variance, "epsilon": normalization.epsilon}}

    return [record(part) for _, part in network.variables]


def _put_rounding(path: pathlib.Path, network: Folded) -> None:
    """Writes what gives the scaled weights back, an array for each, by its place among the weights."""
    arrays = {
        str(place): rounding(np.asarray(weight), np.asarray(variable), part.scale_and_shift()[0])
        for place, (weight, (variable, part)) in enumerate(zip(network.before.weights, network.variables, strict=True))
        if part is not None
    }
    with whole_file(path) as place:
        np.savez_compressed(place, **arrays)


def _forms(model: keras.Model) -> list[dict[str, Any]]:
    return [{"shape": list(weight.shape), "dtype": weight.dtype} for weight in model.weights]


def _digest(content: dict[str, Any]) -> str:
    # Of what the text says: it may have been written with other spaces.
    return hashlib.sha256(exact_json_text(content, sort_keys=True).encode()).hexdigest()


def _keys(path: pathlib.Path) -> list[str]:
    """The keys in the checkpoint of the variables in the list `WEIGHTS`, in its order.

    A variable has one key, by the first way in which TensorFlow comes to it, as through the list of an endpoint's.
    """
    with literal_path(path) as folder:
        content = tf.train.load_checkpoint(os.fspath(folder / _CHECKPOINT)).get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    nodes = object_graph.TrackableObjectGraph.FromString(content).nodes

    def children(node: Any) -> dict[str, Any]:
        return {child.local_name: nodes[child.node_id] for child in node.children}

    variables = children(children(nodes[0])[WEIGHTS])
    return [variables[str(i)].attributes[0].checkpoint_key for i in range(len(variables))]


@dataclasses.dataclass(frozen=True)
class _Network:
    """The content of a `network.json` that is whole and that of its SavedModel."""

    text: str
    weights: list[dict[str, Any]]
    returns: Literal["logits", "probabilities"] | None


def _read(path: pathlib.Path) -> _Network:
    place = path / EXTRA / _FILE
    if not place.is_file():
        raise UserError(
            f"expected a SavedModel that `python -m export` of version 0.2 or later has written, {str(path)!r} has no "
            f"{EXTRA}/{_FILE}: it can be evaluated, and has no Keras network"
        )
    try:
        content = json.loads(place.read_bytes())
        if content.pop("sha256") != _digest(content):
            raise ValueError("by its SHA-256 its content is not what was written")
        if content["returns"] not in (None, LOGITS, PROBABILITIES):
            raise ValueError(f"`returns` is {content['returns']!r}")
        weights = [
            {name: record[name] for name in ("key", "shape", "dtype")} | _scale_in(record, content["weights"])
            for record in content["weights"]
        ]
        names = (*_FILES, _ROUNDING) if any("scale" in record for record in weights) else _FILES
        hashes = {name: content["files"][name] for name in names}
        found = _Network(exact_json_text(content["network"]), weights, content["returns"])
    except (ValueError, *OTHER_FORM) as error:
        raise UserError(f"the network in {str(place)!r} is damaged ({one_line(error, 200)})") from error
    for name, sha256 in hashes.items():
        if not (path / name).is_file() or file_hash(path / name) != sha256:
            raise UserError(f"{str(place)!r} is the network of another SavedModel, by the SHA-256 of its {name}")
    return found


def _scale_in(record: dict[str, Any], weights: list[dict[str, Any]]) -> dict[str, Any]:
    """The `scale` of a weight's record, which is one of a batch normalization there, or nothing."""
    if "scale" not in record:
        return {}
    gamma, variance, epsilon = (record["scale"][name] for name in ("gamma", "variance", "epsilon"))
    filters = [weights[place]["shape"] for place in (gamma, variance) if place is not None]
    sizes = [(len(shape), *shape) for shape in filters]
    if record["dtype"] != "float32" or math.prod(record["shape"]) % math.prod(sizes[0][1:]) or len(set(sizes)) > 1:
        raise ValueError(f"the scale of {record['name']} is none")
    return {"scale": {"gamma": gamma, "variance": variance, "epsilon": float(epsilon)}}


def network_of(path: str | os.PathLike[str]) -> str:
    """Returns the text of a SavedModel's network; raises a `UserError` where it has none or a damaged one."""
    return _read(pathlib.Path(path)).text


def load_saved_network(path: str | os.PathLike[str]) -> tuple[keras.Model, ModelCard]:
    """Loads the Keras network of a SavedModel, which has all that the network had whose export it is.

    Keras builds it in safe mode: nothing in the folder is run.

    Args:
        path: the SavedModel's folder.

    Returns:
        The Keras model, which computes as of `condconv_keras.layers.slice_strided_1x1`, and its `ModelCard`.

    Raises:
        UserError: the SavedModel has no network or no card, they are those of another one, or it is damaged.
        MissingPackage: Keras or TensorFlow is not installed.
    """
    path = pathlib.Path(path)
    card = exported_card(card_file(path), path, EXTRA)
    network = _read(path)
    with installs_named():
        model = build_network(network.text, f"the SavedModel {str(path)!r}")
    if _forms(model) != [{"shape": record["shape"], "dtype": record["dtype"]} for record in network.weights]:
        raise UserError(f"the network of the SavedModel {str(path)!r} is built with other weights than it has")
    put_weights(model, _unscaled(path, network.weights, _values(path, network.weights)))
    return model, dataclasses.replace(card, returns=network.returns)


def _values(path: pathlib.Path, records: list[dict[str, Any]]) -> list[Any]:
    """The arrays in a SavedModel's checkpoint."""
    try:
        with literal_path(path) as folder:
            reader = tf.train.load_checkpoint(os.fspath(folder / _CHECKPOINT))
            shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
            for record in records:
                key, expected = record["key"], (record["shape"], record["dtype"])
                if key not in shapes or (shapes[key], dtypes[key].name) != expected:
                    raise ValueError(f"expected {key} of the shape {expected[0]} and the type {expected[1]}")
            return [reader.get_tensor(record["key"]) for record in records]
    except MissingPackage:
        raise
    except Exception as error:
        # TensorFlow raises errors of its own for a file that is damaged or not there.
        raise UserError(f"the weights of the SavedModel {str(path)!r} are damaged ({one_line(error, 200)})") from error


def _unscaled(path: pathlib.Path, records: list[dict[str, Any]], values: list[Any]) -> list[Any]:
    """The weights of the network, of the values of its variables."""
    if not any("scale" in record for record in records):
        return values
    try:
        with np.load(path / _ROUNDING, allow_pickle=False) as arrays:
            return [_unscaled_one(record.get("scale"), values, place, arrays) for place, record in enumerate(records)]
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, ValueError, KeyError) as error:
        raise UserError(f"{str(path / _ROUNDING)!r} is damaged ({one_line(error, 200)})") from error


def _unscaled_one(record: dict[str, Any] | None, values: list[Any], place: int, arrays: Any) -> Any:
    if record is None:
        return values[place]
    gamma = None if record["gamma"] is None else values[record["gamma"]]
    scale = scale_of(gamma, values[record["variance"]], record["epsilon"])
    return unscaled(values[place], scale, arrays[str(place)].reshape(values[place].shape))
