"""Which layers of a network are CondConv layers."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

RoutingPer: TypeAlias = Literal["block", "layer", "network"]
RoutingActivation: TypeAlias = Literal["sigmoid", "softmax"]
ROUTING_PER = get_args(RoutingPer)
ROUTING_ACTIVATIONS = get_args(RoutingActivation)
# The fields of a placement that ask for a CondConv layer which not every network has.
PARTS = ("condconv_head", "condconv_shortcut", "condconv_classifier", "condconv_predictors")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CondConvPlacement:
    """Where a CondConv twin differs from its plain network.

    Blocks and stages are counted from 1, in the order of the forward pass, the stem not included. A stage is a row of
    the family's block table: blocks of one width.

    Attributes:
        num_experts: positive integer, experts of every CondConv layer (paper: n).
        start_block: first CondConv block; all later blocks are CondConv too. One past the last block: no block is.
        start_stage: first CondConv stage, in place of `start_block`; exactly one of the two is given. One past the
            last stage: no block is.
        condconv_head: whether the 1x1 convolution after the blocks is a CondConv layer, routed by its input.
        condconv_shortcut: whether the projection shortcuts of CondConv blocks are CondConv layers.
        condconv_classifier: whether the classifier is a CondConv layer, routed by the pooled features.
        condconv_predictors: whether a detector's box and class predictors are CondConv layers, routed by their feature
            map.
        routing_per: the unit that has a router of its own: each `"block"` (paper, section 3), each CondConv `"layer"`,
            fed by that layer's input, or the `"network"`, fed by the input of its first CondConv block.
        routing_activation: `"sigmoid"` (paper, section 3) or `"softmax"` (its ablation, section 5).

    Raises:
        ValueError: a number that is not a positive integer; both or neither of `start_block` and `start_stage`; a
            routing that is not one of those above.
    """

    num_experts: int
    start_block: int | None = None
    start_stage: int | None = None
    condconv_head: bool = False
    condconv_shortcut: bool = False
    condconv_classifier: bool = False
    condconv_predictors: bool = False
    routing_per: RoutingPer = "block"
    routing_activation: RoutingActivation = "sigmoid"

    def __post_init__(self) -> None:
        for name in ("num_experts", "start_block", "start_stage"):
            value = getattr(self, name)
            if value is None and name != "num_experts":
                continue
            if not is_integer(value, minimum=1):
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
            object.__setattr__(self, name, int(value))
        if (self.start_block is None) == (self.start_stage is None):
            raise ValueError(
                "Exactly one of `start_block` and `start_stage` must be given. "
                f"Received: start_block={self.start_block}, start_stage={self.start_stage}"
            )

        for name, choices in (("routing_per", ROUTING_PER), ("routing_activation", ROUTING_ACTIVATIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={getattr(self, name)!r}")

    def replace(self, **changes: Any) -> CondConvPlacement:
        """Returns a changed copy; a new `start_block` takes the place of a `start_stage`, and the other way round."""
        for given, other in (("start_block", "start_stage"), ("start_stage", "start_block")):
            if changes.get(given) is not None:
                changes.setdefault(other, None)
        return dataclasses.replace(self, **changes)

    def first_block(self, stage_sizes: Sequence[int]) -> int:
        """The number of the first CondConv block in a network whose stages have these numbers of blocks.

        Raises:
            ValueError: the network has fewer blocks or stages.
        """
        name, count = "start_stage", len(stage_sizes)
        if self.start_stage is None:
            name, count = "start_block", sum(stage_sizes)
        start: int = getattr(self, name)
        if start > count + 1:
            raise ValueError(
                f"`{name}` must be between 1 and {count + 1} for {count} {name[6:]}s. Received: {name}={start}"
            )
        return start if name == "start_block" else sum(stage_sizes[: start - 1]) + 1


def is_integer(value: object, minimum: int) -> bool:
    """Whether a value is an integer, of Python or NumPy, of at least `minimum`."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= minimum
