"""ResNet-50 (v1.5) and its CondConv twin."""

from typing import NamedTuple

from condconv_keras.facts.foreign_networks import (
    IMAGENET_SCALING,
    KERAS_APPLICATIONS,
    TIMM,
    TORCH_ARGUMENTS,
    TorchNames,
    timm_network,
)
from condconv_keras.facts.published_weights import timm_file
from condconv_keras.models.blocks import LayerFactory, add_residual, apply_blocks
from condconv_keras.models.classifier import classification_model, image_input
from condconv_keras.models.entry import ModelEntry, PaperFigures
from condconv_keras.models.options import check_rate
from condconv_keras.models.placement import CondConvPlacement

_STEM_FILTERS = 64
_EXPANSION = 4


class _Stage(NamedTuple):
    repeats: int
    filters: int
    strides: int


# conv2_x to conv5_x (arXiv 1512.03385, table 1): blocks, channels of the 3x3 convolution, strides of the first block.
_STAGES = (_Stage(3, 64, 1), _Stage(4, 128, 2), _Stage(6, 256, 2), _Stage(3, 512, 2))
_PARTS = ("condconv_shortcut", "condconv_classifier")


class _Block(NamedTuple):
    filters: int
    strides: int
    has_projection: bool


def resnet50(options, *, stochastic_depth_rate=0.0):
    """ResNet-50 v1.5, plain or with CondConv layers: the stride of a block is on its 3x3 convolution.

    Layers of block N: `block_N_routing`, `block_N_conv1`, `block_N_conv2`, `block_N_conv3` and, in the first block of
    a stage, the projection `block_N_shortcut`.

    Args:
        options: `NetworkOptions`. A placement covers the 16 blocks (stages conv2_x to conv5_x: 3, 4, 6, 3), their
            projection shortcuts and the classifier.
        stochastic_depth_rate: in [0, 1); training drops block i of 16 (from 0) with the probability rate * i / 16.

    Returns:
        A functional Keras model.

    Raises:
        ValueError: a value out of range.

    Reference:
        - [Deep Residual Learning](https://arxiv.org/abs/1512.03385)
        - v1.5: resnet_model.py in tensorflow/models, `bottleneck_block`
    """
    check_rate("stochastic_depth_rate", stochastic_depth_rate)
    factory = LayerFactory.of(options, activation="relu", stage_sizes=_stage_sizes(), parts=_PARTS)
    blocks = [_Block(g.filters, g.strides if i == 0 else 1, i == 0) for g in _STAGES for i in range(g.repeats)]

    def apply(x, block, number):
        return _bottleneck(factory, x, block, number, stochastic_depth_rate * (number - 1) / len(blocks))

    inputs = image_input(options.input_shape)
    x = factory.conv_norm_act(inputs, _STEM_FILTERS, 7, strides=2, name="stem")
    x = factory.max_pool(x, name="stem_pool")
    x = apply_blocks(x, blocks, apply, stride=4)
    return classification_model(inputs, x, factory, options)


def _stage_sizes():
    return tuple(stage.repeats for stage in _STAGES)


def _bottleneck(factory, inputs, block, number, drop_rate):
    """1x1, 3x3 and 1x1 convolution, all fed by the block's one router, and the shortcut."""
    name = f"block_{number}"
    routing = factory.block_routing(inputs, number)
    filters, strides = block.filters * _EXPANSION, block.strides
    shortcut = inputs
    if block.has_projection:
        conditional = routing is not None and factory.placement.condconv_shortcut
        shortcut = factory.conv_norm(
            inputs, filters, 1, strides=strides, routing=routing if conditional else None, name=f"{name}_shortcut"
        )
    x = factory.conv_norm_act(inputs, block.filters, 1, routing=routing, name=f"{name}_conv1")
    x = factory.conv_norm_act(x, block.filters, 3, strides=strides, routing=routing, name=f"{name}_conv2")
    x = factory.conv_norm(x, filters, 1, routing=routing, name=f"{name}_conv3")
    return factory.act(add_residual(x, shortcut, block=number, drop_rate=drop_rate), name=name)


_TIMM_NAMES = TorchNames(
    layers={"stem": "conv1", "stem_bn": "bn1", "classifier": "fc"},
    block=r"layer(\d+)\.(\d+)\.",
    blocks={
        "conv3": {
            **{f"conv{i}": f"conv{i}" for i in (1, 2, 3)},
            **{f"conv{i}_bn": f"bn{i}" for i in (1, 2, 3)},
            "shortcut": "downsample.0",
            "shortcut_bn": "downsample.1",
        }
    },
)
_RESNET50 = ModelEntry(
    name="resnet50",
    summary="ResNet-50 v1.5: residual bottlenecks, the stride on the 3x3 convolution",
    reference="https://arxiv.org/abs/1512.03385",
    builder=resnet50,
    stages=_stage_sizes,
    parts=_PARTS,
    recipe="mobilenet",
    arguments={"bn_momentum": 0.9},
    counts_elementwise=True,
    paper=(PaperFigures(4093, 77.7),),
    published=(
        timm_file(
            "resnet50.a1_in1k",
            top_1=80.38,
            file_hash="773525d5821de224f8f30c33377b7a795d7863e08522698200d3217d3f2a41bb",
        ),
    ),
    foreign={
        TIMM: (timm_network("resnet50.a1_in1k", _TIMM_NAMES, TORCH_ARGUMENTS, IMAGENET_SCALING, crop_fraction=0.95),)
    },
    look_alikes={
        KERAS_APPLICATIONS: "keras.applications' ResNet50 is another network: its stride is on the first 1x1 "
        "convolution of a block (v1) and its convolutions have biases; the zoo's resnet50 has the stride on the "
        "3x3 (v1.5): import timm's resnet50"
    },
)
ENTRIES = (
    _RESNET50,
    _RESNET50.twin(
        CondConvPlacement(num_experts=8, start_stage=4, condconv_shortcut=True),
        paper=(PaperFigures(4213, 78.6),),
    ),
)
