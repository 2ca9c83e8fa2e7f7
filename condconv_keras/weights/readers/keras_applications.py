"""The networks of keras.applications: their layers' names, and the scaling of pixels that some have inside."""

import inspect
import re

import numpy as np

from condconv_keras.facts.foreign_networks import KERAS_APPLICATIONS
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import keras
from condconv_keras.weights.readers.networks import foreign_networks
from condconv_keras.weights.source import WeightSource


def application(name):
    """Returns the `ForeignNetwork` of keras.applications for a registry name; raises a `UserError` without one."""
    return foreign_networks(KERAS_APPLICATIONS, name)[0]


def build_application(name, classes, width_multiplier=1.0):
    """Builds the keras.applications network of a registry name with random weights and its classifier."""
    build = getattr(keras.applications, application(name).name)
    width = {"alpha": width_multiplier} if "alpha" in inspect.signature(build).parameters else {}
    return build(weights=None, classes=classes, **width)


def named_layers(model):
    """Returns the layers of a keras.applications network whose weights are imported as such."""
    return [layer for layer in model.layers if layer.weights and not isinstance(layer, keras.layers.Normalization)]


def open_keras_model(model, name, *, description=None, further_layers=()):
    """Returns the `WeightSource` of a keras.applications model object with its classifier.

    Args:
        model: `MobileNet`, `MobileNetV2`, `EfficientNetB0` or `EfficientNetB1`.
        name: registry name of the model that the weights are for.
        description: of the source, for messages; default: the model's name.
        further_layers: `Rescaling` layers that the network has after its first ones, but the model object has not.

    Raises:
        UserError: there is no such network for `name`, or the model has no classifier.
    """
    network = application(name)
    description = description or f"keras.applications model {model.name!r}"
    layers = named_layers(model)
    names = _layer_names(layers, network.names)
    if "classifier" not in names:
        raise UserError(f"{description} has no classifier (include_top=False), or is not for {name!r}")
    tensors = {
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for layer in layers
        for variable in layer.weights
    }
    scaling = _input_scaling([*model.layers, *further_layers])
    size = model.input_shape[1:3]
    return WeightSource(
        description=description,
        tensors=tensors,
        find=lambda layer, variable: (f"{names[layer.name]}/{variable}", _as_convolution),
        model_arguments={**network.arguments, "classes": model.output_shape[-1]},
        preprocessing=scaling if None in size else {**scaling, "input_size": size},
    )


def _layer_names(layers, renames):
    """The keras.applications name of every layer of the zoo's network."""
    names, blocks = {}, []
    for layer in layers:
        name = _renamed(layer.name.lower(), renames)
        block = re.fullmatch(r"block_([^_]+)_(\w+)", name)
        if block:
            if block[1] not in blocks:
                blocks.append(block[1])
            name = f"block_{blocks.index(block[1]) + 1}_{block[2]}"
        names[name] = layer.name
    return names


def _renamed(name, renames):
    for pattern, replacement in renames.items():
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name)
    return name


def _as_convolution(array):
    """A dense layer's kernel as that of a 1x1 convolution; other arrays have the zoo's layout."""
    return array[None, None] if array.ndim == 2 else array


def _input_scaling(layers):
    """The mean and deviation that layers before the network stand for; without any, those of `preprocess_input`."""
    layers = [layer for layer in layers if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization)]
    if not layers:
        return {"mean": 127.5, "std": 127.5}
    factor, shift = np.ones(3), np.zeros(3)
    for layer in layers:
        if isinstance(layer, keras.layers.Rescaling):
            factor, shift = factor * layer.scale, shift * layer.scale + layer.offset
        else:
            mean, deviation = statistic(layer, "mean"), np.sqrt(statistic(layer, "variance"))
            factor, shift = factor / deviation, (shift - mean) / deviation
    return {"mean": tuple((0 - shift / factor).tolist()), "std": tuple((1 / factor).tolist())}


def statistic(layer, name):
    """Returns the `"mean"` or `"variance"` that a `Normalization` layer computes with, float64 [channels].

    Its variables of these names take effect only when the layer is adapted or loaded.
    """
    return keras.ops.convert_to_numpy(getattr(layer, name)).astype(np.float64).reshape(-1)
