"""What the zoo knows of a model besides its code: how to build it, how to feed it, how it is trained."""

import dataclasses
import types
from collections.abc import Mapping

from condconv_keras.facts.model_card import CLASSIFICATION
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.models.placement import CondConvPlacement


@dataclasses.dataclass(frozen=True)
class PaperFigures:
    """What the CondConv paper or its authors' release reports of a model.

    Attributes:
        multiply_adds: for one image, in millions.
        accuracy: in percent: ImageNet top-1, or of a detector the mean average precision on COCO's minival.
        width_multiplier: the model's width, or None for the registered one.
    """

    multiply_adds: float
    accuracy: float
    width_multiplier: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """What a registered model needs to be built and used right.

    Attributes:
        name: registry name.
        task: `"classification"` or `"detection"`.
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
        backbone: of a detector, the registered classification model whose layers it has, and whose weights it can
            start from.
        paper: the `PaperFigures` of the model, the registered width first; empty if it has none.
    """

    name: str
    task: str = CLASSIFICATION
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
    backbone: str | None = None
    paper: tuple[PaperFigures, ...] = ()

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
