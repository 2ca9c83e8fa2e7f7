"""Files of keras.applications weights, in every format that Keras has had."""

import contextlib
import json
import pathlib
import tempfile
import warnings
import zipfile
from typing import NamedTuple

import h5py
import numpy as np

from condconv_keras.facts.model_card import DAMAGE, check_members
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.lazy import keras
from condconv_keras.weights.readers.keras_applications import (
    application,
    build_application,
    named_layers,
    open_keras_model,
    statistic,
)

# The published EfficientNet weights come with a second `Rescaling` by 1 / sqrt(0.229, ...), of which a file of weights
# has no trace but this variance (keras/src/applications/efficientnet.py).
_PUBLISHED_VARIANCE = (0.229, 0.224, 0.225)
# The member of a `.keras` file that has the weights.
_WEIGHTS = "model.weights.h5"


def recognizes(path, start):
    """Whether a file, of which these are the first bytes, is one of Keras: HDF5 or an archive with weights."""
    if start.startswith(b"\x89HDF"):
        return True
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return _WEIGHTS in archive.namelist()
    except DAMAGE:
        return True  # `open_weights` says what is wrong


def open_weights(path, name, arguments):
    """Reads the weights of a keras.applications network from a file.

    Args:
        path: whole model or weights, `.h5`, `.weights.h5` or `.keras`. The network is built anew and takes the arrays;
            of a model's configuration no more than the names of its layers is read.
        name: registry name of the model that the weights are for.
        arguments: `create_model` arguments of the model, of which `width_multiplier` matters here.

    Returns:
        A `WeightSource`.

    Raises:
        UserError: the file is damaged, has no classifier, or is not of this network.
    """
    application(name)
    try:
        contents = _inspect(path)
    except Exception as error:
        # h5py, zipfile and json raise what their parsers raise.
        reason = one_line(error, 200)
        raise UserError(f"expected a Keras file of weights, {str(path)!r} is none or damaged ({reason})") from error
    if contents.classes is None:
        raise UserError(f"{str(path)!r} has no classifier (include_top=False); an import needs the whole network")
    model = build_application(name, contents.classes, arguments.get("width_multiplier", 1.0))
    try:
        _check_contents(contents, model)
        _load(model, path, contents.suffix)
    except Exception as error:
        # Keras raises value, key, type and system errors.
        raise UserError(
            f"{str(path)!r} does not fit the {model.name!r} of keras.applications ({one_line(error, 200)})"
        ) from error
    return open_keras_model(
        model,
        name,
        description=f"keras.applications weights {str(path)!r}",
        further_layers=_published_rescaling(model),
    )


class _Contents(NamedTuple):
    """What a file holds.

    Attributes:
        suffix: by which Keras knows the kind of file.
        classes: of the classifier, or None without one.
        arrays: number of arrays.
        layer_names: of the network, or None if the file does not say.
    """

    suffix: str
    classes: int | None
    arrays: int
    layer_names: set[str] | None


def _inspect(path):
    """Returns the `_Contents` of a file."""
    with contextlib.ExitStack() as stack:
        layer_names = None
        if zipfile.is_zipfile(path):
            check_members(path)
            archive = stack.enter_context(zipfile.ZipFile(path))
            config = json.loads(archive.read("config.json"))["config"]
            layer_names = {layer["config"]["name"] for layer in config["layers"]}
            suffix, file = ".keras", h5py.File(stack.enter_context(archive.open(_WEIGHTS)))
        else:
            file = h5py.File(path)
            suffix = ".weights.h5" if "layers" in file else ".h5"
        stack.enter_context(file)
        layers = _legacy_arrays(file.get("model_weights", file)) if suffix == ".h5" else _arrays(file)
        classes = len(layers[-1][1]) if len(layers[-1]) == 2 else None
        return _Contents(suffix, classes, sum(map(len, layers)), layer_names)


def _check_contents(contents, model):
    """Raises a ValueError for a file of another network, as far as it can be told before loading."""
    if contents.arrays != len(model.weights):
        raise ValueError(f"the file has {contents.arrays} arrays, the network {len(model.weights)}")
    if contents.layer_names is None:
        return
    for layer in named_layers(model):
        if layer.name not in contents.layer_names:
            # Networks of other names may have the same arrays and compute something else.
            raise ValueError(f"the file's network has no layer {layer.name!r}")


def _arrays(file):
    """The arrays of every layer with weights in a file of Keras 3, which groups the layers by class; the last is last.

    The last layer of these networks is their only dense one, or else the last convolution.
    """
    layers = {name: list(group["vars"].values()) for name, group in file["layers"].items() if "vars" in group}
    order = sorted(layers, key=lambda name: (name == "dense", name.startswith("conv2d"), len(name), name))
    return [layers[name] for name in order if layers[name]]


def _legacy_arrays(group):
    """The arrays of every layer with weights in a file of the older format, in the order of the layers."""
    layers = (group[name] for name in group.attrs["layer_names"])
    arrays = ([layer[name] for name in layer.attrs["weight_names"]] for layer in layers)
    return [layer for layer in arrays if layer]


def _load(model, path, suffix):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Keras goes by the suffix of the name, and repeats a failure as one warning per layer.
        link = pathlib.Path(folder) / f"model{suffix}"
        link.symlink_to(pathlib.Path(path).absolute())
        warnings.simplefilter("ignore", UserWarning)
        model.load_weights(link)


def _published_rescaling(model):
    """The second `Rescaling` of the published EfficientNet weights, if these are they."""
    normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)]
    if any(np.allclose(statistic(layer, "variance"), _PUBLISHED_VARIANCE, rtol=1e-4) for layer in normalizations):
        return [keras.layers.Rescaling(np.reciprocal(np.sqrt(_PUBLISHED_VARIANCE)))]
    return []
