"""The networks of keras.applications: their layers' names, and the scaling of pixels that some have inside."""

import re

import keras
import numpy as np

from condconv_keras.utils.errors import UserError
from condconv_keras.weights.source import WeightSource, check_model

_EFFICIENTNET_LAYERS = {
    r"stem_conv": "stem",
    r"top_conv": "head",
    r"top_bn": "head_bn",
    r"block(\w+)_dwconv": r"block_\1_depthwise",
    r"block([^_]+)_bn": r"block_\1_depthwise_bn",
    r"block(\w+)_conv": r"block_\1",
    r"block(\w+_(project_bn|expand_bn|se_reduce|se_expand))": r"block_\1",
    r"predictions": "classifier",
}
# By registry name: the network, and its layers' names, in lower case, as the zoo's. Blocks are numbered afterwards.
_APPLICATIONS = {
    "mobilenet_v1": (
        "MobileNet",
        {
            r"conv1(_bn)?": r"stem\1",
            r"conv_dw_(\d+)(_bn)?": r"block_\1_depthwise\2",
            r"conv_pw_(\d+)(_bn)?": r"block_\1_pointwise\2",
            r"conv_preds": "classifier",
        },
    ),
    "mobilenet_v2": (
        "MobileNetV2",
        {
            r"conv1": "stem",
            r"bn_conv1": "stem_bn",
            r"expanded_conv_(\w+)": r"block_0_\1",
            r"conv_1(_bn)?": r"head\1",
            r"predictions": "classifier",
        },
    ),
    "efficientnet_b0": ("EfficientNetB0", _EFFICIENTNET_LAYERS),
    "efficientnet_b0_depth": ("EfficientNetB1", _EFFICIENTNET_LAYERS),
}
_HAS_WIDTH = ("mobilenet_v1", "mobilenet_v2")
_ARGUMENTS = {"padding": "same", "bn_epsilon": 1e-3}
_RESNET50 = (
    "keras.applications' ResNet50 is another network: its stride is on the first 1x1 convolution of a block (v1) and "
    "its convolutions have biases; the zoo's resnet50 has the stride on the 3x3 (v1.5): import timm's resnet50"
)


def check_application(name):
    """Raises a `UserError` unless keras.applications has the network of the registry name."""
    if name.endswith("resnet50"):
        raise UserError(_RESNET50)
    check_model("keras.applications", name, _APPLICATIONS)


def build_application(name, classes, width_multiplier=1.0):
    """Builds the keras.applications network of a registry name with random weights and its classifier."""
    network, _ = _APPLICATIONS[name]
    width = {"alpha": width_multiplier} if name in _HAS_WIDTH else {}
    return getattr(keras.applications, network)(weights=None, classes=classes, **width)


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
    check_application(name)
    description = description or f"keras.applications model {model.name!r}"
    layers = named_layers(model)
    names = _layer_names(layers, _APPLICATIONS[name][1])
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
        model_arguments={**_ARGUMENTS, "classes": model.output_shape[-1]},
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
    """The offset and scale that the layers before the network stand for; without any, those of `preprocess_input`."""
    layers = [layer for layer in layers if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization)]
    if not layers:
        return {"offset": 127.5, "scale": 127.5}
    factor, shift = np.ones(3), np.zeros(3)
    for layer in layers:
        if isinstance(layer, keras.layers.Rescaling):
            factor, shift = factor * layer.scale, shift * layer.scale + layer.offset
        else:
            mean, deviation = statistic(layer, "mean"), np.sqrt(statistic(layer, "variance"))
            factor, shift = factor / deviation, (shift - mean) / deviation
    return {"offset": tuple((0 - shift / factor).tolist()), "scale": tuple((1 / factor).tolist())}


def statistic(layer, name):
    """Returns the `"mean"` or `"variance"` that a `Normalization` layer computes with, float64 [channels].

    Its variables of these names take effect only when the layer is adapted or loaded.
    """
    return keras.ops.convert_to_numpy(getattr(layer, name)).astype(np.float64).reshape(-1)
