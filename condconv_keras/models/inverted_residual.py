"""Networks of inverted residual blocks (MBConv): MobileNetV2, MnasNet, EfficientNet are tables of these."""

import dataclasses
from typing import NamedTuple

from condconv_keras.facts.foreign_networks import TorchNames
from condconv_keras.models.blocks import LayerFactory, add_residual, apply_blocks
from condconv_keras.models.classifier import classification_model, image_input
from condconv_keras.models.options import check_rate
from condconv_keras.utils.lazy import keras

# What a placement may ask for besides blocks.
PARTS = ("condconv_head", "condconv_classifier")


class Stage(NamedTuple):
    """Blocks of one width; the first has the strides, the others stride 1.

    Attributes:
        repeats: number of blocks.
        kernel_size: of the depthwise convolutions.
        strides: of the first block, 1 or 2.
        expansion: channels inside a block per channel of its input; 1 for a block without the expanding convolution.
        filters: output channels.
        se_ratio: channels of the squeeze-and-excitation's bottleneck per channel of the block's input; 0 for none.
    """

    repeats: int
    kernel_size: int
    strides: int
    expansion: int
    filters: int
    se_ratio: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network of inverted residual blocks, channel counts as they are built.

    Attributes:
        stages: tuple of `Stage`.
        stem_filters, head_filters: output channels of the first 3x3 and of the last 1x1 convolution.
        activation: name of the activation.
    """

    stages: tuple[Stage, ...]
    stem_filters: int
    head_filters: int
    activation: str


class _Block(NamedTuple):
    kernel_size: int
    strides: int
    expansion: int
    filters: int
    se_ratio: float


def inverted_residual_network(options, architecture, *, stochastic_depth_rate):
    """Builds a network of inverted residual blocks, plain or with CondConv layers.

    Layers of block N: `block_N_routing`, `block_N_expand`, `block_N_depthwise`, `block_N_se_reduce`,
    `block_N_se_expand`, `block_N_project`, where the block has them. The router feeds the expanding, the depthwise and
    the projecting convolution; squeeze-and-excitation stays plain. With `include_top=False` the feature map is that of
    the head convolution; the endpoint `stride_32` is that of the last block.

    Args:
        options: `NetworkOptions`. A placement covers the blocks, the head convolution and the classifier.
        architecture: `Architecture`.
        stochastic_depth_rate: in [0, 1); training drops block i of n (from 0) with the probability rate * i / n.

    Returns:
        A functional Keras model.

    Raises:
        ValueError: a value out of range.

    Reference:
        - [MobileNetV2](https://arxiv.org/abs/1801.04381), section 3.3; [Squeeze-and-Excitation
          Networks](https://arxiv.org/abs/1709.01507)
        - `MBConvBlock`, efficientnet_model.py in tensorflow/tpu
    """
    check_rate("stochastic_depth_rate", stochastic_depth_rate)
    sizes = stage_sizes(architecture.stages)
    factory = LayerFactory.of(options, activation=architecture.activation, stage_sizes=sizes, parts=PARTS)
    blocks = _blocks(architecture.stages)

    def apply(x, block, number):
        drop_rate = stochastic_depth_rate * (number - 1) / len(blocks)
        return _inverted_residual_block(factory, x, block, number, drop_rate)

    inputs = image_input(options.input_shape)
    x = factory.conv_norm_act(inputs, architecture.stem_filters, 3, strides=2, name="stem")
    x = apply_blocks(x, blocks, apply, stride=2)
    x = factory.conv_norm_act(x, architecture.head_filters, 1, routing=factory.head_routing(x), name="head")
    return classification_model(inputs, x, factory, options)


def stage_sizes(stages):
    """The numbers of blocks of the stages in order."""
    return tuple(stage.repeats for stage in stages)


def _blocks(stages):
    """The blocks of the stages in order."""
    return [
        _Block(stage.kernel_size, stage.strides if i == 0 else 1, stage.expansion, stage.filters, stage.se_ratio)
        for stage in stages
        for i in range(stage.repeats)
    ]


def _inverted_residual_block(factory, inputs, block, number, drop_rate):
    name = f"block_{number}"
    channels = _channels(inputs)
    routing = factory.block_routing(inputs, number)
    x = inputs
    if block.expansion != 1:
        x = factory.conv_norm_act(x, channels * block.expansion, 1, routing=routing, name=f"{name}_expand")
    x = factory.depthwise_norm_act(
        x, block.kernel_size, strides=block.strides, routing=routing, name=f"{name}_depthwise"
    )
    if block.se_ratio:
        x = _squeeze_excite(factory, x, max(1, int(channels * block.se_ratio)), name=f"{name}_se")
    x = factory.conv_norm(x, block.filters, 1, routing=routing, name=f"{name}_project")
    if block.strides == 1 and block.filters == channels:
        x = add_residual(x, inputs, block=number, drop_rate=drop_rate)
    return x


def _squeeze_excite(factory, x, bottleneck, *, name):
    """Scales the channels by weights in (0, 1) that two 1x1 convolutions compute from the pooled features."""
    weights = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    weights = factory.conv(weights, bottleneck, 1, use_bias=True, name=f"{name}_reduce")
    weights = factory.act(weights, name=f"{name}_reduce")
    weights = factory.conv(weights, _channels(x), 1, use_bias=True, activation="sigmoid", name=f"{name}_expand")
    return keras.layers.Multiply(name=f"{name}_scale")([x, weights])


def _channels(x):
    return x.shape[1 if keras.config.image_data_format() == "channels_first" else -1]


_TIMM_SQUEEZE_EXCITE = {"se_reduce": "se.conv_reduce", "se_expand": "se.conv_expand"}
TIMM_NAMES = TorchNames(
    layers={
        "stem": "conv_stem",
        "stem_bn": "bn1",
        "head": "conv_head",
        "head_bn": "bn2",
        "classifier": "classifier",
    },
    block=r"blocks\.(\d+)\.(\d+)\.",
    blocks={
        "conv_pwl": {
            "expand": "conv_pw",
            "expand_bn": "bn1",
            "depthwise": "conv_dw",
            "depthwise_bn": "bn2",
            "project": "conv_pwl",
            "project_bn": "bn3",
            "routing": "routing_fn",
            **_TIMM_SQUEEZE_EXCITE,
        },
        # The first block, which has no expansion.
        "conv_pw": {
            "depthwise": "conv_dw",
            "depthwise_bn": "bn1",
            "project": "conv_pw",
            "project_bn": "bn2",
            "routing": "routing_fn",
            **_TIMM_SQUEEZE_EXCITE,
        },
    },
)
