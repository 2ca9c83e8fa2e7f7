"""The registered models as data."""

import dataclasses
import types

from condconv_keras.facts.model_card import DETECTION
from condconv_keras.models.entry import ModelEntry, PaperFigures
from condconv_keras.models.placement import CondConvPlacement


def _arguments(**arguments):
    return types.MappingProxyType(arguments)


_MOBILENET_V1 = ModelEntry(
    name="mobilenet_v1",
    summary="MobileNetV1: depthwise separable convolutions",
    reference="https://arxiv.org/abs/1704.04861",
    builder="condconv_keras.models.families.mobilenet_v1:mobilenet_v1",
    group_sizes=(1, 2, 2, 6, 2),
    recipe="mobilenet",
    input_offset=127.5,
    input_scale=127.5,
    arguments=_arguments(bn_momentum=0.9),
    paper=(PaperFigures(567, 71.9),),
)
_MOBILENET_V2 = dataclasses.replace(
    _MOBILENET_V1,
    name="mobilenet_v2",
    summary="MobileNetV2: inverted residuals with linear bottlenecks",
    reference="https://arxiv.org/abs/1801.04381",
    builder="condconv_keras.models.families.mobilenet_v2:mobilenet_v2",
    group_sizes=(1, 2, 3, 4, 3, 3, 1),
    counts_elementwise=True,
    paper=(PaperFigures(301, 71.6),),
)
_RESNET50 = dataclasses.replace(
    _MOBILENET_V1,
    name="resnet50",
    summary="ResNet-50 v1.5: residual bottlenecks, the stride on the 3x3 convolution",
    reference="https://arxiv.org/abs/1512.03385",
    builder="condconv_keras.models.families.resnet50:resnet50",
    group_sizes=(3, 4, 6, 3),
    counts_elementwise=True,
    paper=(PaperFigures(4093, 77.7),),
)
_EFFICIENTNET_B0 = ModelEntry(
    name="efficientnet_b0",
    summary="EfficientNet-B0: inverted residuals with squeeze-and-excitation, swish",
    reference="https://arxiv.org/abs/1905.11946",
    builder="condconv_keras.models.families.efficientnet:efficientnet",
    group_sizes=(1, 2, 2, 3, 3, 4, 1),
    recipe="efficientnet",
    input_offset=127.0,
    input_scale=128.0,
    counts_elementwise=True,
    paper=(PaperFigures(391, 77.2),),
)
_EFFICIENTNET_B0_DEPTH = dataclasses.replace(
    _EFFICIENTNET_B0,
    name="efficientnet_b0_depth",
    summary="EfficientNet-B0 with 1.1 times the blocks",
    arguments=_arguments(depth_multiplier=1.1),
    group_sizes=(2, 3, 3, 4, 4, 5, 2),
    paper=(),
)
_MNASNET_A1 = dataclasses.replace(
    _EFFICIENTNET_B0,
    name="mnasnet_a1",
    summary="MnasNet-A1: inverted residuals of searched sizes, squeeze-and-excitation in three groups",
    reference="https://arxiv.org/abs/1807.11626",
    builder="condconv_keras.models.families.mnasnet_a1:mnasnet_a1",
    group_sizes=(1, 2, 3, 4, 2, 3, 1),
    recipe="mnasnet",
    counts_elementwise=False,
    paper=(PaperFigures(312, 74.9),),
)
_EFFICIENTNET_LITE0 = dataclasses.replace(
    _EFFICIENTNET_B0_DEPTH,
    name="efficientnet_lite0",
    summary="EfficientNet-Lite0: B0 without squeeze-and-excitation, with ReLU6, for phones",
    reference="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
    builder="condconv_keras.models.families.efficientnet:efficientnet_lite",
    group_sizes=(1, 2, 2, 3, 3, 4, 1),
    arguments=_arguments(),
)
_EFFICIENTNET_LITE1 = dataclasses.replace(
    _EFFICIENTNET_LITE0,
    name="efficientnet_lite1",
    summary="EfficientNet-Lite1: Lite0 with 1.1 times the blocks",
    arguments=_arguments(depth_multiplier=1.1),
    group_sizes=(1, 3, 3, 4, 4, 5, 1),
    input_size=240,
)
_EFFICIENTNET_LITE2 = dataclasses.replace(
    _EFFICIENTNET_LITE0,
    name="efficientnet_lite2",
    summary="EfficientNet-Lite2: Lite0 with 1.1 times the width and 1.2 times the blocks",
    arguments=_arguments(width_multiplier=1.1, depth_multiplier=1.2),
    group_sizes=(1, 3, 3, 4, 4, 5, 1),
    input_size=260,
)

