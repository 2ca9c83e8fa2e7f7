"""MobileNetV2 and its CondConv twin."""

from condconv_keras.models.blocks import round_channels
from condconv_keras.models.inverted_residual import Architecture, Group, inverted_residual_network
from condconv_keras.models.options import check_width

# Repeats, kernel, strides, expansion, filters (arXiv 1801.04381, table 2).
_GROUPS = (
    Group(1, 3, 1, 1, 16),
    Group(2, 3, 2, 6, 24),
    Group(3, 3, 2, 6, 32),
    Group(4, 3, 2, 6, 64),
    Group(3, 3, 1, 6, 96),
    Group(3, 3, 2, 6, 160),
    Group(1, 3, 1, 6, 320),
)
_STEM_FILTERS = 32
_HEAD_FILTERS = 1280


def mobilenet_v2(options, *, width_multiplier=1.0, stochastic_depth_rate=0.0):
    """MobileNetV2, plain or with CondConv layers: 17 blocks in 7 groups and a head of 1280 channels.

    Args:
        options, stochastic_depth_rate: as in `condconv_keras.models.inverted_residual.inverted_residual_network`.
        width_multiplier: positive float, scales every channel count to a multiple of 8; the head grows with it and
            does not shrink.

    Returns:
        A functional Keras model.

    Raises:
        ValueError: a value out of range.

    Reference: [MobileNetV2](https://arxiv.org/abs/1801.04381)
    """
    check_width(width_multiplier)
    architecture = Architecture(
        groups=tuple(g._replace(filters=round_channels(g.filters, width_multiplier)) for g in _GROUPS),
        stem_filters=round_channels(_STEM_FILTERS, width_multiplier),
        head_filters=round_channels(_HEAD_FILTERS, max(width_multiplier, 1.0)),
        activation="relu6",
    )
    return inverted_residual_network(options, architecture, stochastic_depth_rate=stochastic_depth_rate)
