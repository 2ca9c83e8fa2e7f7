"""EfficientNet and its CondConv twins."""

import dataclasses
import math

from condconv_keras.facts.foreign_networks import (
    IMAGENET_SCALING,
    INCEPTION_SCALING,
    KERAS_APPLICATIONS,
    TENSORFLOW_ARGUMENTS,
    TENSORFLOW_TPU,
    TIMM,
    TORCH_ARGUMENTS,
    ForeignNetwork,
    ScopeNames,
    keras_applications_network,
    timm_network,
)
from condconv_keras.facts.published_weights import authors_archive, keras_applications_file, timm_file
from condconv_keras.models.entry import ModelEntry, PaperFigures
from condconv_keras.models.inverted_residual import (
    PARTS,
    TIMM_NAMES,
    Architecture,
    Stage,
    inverted_residual_network,
    stage_sizes,
)
from condconv_keras.models.placement import CondConvPlacement

# Repeats, kernel, strides, expansion, filters, squeeze-and-excitation (`efficientnet`, efficientnet_builder.py in
# tensorflow/tpu; arXiv 1905.11946, table 1).
STAGES = (
    Stage(1, 3, 1, 1, 16, 0.25),
    Stage(2, 3, 2, 6, 24, 0.25),
    Stage(2, 5, 2, 6, 40, 0.25),
    Stage(3, 3, 2, 6, 80, 0.25),
    Stage(3, 5, 1, 6, 112, 0.25),
    Stage(4, 5, 2, 6, 192, 0.25),
    Stage(1, 3, 1, 6, 320, 0.25),
)
STEM_FILTERS = 32
HEAD_FILTERS = 1280


def efficientnet(options, *, depth_multiplier=1.0, stochastic_depth_rate=0.0):
    """EfficientNet at width 1, plain or with CondConv layers: B0 has 16 blocks in 7 stages and a head of 1280 channels.

    Args:
        options, stochastic_depth_rate: as in `condconv_keras.models.inverted_residual.inverted_residual_network`.
        depth_multiplier: positive float, scales the blocks of every stage, rounded up; 1.1 is the depth of B1 and of
            the authors' `b0-8e-depth`.

    Returns:
        A functional Keras model.

    Raises:
        ValueError: a value out of range.

    Reference:
        [EfficientNet](https://arxiv.org/abs/1905.11946); efficientnet_condconv_builder.py in tensorflow/tpu
    """
    check_depth(depth_multiplier)
    architecture = Architecture(
        stages=deepened(STAGES, depth_multiplier),
        stem_filters=STEM_FILTERS,
        head_filters=HEAD_FILTERS,
        activation="silu",
    )
    return inverted_residual_network(options, architecture, stochastic_depth_rate=stochastic_depth_rate)


def deepened(stages, depth_multiplier):
    """The stages with `depth_multiplier` times their blocks, rounded up."""
    return tuple(stage._replace(repeats=math.ceil(stage.repeats * depth_multiplier)) for stage in stages)


def check_depth(depth_multiplier):
    """Raises a ValueError unless the depth multiplier is positive."""
    if not depth_multiplier > 0:
        raise ValueError(f"`depth_multiplier` must be positive. Received: depth_multiplier={depth_multiplier!r}")


_APPLICATION_NAMES = {
    r"stem_conv": "stem",
    r"top_conv": "head",
    r"top_bn": "head_bn",
    r"block(\w+)_dwconv": r"block_\1_depthwise",
    r"block([^_]+)_bn": r"block_\1_depthwise_bn",
    r"block(\w+)_conv": r"block_\1",
    r"block(\w+_(project_bn|expand_bn|se_reduce|se_expand))": r"block_\1",
    r"predictions": "classifier",
}
AUTHORS_NAMES = ScopeNames(
    layers={
        "stem": {"conv": ("stem",), "norm": ("stem_bn",)},
        "head": {"conv": ("head",), "norm": ("head_bn",), "dense": ("classifier",)},
    },
    blocks={
        "conv": ("expand", "project"),
        "norm": ("expand_bn", "depthwise_bn", "project_bn"),
        "depthwise": ("depthwise",),
        "dense": ("routing",),
        "se": ("se_reduce", "se_expand"),
    },
)
_CROP = {"interpolation": "bicubic", "crop_fraction": 0.875}  # preprocessing.py in tensorflow/tpu
# MEAN_RGB and STDDEV_RGB of condconv/efficientnet_condconv_builder.py and of lite/efficientnet_lite_builder.py there.
AUTHORS_PIXELS = {"mean": 127.0, "std": 128.0, **_CROP}
# The same of efficientnet_builder.py. AdvProp's checkpoints of the same names were trained with x / 127.5 - 1 instead.
_PLAIN_PIXELS = {
    "mean": (0.485 * 255, 0.456 * 255, 0.406 * 255),
    "std": (0.229 * 255, 0.224 * 255, 0.225 * 255),
    **_CROP,
}


def _authors(name, preprocessing):
    return ForeignNetwork(name=name, names=AUTHORS_NAMES, arguments=TENSORFLOW_ARGUMENTS, preprocessing=preprocessing)


