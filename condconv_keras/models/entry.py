"""What the zoo knows of a model besides its code: how to build it, how to feed it, how it is trained."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from condconv_keras.facts.foreign_networks import ForeignNetwork
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.facts.preprocessing import Interpolation, Preprocessing
from condconv_keras.facts.published_weights import PublishedWeights
from condconv_keras.models.placement import PARTS, CondConvPlacement
from condconv_keras.utils.lazy import keras

_MAPPINGS = ("arguments", "card_fields", "foreign", "look_alikes")


@dataclasses.dataclass(frozen=True)
class PaperFigures:
    """What the CondConv paper or its authors' release reports of a model.

    Attributes:
        multiply_adds: for one image, in millions.
        accuracy: in percent.
        width_multiplier: the model's width, or None for the registered one.
        metric: what the accuracy is: `"top_1"` on ImageNet, or `"map"`, the mean average precision on COCO's minival.
    """

    multiply_adds: float
    accuracy: float
    width_multiplier: float | None = None
    metric: str = "top_1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A registered model: all that it takes to build it and to use it right.

    Attributes:
        name: registry name.
        card: class of the model's card, a `ModelCard` or subclass, which is that of its task.
        summary: one line, what the network is.
        reference: address of the paper that describes it.
        builder: function of `NetworkOptions` and the keywords of its family that builds the network. Its signature says
            which these are.
        stages: function of those keywords, as many as it needs, that returns the numbers of blocks of the network's
            stages in order: what a placement may count. It needs no Keras, nor does importing the family.
        parts: the `PARTS` of a placement that the network has layers for.
        always_conditional: parts of a twin that are conditional whatever its placement says, in words for its card.
        dataset: TFDS name of the data that the paper trains it on.
        recipe: name of the training recipe for it.
        input_mean: the network is fed `(x - input_mean) / input_std` for pixels x in [0, 255].
        input_std: see `input_mean`.
        placement: the paper's CondConv layers, or None for a plain model.
        arguments: further arguments of `create_model` that differ from its defaults.
        input_size: height and width of the input in pixels.
        channels: channels of the input.
        crop_fraction: side of the evaluation's center crop, as a fraction of the image's shorter side.
        interpolation: `"bicubic"` or `"bilinear"`, how images are resized.
        counts_elementwise: whether the published multiply-adds of the family count squeeze-and-excitation's pooling
            and scaling, residual sums and the final pooling, one per element.
        backbone: the registered classification model whose layers a detector has, and whose weights it can start from.
        card_fields: the fields of the card that the network itself decides, such as a detector's anchors.
        paper: the `PaperFigures` of the model, the registered width first; empty if it has none.
        published: the `PublishedWeights` of the model, the default first; empty if there are none.
        foreign: by code base, as in `"timm"`, the `ForeignNetwork`s whose weights the model takes, the default first.
        look_alikes: by code base, why its network of the same name is another one.
    """

    name: str
    card: type[ModelCard] = ModelCard
    summary: str
    reference: str
    builder: Callable[..., keras.Model]
    stages: Callable[..., tuple[int, ...]]
    parts: tuple[str, ...] = ()
    always_conditional: tuple[str, ...] = ()
    dataset: str = "imagenet2012"
    recipe: str = "small"
    input_mean: float = 127.5
    input_std: float = 127.5
    placement: CondConvPlacement | None = None
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    input_size: int = 224
    channels: int = 3
    crop_fraction: float = 0.875
    interpolation: Interpolation = "bicubic"
    counts_elementwise: bool = False
    backbone: str | None = None
    card_fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    paper: tuple[PaperFigures, ...] = ()
    published: tuple[PublishedWeights, ...] = ()
    foreign: Mapping[str, tuple[ForeignNetwork, ...]] = dataclasses.field(default_factory=dict)
    look_alikes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _MAPPINGS:
            object.__setattr__(self, name, types.MappingProxyType(dict(getattr(self, name))))

    @property
    def task(self) -> str:
        """The name of the model's task, one of `condconv_keras.facts.model_card.TASKS`."""
        return self.card.task

    def make_card(self, class_names: Iterable[str], preprocessing: Preprocessing, **further: Any) -> ModelCard:
        """Returns the card of the model with these classes and this `Preprocessing`.

        Args:
            class_names: sequence of strings.
            preprocessing: `Preprocessing`.
            **further: fields that the cards of the task have besides.
        """
        return self.card(self.name, tuple(class_names), preprocessing, **self.card_fields, **further)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The names of the arguments that the family alone has, as in `"width_multiplier"`."""
        return _keywords(self.builder)[1:]  # after the options

    @property
    def stage_sizes(self) -> tuple[int, ...]:
        """The numbers of blocks of the network's stages as it is registered."""
        return self.stages(**{name: self.arguments[name] for name in _keywords(self.stages) if name in self.arguments})

    def has_routers(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the network that is built with these arguments of `create_model` has a CondConv layer.

        Raises:
            ValueError: they place CondConv layers where the network has none.
        """
        if self.placement is None:
            return False
        fields = {field.name for field in dataclasses.fields(self.placement)}
        placement = self.placement.replace(**{name: arguments[name] for name in fields & arguments.keys()})
        has_blocks = placement.first_block(self.stage_sizes) <= sum(self.stage_sizes)
        return has_blocks or bool(self.always_conditional) or any(getattr(placement, part) for part in PARTS)

    def twin(self, placement: CondConvPlacement, **changes: Any) -> ModelEntry:
        """Returns the entry of the model's CondConv twin.

        Args:
            placement: the twin's `CondConvPlacement`.
            **changes: fields that differ besides. Figures and weights are not those of the plain model.
        """
        fields = {
            "name": f"condconv_{self.name}",
            "summary": f"{self.summary}; CondConv, {placement.num_experts} experts",
            "placement": placement,
            "paper": (),
            "published": (),
            "foreign": {},
        }
        return dataclasses.replace(self, **{**fields, **changes})

    def default_input_shape(self, data_format: str) -> tuple[int, int, int]:
        """Shape of one input image, without the batch axis."""
        size = (self.input_size, self.input_size)
        return (self.channels, *size) if data_format == "channels_first" else (*size, self.channels)

    def preprocessing(self, **changes: Any) -> Preprocessing:
        """Returns the `Preprocessing` of the model's images; `changes` replace fields of it that are not None."""
        fields = {
            "input_size": (self.input_size, self.input_size),
            "channels": self.channels,
            "mean": self.input_mean,
            "std": self.input_std,
            "interpolation": self.interpolation,
            "crop_fraction": self.crop_fraction,
        }
        return Preprocessing(**{**fields, **{name: value for name, value in changes.items() if value is not None}})


def _keywords(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)
