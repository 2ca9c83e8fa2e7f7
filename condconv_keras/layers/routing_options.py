"""What helps routers to learn, and is no part of the network that they leave: options of `Routing` for training."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any

from keras import ops

from condconv_keras.utils.annotations import Tensor

# Of the routers' batch normalization. Small data has few steps, which a slower mean would not follow.
MOMENTUM, EPSILON = 0.9, 1e-3
_TEMPERATURES = 2.0**-126, 2.0**126


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoutingOptions:
    """The options of a router in training. The defaults are the authors' router, which has none of them.

    Attributes:
        temperature: positive number that the logits are divided by at the start, or None for none.
        normalize_inputs: whether the pooled features are batch-normalized before R.
        anchored: whether the routing weight of the first expert is 1 for every image.
        expert_dropout: probability in [0, 1) that a routing weight is dropped.
        diversity_penalty: factor of at least 0 of `similarity` in the loss.
        balance_penalty: factor of at least 0 of `imbalance` in the loss.

    Raises:
        ValueError: a value out of range.
    """

    temperature: float | None = None
    normalize_inputs: bool = False
    anchored: bool = False
    expert_dropout: float = 0.0
    diversity_penalty: float = 0.0
    balance_penalty: float = 0.0

    def __post_init__(self) -> None:
        ranges = {
            "temperature": (*_TEMPERATURES, "a positive number whose inverse is one in float32, or None"),
            "expert_dropout": (0, 1, "in [0, 1)"),
            "diversity_penalty": (0, math.inf, "a number of at least 0"),
            "balance_penalty": (0, math.inf, "a number of at least 0"),
        }
        for name, (least, end, expected) in ranges.items():
            value = getattr(self, name)
            # A comparison with NaN is false, so none passes.
            is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if not (is_number and least <= value < end) and (name, value) != ("temperature", None):
                raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")

    def chosen(self) -> dict[str, Any]:
        """Returns the options that differ from their defaults, by name: nothing for the authors' router."""
        default = RoutingOptions()
        values = {name: getattr(self, name) for name in OPTION_NAMES}
        return {name: value for name, value in values.items() if value != getattr(default, name)}

    def penalty(self, routing_weights: Tensor) -> Tensor | None:
        """Returns what the routing weights [batch, experts] of a batch add to the loss, a scalar; None for nothing."""
        terms = [
            factor * measure(routing_weights)
            for factor, measure in ((self.diversity_penalty, similarity), (self.balance_penalty, imbalance))
            if factor
        ]
        return sum(terms[1:], terms[0]) if terms else None


OPTION_NAMES = tuple(field.name for field in dataclasses.fields(RoutingOptions))


def similarity(routing_weights: Tensor) -> Tensor:
    """How alike the images of a batch are routed: minus the variance of an expert's weight, the mean over the experts.

    In [-1/4, 0] for weights in (0, 1). It is the variance term of "Conditional Computation in Neural Networks for
    Faster Models" (arXiv 1511.06297), as a mean instead of a sum over the experts.
    """
    deviations = routing_weights - _mean_of_images(routing_weights)
    return -ops.mean(_mean_of_images(ops.square(deviations)))


def imbalance(routing_weights: Tensor) -> Tensor:
    """How far the experts' mean weights in a batch are from each other: their squared coefficient of variation.

    At least 0. It is the importance loss of "Outrageously Large Neural Networks" (arXiv 1701.06538), section 4.
    """
    means = _mean_of_images(routing_weights)
    return ops.var(means) / (ops.square(ops.mean(means)) + 1e-10)


def _mean_of_images(values: Tensor) -> Tensor:
    """The mean over the batch; 0 of an empty one, as that of a device that the last images do not reach."""
    count = ops.cast(ops.shape(values)[0], values.dtype)
    return ops.sum(values, axis=0) / ops.maximum(count, 1)


def standardize_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The chosen options of a layer's own router; raises a ValueError for one that a router does not have."""
    options = dict(options or {})
    if not set(options) <= set(OPTION_NAMES):
        raise ValueError(f"`routing_options` must have names of {OPTION_NAMES}. Received: routing_options={options!r}")
    return RoutingOptions(**options).chosen()
