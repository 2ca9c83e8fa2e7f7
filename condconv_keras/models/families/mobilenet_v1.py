"""MobileNetV1 and its CondConv twin."""

from typing import NamedTuple

from condconv_keras.facts.foreign_networks import (
    INCEPTION_SCALING,
    KERAS_APPLICATIONS,
    TIMM,
    TORCH_ARGUMENTS,
    TorchNames,
    keras_applications_network,
    timm_network,
)
from condconv_keras.facts.published_weights import keras_applications_file
from condconv_keras.models.blocks import LayerFactory, apply_blocks
from condconv_keras.models.classifier import classification_model, image_input
from condconv_keras.models.entry import ModelEntry, PaperFigures
from condconv_keras.models.options import check_width
from condconv_keras.models.placement import CondConvPlacement

_MINIMUM_FILTERS = 8
_STEM_FILTERS = 32


class _Block(NamedTuple):
    filters: int
    strides: int


# Stages of separable blocks of one width (arXiv 1704.04861, table 1).
_STAGES = (
    (_Block(64, 1),),
    (_Block(128, 2), _Block(128, 1)),
    (_Block(256, 2), _Block(256, 1)),
    (_Block(512, 2), *(_Block(512, 1),) * 5),
    (_Block(1024, 2), _Block(1024, 1)),
)
_PARTS = ("condconv_classifier",)


def mobilenet_v1(options, *, width_multiplier=1.0):
    """MobileNetV1, plain or with CondConv layers.

    The feature map has 1/32 of the input's height and width (rounded up) and 1024 * `width_multiplier` channels.
    Layers of block N: `block_N_routing`, `block_N_depthwise`, `block_N_pointwise` and their `_bn`, `_activation`.

    Args:
        options: `NetworkOptions`. A placement covers the 13 separable blocks (stages of 1, 2, 2, 6, 2) and the
            classifier.
        width_multiplier: positive float, scales every channel count to `max(int(count * width_multiplier), 8)`.

    Returns:
        A functional Keras model.

    Raises:
        ValueError: a value out of range.

    Reference:
        - [MobileNets](https://arxiv.org/abs/1704.04861)
        - [CondConv](https://arxiv.org/abs/1904.04971)
    """
    factory = LayerFactory.of(options, activation="relu6", stage_sizes=stage_sizes(), parts=_PARTS)
    inputs = image_input(options.input_shape)
    features = mobilenet_v1_features(inputs, factory, width_multiplier)
    return classification_model(inputs, features, factory, options)


def stage_sizes():
    """The numbers of blocks of the stages in order."""
    return tuple(map(len, _STAGES))


def mobilenet_v1_features(inputs, factory, width_multiplier):
    """The stem and the 13 separable blocks; arguments as in `mobilenet_v1`, returns the last feature map.

    Raises:
        ValueError: `width_multiplier` is not positive.
    """
    check_width(width_multiplier)

    def scaled(filters):
        return max(int(filters * width_multiplier), _MINIMUM_FILTERS)

    def separable_block(x, block, number):
        """A 3x3 depthwise and a 1x1 convolution, both fed by the block's one router (section 3.1)."""
        routing = factory.block_routing(x, number)
        name = f"block_{number}"
        x = factory.depthwise_norm_act(x, 3, strides=block.strides, routing=routing, name=f"{name}_depthwise")
        return factory.conv_norm_act(x, scaled(block.filters), 1, routing=routing, name=f"{name}_pointwise")

    x = factory.conv_norm_act(inputs, scaled(_STEM_FILTERS), 3, strides=2, name="stem")
    return apply_blocks(x, [block for stage in _STAGES for block in stage], separable_block, stride=2)


_TIMM_NAMES = TorchNames(
    layers={"stem": "conv_stem", "stem_bn": "bn1", "classifier": "classifier"},
    block=r"blocks\.(\d+)\.(\d+)\.",
    blocks={
        "conv_pw": {
            "depthwise": "conv_dw",
            "depthwise_bn": "bn1",
            "pointwise": "conv_pw",
            "pointwise_bn": "bn2",
        }
    },
)
_APPLICATION_NAMES = {
    r"conv1(_bn)?": r"stem\1",
    r"conv_dw_(\d+)(_bn)?": r"block_\1_depthwise\2",
    r"conv_pw_(\d+)(_bn)?": r"block_\1_pointwise\2",
    r"conv_preds": "classifier",
}


def _published(width, text, top_1=None):
    url = f"https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/mobilenet_{text}_224_tf.h5"
    return keras_applications_file(url, top_1=top_1, arguments={"width_multiplier": width})


_MOBILENET_V1 = ModelEntry(
    name="mobilenet_v1",
    summary="MobileNetV1: depthwise separable convolutions",
    reference="https://arxiv.org/abs/1704.04861",
    builder=mobilenet_v1,
    stages=stage_sizes,
    parts=_PARTS,
    recipe="mobilenet",
    arguments={"bn_momentum": 0.9},
    paper=(PaperFigures(567, 71.9),),
    published=(
        _published(1.0, "1_0", top_1=70.4),
        _published(0.75, "7_5"),
        _published(0.5, "5_0"),
        _published(0.25, "2_5"),
    ),
    foreign={
        TIMM: (timm_network("mobilenetv1_100.ra4_e3600_r224_in1k", _TIMM_NAMES, TORCH_ARGUMENTS, INCEPTION_SCALING),),
        KERAS_APPLICATIONS: (keras_applications_network("MobileNet", _APPLICATION_NAMES),),
    },
)
ENTRIES = (
    _MOBILENET_V1,
    _MOBILENET_V1.twin(
        CondConvPlacement(num_experts=8, start_block=6, condconv_classifier=True),
        paper=(PaperFigures(600, 73.7),),
    ),
)
