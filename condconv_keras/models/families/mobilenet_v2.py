"""MobileNetV2 and its CondConv twin."""

from condconv_keras.facts.foreign_networks import (
    IMAGENET_SCALING,
    KERAS_APPLICATIONS,
    TIMM,
    TORCH_ARGUMENTS,
    keras_applications_network,
    timm_network,
)
from condconv_keras.facts.published_weights import keras_applications_file
from condconv_keras.models.blocks import round_channels
from condconv_keras.models.entry import ModelEntry, PaperFigures
from condconv_keras.models.inverted_residual import (
    PARTS,
    TIMM_NAMES,
    Architecture,
    Stage,
    inverted_residual_network,
    stage_sizes,
)
from condconv_keras.models.options import check_width
from condconv_keras.models.placement import CondConvPlacement

# Repeats, kernel, strides, expansion, filters (arXiv 1801.04381, table 2).
_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(3, 3, 2, 6, 32),
    Stage(4, 3, 2, 6, 64),
    Stage(3, 3, 1, 6, 96),
    Stage(3, 3, 2, 6, 160),
    Stage(1, 3, 1, 6, 320),
)
_STEM_FILTERS = 32
_HEAD_FILTERS = 1280


def mobilenet_v2(options, *, width_multiplier=1.0, stochastic_depth_rate=0.0):
    """MobileNetV2, plain or with CondConv layers: 17 blocks in 7 stages and a head of 1280 channels.

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
        stages=tuple(g._replace(filters=round_channels(g.filters, width_multiplier)) for g in _STAGES),
        stem_filters=round_channels(_STEM_FILTERS, width_multiplier),
        head_filters=round_channels(_HEAD_FILTERS, max(width_multiplier, 1.0)),
        activation="relu6",
    )
    return inverted_residual_network(options, architecture, stochastic_depth_rate=stochastic_depth_rate)


_APPLICATION_NAMES = {
    r"conv1": "stem",
    r"bn_conv1": "stem_bn",
    r"expanded_conv_(\w+)": r"block_0_\1",
    r"conv_1(_bn)?": r"head\1",
    r"predictions": "classifier",
}


def _published(width, top_1=None):
    folder = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2"
    url = f"{folder}/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_224.h5"
    return keras_applications_file(url, top_1=top_1, arguments={"width_multiplier": width})


_MOBILENET_V2 = ModelEntry(
    name="mobilenet_v2",
    summary="MobileNetV2: inverted residuals with linear bottlenecks",
    reference="https://arxiv.org/abs/1801.04381",
    builder=mobilenet_v2,
    stages=lambda: stage_sizes(_STAGES),
    parts=PARTS,
    recipe="mobilenet",
    arguments={"bn_momentum": 0.9},
    counts_elementwise=True,
    paper=(PaperFigures(301, 71.6),),
    published=(_published(1.0, top_1=71.3), *map(_published, (1.4, 1.3, 0.75, 0.5, 0.35))),
    foreign={
        TIMM: (timm_network("mobilenetv2_100.ra_in1k", TIMM_NAMES, TORCH_ARGUMENTS, IMAGENET_SCALING),),
        KERAS_APPLICATIONS: (keras_applications_network("MobileNetV2", _APPLICATION_NAMES),),
    },
)
ENTRIES = (
    _MOBILENET_V2,
    _MOBILENET_V2.twin(
        CondConvPlacement(num_experts=8, start_block=2, condconv_head=True, condconv_classifier=True),
        paper=(PaperFigures(329, 74.6),),
    ),
)
