"""EfficientNet and EfficientNet-Lite, and their CondConv twins."""

import math

from condconv_keras.models.blocks import round_channels
from condconv_keras.models.inverted_residual import Architecture, Group, inverted_residual_network
from condconv_keras.models.options import check_width

# Repeats, kernel, strides, expansion, filters, squeeze-and-excitation (`efficientnet`, efficientnet_builder.py in
# tensorflow/tpu; arXiv 1905.11946, table 1).
_GROUPS = (
    Group(1, 3, 1, 1, 16, 0.25),
    Group(2, 3, 2, 6, 24, 0.25),
    Group(2, 5, 2, 6, 40, 0.25),
    Group(3, 3, 2, 6, 80, 0.25),
    Group(3, 5, 1, 6, 112, 0.25),
    Group(4, 5, 2, 6, 192, 0.25),
    Group(1, 3, 1, 6, 320, 0.25),
)
_STEM_FILTERS = 32
_HEAD_FILTERS = 1280


def efficientnet(options, *, depth_multiplier=1.0, stochastic_depth_rate=0.0):
    """EfficientNet at width 1, plain or with CondConv layers: B0 has 16 blocks in 7 groups and a head of 1280 channels.

    Args:
        options, stochastic_depth_rate: as in `condconv_keras.models.inverted_residual.inverted_residual_network`.
        depth_multiplier: positive float, scales the blocks of every group, rounded up; 1.1 is the depth of B1 and of
            the authors' `b0-8e-depth`.

    Returns:
        A functional Keras model.

    Raises:
        ValueError: a value out of range.

    Reference:
        [EfficientNet](https://arxiv.org/abs/1905.11946); efficientnet_condconv_builder.py in tensorflow/tpu
    """
    _check_depth(depth_multiplier)
    architecture = Architecture(
        groups=tuple(_deepened(group, depth_multiplier) for group in _GROUPS),
        stem_filters=_STEM_FILTERS,
        head_filters=_HEAD_FILTERS,
        activation="silu",
    )
    return inverted_residual_network(options, architecture, stochastic_depth_rate=stochastic_depth_rate)


def efficientnet_lite(options, *, width_multiplier=1.0, depth_multiplier=1.0, stochastic_depth_rate=0.0):
    """EfficientNet-Lite, plain or with CondConv layers: no squeeze-and-excitation, ReLU6, made for phones.

    Args:
        options, stochastic_depth_rate: as in `condconv_keras.models.inverted_residual.inverted_residual_network`.
        width_multiplier: positive float, scales the channels of the blocks to multiples of 8; stem and head stay.
        depth_multiplier: positive float, scales the blocks of every group but the first and the last, rounded up.

    Returns:
        A functional Keras model.

    Raises:
        ValueError: a value out of range.

    Reference: lite/efficientnet_lite_builder.py of EfficientNet in tensorflow/tpu
    """
    check_width(width_multiplier)
    _check_depth(depth_multiplier)
    groups = [_GROUPS[0], *(_deepened(group, depth_multiplier) for group in _GROUPS[1:-1]), _GROUPS[-1]]
    architecture = Architecture(
        groups=tuple(g._replace(filters=round_channels(g.filters, width_multiplier), se_ratio=0.0) for g in groups),
        stem_filters=_STEM_FILTERS,
        head_filters=_HEAD_FILTERS,
        activation="relu6",
    )
    return inverted_residual_network(options, architecture, stochastic_depth_rate=stochastic_depth_rate)


def _deepened(group, depth_multiplier):
    return group._replace(repeats=math.ceil(group.repeats * depth_multiplier))


def _check_depth(depth_multiplier):
    if not depth_multiplier > 0:
        raise ValueError(f"`depth_multiplier` must be positive. Received: depth_multiplier={depth_multiplier!r}")
