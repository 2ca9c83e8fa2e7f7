"""The arguments that every network of the zoo takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

from condconv_keras.models.placement import CondConvPlacement, is_integer

Pooling: TypeAlias = Literal["avg", "max"]
StridedPadding: TypeAlias = Literal["same", "symmetric"]
_POOLING = (None, *get_args(Pooling))
_PADDING = get_args(StridedPadding)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """The arguments of a network, besides those that its family alone has.

    Attributes:
        name: name of the model.
        input_shape: one image, without the batch axis, in the order of `keras.config.image_data_format()`. Height and
            width are at least 32, or None for any size; a detector needs known ones, at least 96. Any channels.
        placement: `CondConvPlacement`, or None for the plain network.
        include_top: whether the model ends in the classifier; if not, in the feature map or what `pooling` makes of it.
        pooling: None, `"avg"` or `"max"`: without the classifier, the global pooling of the output.
        classes: number of classes, without a detector's background.
        classifier_activation: name or callable; None for logits.
        dropout_rate: fraction of the pooled features that is dropped before the classifier in training, in [0, 1).
        bn_momentum: momentum of every batch normalization, in [0, 1).
        bn_epsilon: epsilon of every batch normalization, positive.
        padding: padding of convolutions with stride 2: `"same"` is TensorFlow's SAME; `"symmetric"` pads both sides
            alike, as weights trained in PyTorch need. At stride 1 the two are equal.

    Raises:
        ValueError: a value out of range.
    """

    name: str
    input_shape: tuple[int | None, ...]
    placement: CondConvPlacement | None = None
    include_top: bool = True
    pooling: Pooling | None = None
    classes: int = 1000
    classifier_activation: str | Callable[..., Any] | None = None
    dropout_rate: float = 0.0
    bn_momentum: float = 0.99
    bn_epsilon: float = 1e-3
    padding: StridedPadding = "same"

    def __post_init__(self) -> None:
        if self.pooling not in _POOLING:
            raise ValueError(f"`pooling` must be one of {_POOLING}. Received: pooling={self.pooling!r}")
        if self.padding not in _PADDING:
            raise ValueError(f"`padding` must be one of {_PADDING}. Received: padding={self.padding!r}")
        if not is_integer(self.classes, minimum=1):
            raise ValueError(f"`classes` must be a positive integer. Received: classes={self.classes!r}")
        object.__setattr__(self, "classes", int(self.classes))
        if not self.bn_epsilon > 0:
            raise ValueError(f"`bn_epsilon` must be positive. Received: bn_epsilon={self.bn_epsilon!r}")
        for name in ("dropout_rate", "bn_momentum"):
            check_rate(name, getattr(self, name))


def check_rate(name: str, value: float) -> None:
    """Raises a ValueError unless the value is a number in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"`{name}` must be in [0, 1). Received: {name}={value!r}")


def check_width(width_multiplier: float) -> None:
    """Raises a ValueError unless the width multiplier is positive."""
    if not width_multiplier > 0:
        raise ValueError(f"`width_multiplier` must be positive. Received: width_multiplier={width_multiplier!r}")
