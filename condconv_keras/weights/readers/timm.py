"""Checkpoints of timm (pytorch-image-models): names, settings and preprocessing of its networks."""

import re
from typing import NamedTuple

from condconv_keras.utils.errors import UserError
from condconv_keras.weights.readers.state_dict import classes_argument, keras_variable
from condconv_keras.weights.source import WeightSource, check_model

# What timm's default configuration of a network says. ImageNet's mean and standard deviation, times 255.
_IMAGENET = {"offset": (123.675, 116.28, 103.53), "scale": (58.395, 57.12, 57.375)}
_INCEPTION = {"offset": 127.5, "scale": 127.5}
_TF = {"padding": "same", "bn_epsilon": 1e-3}
_TORCH = {"padding": "symmetric", "bn_epsilon": 1e-5}


class _Release(NamedTuple):
    """A network of timm and the weights that `pretrained=True` loads.

    Attributes:
        name: architecture and tag.
        arguments: of `create_model`.
        scaling: offset and scale.
        size, crop_fraction: of the evaluation, at the size of training. All interpolate bicubically.
    """

    name: str
    arguments: dict
    scaling: dict
    size: int = 224
    crop_fraction: float = 0.875


# By registry name; of networks that name their tensors alike the first is taken unless the padding is given.
_RELEASES = {
    "mobilenet_v1": [_Release("mobilenetv1_100.ra4_e3600_r224_in1k", _TORCH, _INCEPTION)],
    "mobilenet_v2": [_Release("mobilenetv2_100.ra_in1k", _TORCH, _IMAGENET)],
    "mnasnet_a1": [_Release("semnasnet_100.rmsp_in1k", _TORCH, _IMAGENET)],
    "resnet50": [_Release("resnet50.a1_in1k", _TORCH, _IMAGENET, crop_fraction=0.95)],
    "efficientnet_b0": [
        _Release("tf_efficientnet_b0.ns_jft_in1k", _TF, _IMAGENET),
        _Release("efficientnet_b0.ra_in1k", _TORCH, _IMAGENET),
    ],
    "efficientnet_b0_depth": [_Release("tf_efficientnet_b1.ns_jft_in1k", _TF, _IMAGENET, 240, 0.882)],
    "condconv_efficientnet_b0": [_Release("tf_efficientnet_cc_b0_8e.in1k", _TF, _INCEPTION)],
    "condconv_efficientnet_b0_4e": [_Release("tf_efficientnet_cc_b0_4e.in1k", _TF, _INCEPTION)],
    "condconv_efficientnet_b0_depth": [_Release("tf_efficientnet_cc_b1_8e.in1k", _TF, _INCEPTION, 240, 0.882)],
    "efficientnet_lite0": [
        _Release("tf_efficientnet_lite0.in1k", _TF, _INCEPTION),
        _Release("efficientnet_lite0.ra_in1k", _TORCH, _IMAGENET),
    ],
    "efficientnet_lite1": [_Release("tf_efficientnet_lite1.in1k", _TF, _INCEPTION, 240, 0.882)],
    "efficientnet_lite2": [_Release("tf_efficientnet_lite2.in1k", _TF, _INCEPTION, 260, 0.89)],
}

_STEM_AND_HEAD = {
    "stem": "conv_stem",
    "stem_bn": "bn1",
    "head": "conv_head",
    "head_bn": "bn2",
    "classifier": "classifier",
}
_RESNET_STEM_AND_HEAD = {"stem": "conv1", "stem_bn": "bn1", "classifier": "fc"}
_SQUEEZE_EXCITE = {"se_reduce": "se.conv_reduce", "se_expand": "se.conv_expand"}
_INVERTED_RESIDUAL = {
    "expand": "conv_pw",
    "expand_bn": "bn1",
    "depthwise": "conv_dw",
    "depthwise_bn": "bn2",
    "project": "conv_pwl",
    "project_bn": "bn3",
    "routing": "routing_fn",
    **_SQUEEZE_EXCITE,
}
# MobileNetV1's blocks, and the first block of the others, which has no expansion.
_SEPARABLE = {
    "depthwise": "conv_dw",
    "depthwise_bn": "bn1",
    **dict.fromkeys(("pointwise", "project"), "conv_pw"),
    **dict.fromkeys(("pointwise_bn", "project_bn"), "bn2"),
    "routing": "routing_fn",
    **_SQUEEZE_EXCITE,
}
_BOTTLENECK = {
    **{f"conv{i}": f"conv{i}" for i in (1, 2, 3)},
    **{f"conv{i}_bn": f"bn{i}" for i in (1, 2, 3)},
    "shortcut": "downsample.0",
    "shortcut_bn": "downsample.1",
}


def weight_source(tensors, path, name, arguments):
    """Returns the `WeightSource` of a timm state dict; arguments as in `condconv_keras.weights.source.open_source`.

    Args:
        tensors: arrays by timm's names.
    """
    check_model("timm", name, _RELEASES)
    releases = _RELEASES[name]
    release = next((r for r in releases if r.arguments["padding"] == arguments.get("padding")), releases[0])
    names = _layer_names(tensors, path)

    def find(layer, variable):
        parameter, convert = keras_variable(layer, variable)
        return f"{names[layer.name]}.{parameter}", convert

    return WeightSource(
        description=f"timm checkpoint {str(path)!r}",
        tensors=tensors,
        find=find,
        model_arguments=release.arguments | classes_argument(tensors, names["classifier"]),
        preprocessing={
            **release.scaling,
            "input_size": (release.size, release.size),
            "interpolation": "bicubic",
            "crop_fraction": release.crop_fraction,
        },
    )


def _layer_names(tensors, path):
    """timm's module name of every layer of the zoo's network."""
    if "conv_stem.weight" in tensors:
        names, pattern = dict(_STEM_AND_HEAD), r"(blocks)\.(\d+)\.(\d+)\."
    elif "conv1.weight" in tensors:
        names, pattern = dict(_RESNET_STEM_AND_HEAD), r"(layer)(\d+)\.(\d+)\."
    else:
        raise UserError(f"expected tensors named as in timm, {str(path)!r} has {', '.join(sorted(tensors)[:3])}, ...")
    matches = filter(None, (re.match(pattern, key) for key in tensors))
    prefixes = {(int(match[2]), int(match[3])): match[0] for match in matches}
    for number, (_, prefix) in enumerate(sorted(prefixes.items()), start=1):
        for role, module in _block_modules(tensors, prefix).items():
            names[f"block_{number}_{role}"] = prefix + module
    return names


def _block_modules(tensors, prefix):
    if prefix.startswith("layer"):
        return _BOTTLENECK
    return _INVERTED_RESIDUAL if f"{prefix}conv_pwl.weight" in tensors else _SEPARABLE