_SSD300_MOBILENET_V1 = ModelEntry(
    name="ssd300_mobilenet_v1",
    task=DETECTION,
    summary="SSD on MobileNetV1: a single-shot detector with 1,917 anchors at 300x300",
    reference="https://arxiv.org/abs/1512.02325",
    builder="condconv_keras.models.families.ssd:ssd300_mobilenet_v1",
    group_sizes=_MOBILENET_V1.group_sizes,
    recipe="ssd",
    input_offset=127.5,
    input_scale=127.5,
    arguments=_arguments(classes=90, bn_momentum=0.97),
    input_size=300,
    crop_fraction=1.0,
    interpolation="bilinear",
    backbone="mobilenet_v1",
    paper=(PaperFigures(1230, 20.3, 1.0), PaperFigures(730, 18.2, 0.75), PaperFigures(352, 14.4, 0.5)),
)

_LAST_THREE_GROUPS = CondConvPlacement(num_experts=8, start_group=5)


def _twin(plain, placement, **changes):
    name = f"condconv_{plain.name}"
    summary = f"{plain.summary}; CondConv, {placement.num_experts} experts"
    return dataclasses.replace(
        plain, **{"name": name, "summary": summary, "placement": placement, "paper": (), **changes}
    )


def _efficientnet_twin(plain, placement=_LAST_THREE_GROUPS, **changes):
    # The paper's dropout for the CondConv models is a recipe of its own.
    return _twin(plain, placement, **{"recipe": "efficientnet_condconv", **changes})


ENTRIES = (
    _MOBILENET_V1,
    _twin(
        _MOBILENET_V1,
        CondConvPlacement(num_experts=8, start_block=6, condconv_classifier=True),
        paper=(PaperFigures(600, 73.7),),
    ),
    _MOBILENET_V2,
    _twin(
        _MOBILENET_V2,
        CondConvPlacement(num_experts=8, start_block=2, condconv_head=True, condconv_classifier=True),
        paper=(PaperFigures(329, 74.6),),
    ),
    _MNASNET_A1,
    _twin(_MNASNET_A1, _LAST_THREE_GROUPS, paper=(PaperFigures(325, 76.2),)),
    _RESNET50,
    _twin(
        _RESNET50,
        CondConvPlacement(num_experts=8, start_group=4, condconv_shortcut=True),
        paper=(PaperFigures(4213, 78.6),),
    ),
    _EFFICIENTNET_B0,
    _efficientnet_twin(_EFFICIENTNET_B0, paper=(PaperFigures(413, 78.3),)),
    _efficientnet_twin(
        _EFFICIENTNET_B0,
        _LAST_THREE_GROUPS.replace(num_experts=4),
        name="condconv_efficientnet_b0_4e",
        paper=(PaperFigures(402, 77.8),),
    ),
    _EFFICIENTNET_B0_DEPTH,
    _efficientnet_twin(_EFFICIENTNET_B0_DEPTH, paper=(PaperFigures(614, 79.5),)),
    _EFFICIENTNET_LITE0,
    _efficientnet_twin(_EFFICIENTNET_LITE0),
    _EFFICIENTNET_LITE1,
    _efficientnet_twin(_EFFICIENTNET_LITE1),
    _EFFICIENTNET_LITE2,
    _efficientnet_twin(_EFFICIENTNET_LITE2),
    _SSD300_MOBILENET_V1,
    _twin(
        _SSD300_MOBILENET_V1,
        CondConvPlacement(num_experts=8, start_block=6),
        paper=(PaperFigures(1280, 22.4, 1.0), PaperFigures(755, 21.0, 0.75), PaperFigures(363, 18.0, 0.5)),
    ),
)
