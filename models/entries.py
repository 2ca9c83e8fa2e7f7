"""The registered models as data: how to build each, how to feed it, how it is trained, and what is reported for it."""

import dataclasses
import types
from collections.abc import Mapping

from condconv_keras.data.preprocessing import Preprocessing
from models.placement import CondConvPlacement


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """What a registered model needs to be built and used right.

    Attributes:
        name: registry name.
        summary: one line, what the network is.
        reference: address of the paper that describes it.
        builder: `"module:function"`, imported when a model is created.
        recipe: name of the training recipe.
        group_sizes: numbers of blocks of its groups, in order: what a placement may count, known before the network is
            built. A test compares it with the networks.
        input_offset, input_scale: the network is fed `(x - input_offset) / input_scale` for pixels x in [0, 255].
        placement: the paper's CondConv layers, or None for a plain model.
        arguments: further arguments of `create_model` that differ from its defaults.
        input_size: height and width of the input in pixels.
        channels: channels of the input.
        crop_fraction: side of the evaluation's centre crop, as a fraction of the image's shorter side.
        interpolation: `"bicubic"` or `"bilinear"`, how images are resized.
        counts_elementwise: whether the published multiply-adds of the family count squeeze-and-excitation's pooling
            and scaling, residual sums and the final pooling, one per element.
        paper_multiply_adds: multiply-adds for one image, in millions, as the CondConv paper or its authors' release
            reports them, or None.
        paper_top_1: their ImageNet top-1 accuracy in percent, or None.
    """

    name: str
    summary: str
    reference: str
    builder: str
    recipe: str
    group_sizes: tuple[int, ...]
    input_offset: float
    input_scale: float
    placement: CondConvPlacement | None = None
    arguments: Mapping = dataclasses.field(default_factory=lambda: types.MappingProxyType({}))
    input_size: int = 224
    channels: int = 3
    crop_fraction: float = 0.875
    interpolation: str = "bicubic"
    counts_elementwise: bool = False
    paper_multiply_adds: float | None = None
    paper_top_1: float | None = None

    def default_input_shape(self, data_format):
        """Shape of one input image, without the batch axis."""
        size = (self.input_size, self.input_size)
        return (self.channels, *size) if data_format == "channels_first" else (*size, self.channels)

    def preprocessing(self, **changes):
        """Returns the `Preprocessing` of the model's images; `changes` replace fields of it that are not None."""
        fields = {
            "input_size": (self.input_size, self.input_size),
            "channels": self.channels,
            "offset": self.input_offset,
            "scale": self.input_scale,
            "interpolation": self.interpolation,
            "crop_fraction": self.crop_fraction,
        }
        return Preprocessing(**{**fields, **{name: value for name, value in changes.items() if value is not None}})


def _arguments(**arguments):
    return types.MappingProxyType(arguments)


