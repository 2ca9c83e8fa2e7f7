"""The keywords of `create_model` and `build_model`, for type checkers and editors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from condconv_keras.models.options import Pooling, StridedPadding
from condconv_keras.models.placement import RoutingActivation, RoutingPer


class ModelArguments(TypedDict, total=False):
    """All keywords that models of the zoo take besides `weights`; each model takes some of them.

    Attributes:
        input_shape, include_top, pooling, classes, classifier_activation, dropout_rate, bn_momentum, bn_epsilon,
            padding: of every model, as of `NetworkOptions`.
        num_experts, start_block, start_stage, condconv_head, condconv_shortcut, condconv_classifier,
            condconv_predictors, routing_per, routing_activation: of a twin, as of `CondConvPlacement`.
        width_multiplier, depth_multiplier, stochastic_depth_rate: of some families, see `ModelEntry.keywords`.
    """

    input_shape: tuple[int | None, ...]
    include_top: bool
    pooling: Pooling | None
    classes: int
    classifier_activation: str | Callable[..., Any] | None
    dropout_rate: float
    bn_momentum: float
    bn_epsilon: float
    padding: StridedPadding

    num_experts: int
    start_block: int | None
    start_stage: int | None
    condconv_head: bool
    condconv_shortcut: bool
    condconv_classifier: bool
    condconv_predictors: bool
    routing_per: RoutingPer
    routing_activation: RoutingActivation

    width_multiplier: float
    depth_multiplier: float
    stochastic_depth_rate: float
