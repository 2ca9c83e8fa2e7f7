"""MobileNetV1 and its CondConv twin."""

from typing import NamedTuple

from condconv_keras.models.blocks import LayerFactory, apply_blocks
from condconv_keras.models.classifier import classification_model, image_input
from condconv_keras.models.options import check_width

_MINIMUM_FILTERS = 8
_STEM_FILTERS = 32


class _Block(NamedTuple):
    filters: int
    strides: int


# Groups of separable blocks of one width (arXiv 1704.04861, table 1).
_GROUPS = (
    (_Block(64, 1),),
    (_Block(128, 2), _Block(128, 1)),
    (_Block(256, 2), _Block(256, 1)),
    (_Block(512, 2), *(_Block(512, 1),) * 5),
    (_Block(1024, 2), _Block(1024, 1)),
)
GROUP_SIZES = tuple(len(group) for group in _GROUPS)


def mobilenet_v1(options, *, width_multiplier=1.0):
    """MobileNetV1, plain or with CondConv layers.

    The feature map has 1/32 of the input's height and width (rounded up) and 1024 * `width_multiplier` channels.
    Layers of block N: `block_N_routing`, `block_N_depthwise`, `block_N_pointwise` and their `_bn`, `_activation`.

    Args:
        options: `NetworkOptions`. A placement covers the 13 separable blocks (groups of 1, 2, 2, 6, 2) and the
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
    factory = LayerFactory.of(options, activation="relu6", group_sizes=GROUP_SIZES)
    inputs = image_input(options.input_shape)
    features = mobilenet_v1_features(inputs, factory, width_multiplier)
    return classification_model(inputs, features, factory, options)


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
    return apply_blocks(x, [block for group in _GROUPS for block in group], separable_block, stride=2)