_MOBILENET_V1 = ModelEntry(
    name="mobilenet_v1",
    summary="MobileNetV1: depthwise separable convolutions",
    reference="https://arxiv.org/abs/1704.04861",
    builder="models.mobilenet_v1:mobilenet_v1",
    group_sizes=(1, 2, 2, 6, 2),
    recipe="mobilenet",
    input_offset=127.5,
    input_scale=127.5,
    arguments=_arguments(bn_momentum=0.9),
    paper_multiply_adds=567,
    paper_top_1=71.9,
)
_MOBILENET_V2 = dataclasses.replace(
    _MOBILENET_V1,
    name="mobilenet_v2",
    summary="MobileNetV2: inverted residuals with linear bottlenecks",
    reference="https://arxiv.org/abs/1801.04381",
    builder="models.mobilenet_v2:mobilenet_v2",
    group_sizes=(1, 2, 3, 4, 3, 3, 1),
    counts_elementwise=True,
    paper_multiply_adds=301,
    paper_top_1=71.6,
)
_RESNET50 = dataclasses.replace(
    _MOBILENET_V1,
    name="resnet50",
    summary="ResNet-50 v1.5: residual bottlenecks, the stride on the 3x3 convolution",
    reference="https://arxiv.org/abs/1512.03385",
    builder="models.resnet50:resnet50",
    group_sizes=(3, 4, 6, 3),
    counts_elementwise=True,
    paper_multiply_adds=4093,
    paper_top_1=77.7,
)
_EFFICIENTNET_B0 = ModelEntry(
    name="efficientnet_b0",
    summary="EfficientNet-B0: inverted residuals with squeeze-and-excitation, swish",
    reference="https://arxiv.org/abs/1905.11946",
    builder="models.efficientnet:efficientnet",
    group_sizes=(1, 2, 2, 3, 3, 4, 1),
    recipe="efficientnet",
    input_offset=127.0,
    input_scale=128.0,
    counts_elementwise=True,
    paper_multiply_adds=391,
    paper_top_1=77.2,
)
_EFFICIENTNET_B0_DEPTH = dataclasses.replace(
    _EFFICIENTNET_B0,
    name="efficientnet_b0_depth",
    summary="EfficientNet-B0 with 1.1 times the blocks",
    arguments=_arguments(depth_multiplier=1.1),
    group_sizes=(2, 3, 3, 4, 4, 5, 2),
    paper_multiply_adds=None,
    paper_top_1=None,
)
_MNASNET_A1 = dataclasses.replace(
    _EFFICIENTNET_B0,
    name="mnasnet_a1",
    summary="MnasNet-A1: inverted residuals of searched sizes, squeeze-and-excitation in three groups",
    reference="https://arxiv.org/abs/1807.11626",
    builder="models.mnasnet_a1:mnasnet_a1",
    group_sizes=(1, 2, 3, 4, 2, 3, 1),
    recipe="mnasnet",
    counts_elementwise=False,
    paper_multiply_adds=312,
    paper_top_1=74.9,
)
_EFFICIENTNET_LITE0 = dataclasses.replace(
    _EFFICIENTNET_B0_DEPTH,
    name="efficientnet_lite0",
    summary="EfficientNet-Lite0: B0 without squeeze-and-excitation, with ReLU6, for phones",
    reference="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
    builder="models.efficientnet:efficientnet_lite",
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

_LAST_THREE_GROUPS = CondConvPlacement(num_experts=8, start_group=5)


def _twin(plain, placement, **changes):
    name = f"condconv_{plain.name}"
    summary = f"{plain.summary}; CondConv, {placement.num_experts} experts"
    figures = {"paper_multiply_adds": None, "paper_top_1": None}
    return dataclasses.replace(
        plain, **{"name": name, "summary": summary, "placement": placement, **figures, **changes}
    )


def _efficientnet_twin(plain, placement=_LAST_THREE_GROUPS, **changes):
    # The paper's dropout for the CondConv models is a recipe of its own.
    return _twin(plain, placement, **{"recipe": "efficientnet_condconv", **changes})


ENTRIES = (
    _MOBILENET_V1,
    _twin(
        _MOBILENET_V1,
        CondConvPlacement(num_experts=8, start_block=6, condconv_classifier=True),
        paper_multiply_adds=600,
        paper_top_1=73.7,
    ),
    _MOBILENET_V2,
    _twin(
        _MOBILENET_V2,
        CondConvPlacement(num_experts=8, start_block=2, condconv_head=True, condconv_classifier=True),
        paper_multiply_adds=329,
        paper_top_1=74.6,
    ),
    _MNASNET_A1,
    _twin(_MNASNET_A1, _LAST_THREE_GROUPS, paper_multiply_adds=325, paper_top_1=76.2),
    _RESNET50,
    _twin(
        _RESNET50,
        CondConvPlacement(num_experts=8, start_group=4, condconv_shortcut=True),
        paper_multiply_adds=4213,
        paper_top_1=78.6,
    ),
    _EFFICIENTNET_B0,
    _efficientnet_twin(_EFFICIENTNET_B0, paper_multiply_adds=413, paper_top_1=78.3),
    _efficientnet_twin(
        _EFFICIENTNET_B0,
        _LAST_THREE_GROUPS.replace(num_experts=4),
        name="condconv_efficientnet_b0_4e",
        paper_multiply_adds=402,
        paper_top_1=77.8,
    ),
    _EFFICIENTNET_B0_DEPTH,
    _efficientnet_twin(_EFFICIENTNET_B0_DEPTH, paper_multiply_adds=614, paper_top_1=79.5),
    _EFFICIENTNET_LITE0,
    _efficientnet_twin(_EFFICIENTNET_LITE0),
    _EFFICIENTNET_LITE1,
    _efficientnet_twin(_EFFICIENTNET_LITE1),
    _EFFICIENTNET_LITE2,
    _efficientnet_twin(_EFFICIENTNET_LITE2),
)