def _condconv_authors(name):
    # The input's size of all three, the deeper one included.
    return _authors(f"efficientnet-condconv-{name}", {**AUTHORS_PIXELS, "input_size": (224, 224)})


def _timm(name, scaling, **evaluation):
    return timm_network(name, TIMM_NAMES, TENSORFLOW_ARGUMENTS, scaling, **evaluation)


_B0 = ModelEntry(
    name="efficientnet_b0",
    summary="EfficientNet-B0: inverted residuals with squeeze-and-excitation, swish",
    reference="https://arxiv.org/abs/1905.11946",
    builder=efficientnet,
    stages=lambda depth_multiplier=1.0: stage_sizes(deepened(STAGES, depth_multiplier)),
    parts=PARTS,
    recipe="efficientnet",
    input_mean=127.0,
    input_std=128.0,
    counts_elementwise=True,
    paper=(PaperFigures(391, 77.2),),
    published=(
        keras_applications_file(
            "https://storage.googleapis.com/keras-applications/efficientnetb0.h5",
            top_1=77.1,
            file_hash="902e53a9f72be733fc0bcb005b3ebbac",
            arguments={"depth_multiplier": 1.0},
        ),
    ),
    foreign={
        TIMM: (
            _timm("tf_efficientnet_b0.ns_jft_in1k", IMAGENET_SCALING),
            timm_network("efficientnet_b0.ra_in1k", TIMM_NAMES, TORCH_ARGUMENTS, IMAGENET_SCALING),
        ),
        KERAS_APPLICATIONS: (keras_applications_network("EfficientNetB0", _APPLICATION_NAMES),),
        TENSORFLOW_TPU: (_authors("efficientnet-b0", _PLAIN_PIXELS),),
    },
)
_B0_DEPTH = dataclasses.replace(
    _B0,
    name="efficientnet_b0_depth",
    summary="EfficientNet-B0 with 1.1 times the blocks",
    arguments={"depth_multiplier": 1.1},
    paper=(),
    published=(),
    foreign={
        TIMM: (_timm("tf_efficientnet_b1.ns_jft_in1k", IMAGENET_SCALING, size=240, crop_fraction=0.882),),
        KERAS_APPLICATIONS: (keras_applications_network("EfficientNetB1", _APPLICATION_NAMES),),
        TENSORFLOW_TPU: (_authors("efficientnet-b1", _PLAIN_PIXELS),),
    },
)
LAST_THREE_STAGES = CondConvPlacement(num_experts=8, start_stage=5)
# The paper's dropout for the CondConv models is a recipe of its own.
TWIN_RECIPE = "efficientnet_condconv"
_PUBLISHED_4E = (
    timm_file("tf_efficientnet_cc_b0_4e.in1k", top_1=77.75, arguments={"num_experts": 4}),
    authors_archive("efficientnet-condconv-b0-4e", top_1=77.8, arguments={"num_experts": 4}),
)
_PUBLISHED_8E = (
    timm_file("tf_efficientnet_cc_b0_8e.in1k", top_1=78.31, arguments={"num_experts": 8}),
    authors_archive("efficientnet-condconv-b0-8e", top_1=78.3, arguments={"num_experts": 8}),
)
_PUBLISHED_DEPTH = (
    timm_file(
        "tf_efficientnet_cc_b1_8e.in1k",
        license=None,
        top_1=79.46,
        top_1_input_size=240,
        arguments={"num_experts": 8, "depth_multiplier": 1.1},
    ),
    authors_archive(
        "efficientnet-condconv-b0-8e-depth", top_1=79.5, arguments={"num_experts": 8, "depth_multiplier": 1.1}
    ),
)
ENTRIES = (
    _B0,
    _B0.twin(
        LAST_THREE_STAGES,
        recipe=TWIN_RECIPE,
        paper=(PaperFigures(413, 78.3),),
        published=_PUBLISHED_8E + _PUBLISHED_4E,
        foreign={
            TIMM: (_timm("tf_efficientnet_cc_b0_8e.in1k", INCEPTION_SCALING),),
            TENSORFLOW_TPU: (_condconv_authors("b0-8e"),),
        },
    ),
    _B0.twin(
        LAST_THREE_STAGES.replace(num_experts=4),
        name="condconv_efficientnet_b0_4e",
        recipe=TWIN_RECIPE,
        paper=(PaperFigures(402, 77.8),),
        published=_PUBLISHED_4E,
        foreign={
            TIMM: (_timm("tf_efficientnet_cc_b0_4e.in1k", INCEPTION_SCALING),),
            TENSORFLOW_TPU: (_condconv_authors("b0-4e"),),
        },
    ),
    _B0_DEPTH,
    _B0_DEPTH.twin(
        LAST_THREE_STAGES,
        recipe=TWIN_RECIPE,
        paper=(PaperFigures(614, 79.5),),
        published=_PUBLISHED_DEPTH,
        foreign={
            TIMM: (_timm("tf_efficientnet_cc_b1_8e.in1k", INCEPTION_SCALING, size=240, crop_fraction=0.882),),
            TENSORFLOW_TPU: (_condconv_authors("b0-8e-depth"),),
        },
    ),
)
