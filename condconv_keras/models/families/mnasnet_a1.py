"""MnasNet-A1 and its CondConv twin."""

from condconv_keras.facts.foreign_networks import IMAGENET_SCALING, TIMM, TORCH_ARGUMENTS, timm_network
from condconv_keras.facts.published_weights import timm_file
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

# Repeats, kernel, strides, expansion, filters, squeeze-and-excitation (`mnasnet_a1`, mnasnet_models.py in
# tensorflow/tpu; arXiv 1807.11626, figure 7).
_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(3, 5, 2, 3, 40, 0.25),
    Stage(4, 3, 2, 6, 80),
    Stage(2, 3, 1, 6, 112, 0.25),
    Stage(3, 5, 2, 6, 160, 0.25),
    Stage(1, 3, 1, 6, 320),
)
_STEM_FILTERS = 32
_HEAD_FILTERS = 1280


def mnasnet_a1(options, *, width_multiplier=1.0, stochastic_depth_rate=0.0):
    """MnasNet-A1, plain or with CondConv layers: 16 blocks in 7 stages and a head of 1280 channels.

    Args:
        options, stochastic_depth_rate: as in `condconv_keras.models.inverted_residual.inverted_residual_network`.
        width_multiplier: positive float, scales the channels of stem and blocks to multiples of 8; the head stays.

    Returns:
        A functional Keras model.

    Raises:
        ValueError: a value out of range.

    Reference: [MnasNet](https://arxiv.org/abs/1807.11626)
    """
    check_width(width_multiplier)
    architecture = Architecture(
        stages=tuple(g._replace(filters=round_channels(g.filters, width_multiplier)) for g in _STAGES),
        stem_filters=round_channels(_STEM_FILTERS, width_multiplier),
        head_filters=_HEAD_FILTERS,
        activation="relu",
    )
    return inverted_residual_network(options, architecture, stochastic_depth_rate=stochastic_depth_rate)


_MNASNET_A1 = ModelEntry(
    name="mnasnet_a1",
    summary="MnasNet-A1: inverted residuals of searched sizes, squeeze-and-excitation in three stages",
    reference="https://arxiv.org/abs/1807.11626",
    builder=mnasnet_a1,
    stages=lambda: stage_sizes(_STAGES),
    parts=PARTS,
    recipe="mnasnet",
    input_mean=127.0,
    input_std=128.0,
    paper=(PaperFigures(312, 74.9),),
    published=(
        timm_file(
            "semnasnet_100.rmsp_in1k",
            top_1=75.45,
            file_hash="af6114db10f51455c9bb5af3c1c7810aefe4e7ca16b8edeb7a52288bf1607120",
            arguments={"width_multiplier": 1.0},
        ),
    ),
    foreign={TIMM: (timm_network("semnasnet_100.rmsp_in1k", TIMM_NAMES, TORCH_ARGUMENTS, IMAGENET_SCALING),)},
)
ENTRIES = (
    _MNASNET_A1,
    _MNASNET_A1.twin(CondConvPlacement(num_experts=8, start_stage=5), paper=(PaperFigures(325, 76.2),)),
)
