"""The conversion of a model: `to_condconv`."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import keras

from condconv_keras.convert.graph import graph_of, places
from condconv_keras.convert.report import Conversion, costs_of
from condconv_keras.convert.rewriting import Rewriting
from condconv_keras.convert.selection import Layers, Routers, chosen, deeper_half, shared_routers
from condconv_keras.convert.start import scale_new_routers, take_plain_weights
from condconv_keras.facts.created_models import remember_copy
from condconv_keras.layers import slice_strided_1x1
from condconv_keras.layers.routing import standardize_count
from condconv_keras.layers.routing_options import standardize_options
from condconv_keras.utils.annotations import Tensor
from condconv_keras.utils.errors import UserError
from condconv_keras.weights.expert_start import check_router_scale


def to_condconv(
    model: keras.Model,
    num_experts: int = 8,
    layers: Layers | None = None,
    routing: Routers = "layer",
    images: Tensor | None = None,
    *,
    warm_start: bool = True,
    router_scale: float | None = None,
    routing_options: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> keras.Model:
    """Returns a CondConv model of any Keras model: the same graph, with experts in some of its layers.

    It computes what the model computes, up to rounding, and its experts grow apart in training: each starts as 2 / n of
    the trained kernel, with routers whose weights sum to n / 2 for every input (`condconv_keras.weights.warm_start`).

    Args:
        model: built functional or sequential model, with models inside it, shared layers, several inputs and outputs.
            It stays as it is.
        num_experts: positive integer, of every converted layer.
        layers: which `Conv2D`, `DepthwiseConv2D`, `SeparableConv2D` and `Dense` layers get experts. None for the deeper
            half of the convolutions by multiply-adds, where experts pay most (paper, section 4), the dense layers that
            are called on feature maps among them, as in ConvNeXt. Or names and glob patterns, of layers or of their
            paths through models inside the model, `"encoder/conv_*"`. Or a function of a layer that returns whether it
            gets experts. Layers of other classes, of subclasses of these too, stay as they are.
        routing: `"layer"`: each converted layer has a router of its own. `"block"`: one for each block, whose layers
            have names such as `block_7_expand`, as in the paper. A dict of names of routers to names or patterns of the
            layers that share them. Or a function of a layer that returns the name of its router, None for its own. A
            shared router sees the input of the first of its layers.
        images: inputs of the model, as in training, some dozens. The logits of each router then have mean 0 and
            standard deviation `router_scale` over them. Without, features of a trained network may be so large that a
            router starts saturated, or so small that it tells no image from another.
        warm_start: whether the result computes what the model computes. False for experts of the layers' initializers
            and routers of zeros, to train from the start.
        router_scale: the standard deviation above, or without images the factor of the routers' initial weights.
            Default: 1, and 0 without a warm start. Positive with one: with equal weights its experts would stay equal.
        routing_options: dict of arguments of `Routing` for training, such as `temperature`, of all new routers.
        verbose: whether a line on standard error says which layers have experts now, and what they cost.

    Returns:
        A functional model, not compiled, of other variables. All but the converted layers has its names, weights,
        trainable flags and regularizers. The last layer in the place of a plain one has its name. Before it, a dense
        layer on features has a CondConv layer `NAME_condconv`, and a separable convolution `NAME_depthwise`. A frozen
        layer's experts are frozen, and so is a router all of whose layers are. The copy has the model's card, if that
        has one (`condconv_keras.card_of`).

    Raises:
        UserError: the model is no graph of layers; a pattern is that of no such layer; a constraint would change the
            experts, as `UnitNorm` does; layers that share a router lie in several models, or are called more than once.
        ValueError: an argument out of range.

    Examples:
        >>> plain = keras.applications.MobileNetV2()
        >>> twin = to_condconv(plain, num_experts=4, layers="block_1[0-6]_*", routing="block")
        >>> twin.predict(images)  # what plain.predict(images) is, until the experts are trained
    """
    conversion = converted(model, num_experts, layers, routing, images, warm_start, router_scale, routing_options)
    if verbose:
        print(conversion.text, file=sys.stderr)
    return conversion.model


def converted(
    model: keras.Model,
    num_experts: int,
    layers: Layers | None,
    routing: Routers,
    images: Tensor | None,
    warm_start: bool = True,
    router_scale: float | None = None,
    routing_options: Mapping[str, Any] | None = None,
) -> Conversion:
    """Returns the `Conversion` of a model by the arguments of `to_condconv`, with its errors."""
    num_experts = standardize_count(num_experts, "num_experts")
    router_scale = float(warm_start) if router_scale is None else router_scale
    if warm_start:
        check_router_scale(router_scale)
    elif not 0 <= router_scale < math.inf:
        raise UserError(f"expected a number of at least 0 in `router_scale`, received {router_scale!r}")
    routing_options = standardize_options(routing_options)
    graph = graph_of(model)
    every = places(graph)
    taken = deeper_half(every, costs_of(graph)) if layers is None else chosen(every, layers)
    shared = shared_routers(taken, routing)
    rewriting = Rewriting(model, taken, shared, num_experts, routing_options)
    # Batch normalization stays Keras's own: the fused one rounds in another order, which a deep network amplifies.
    twin = remember_copy(slice_strided_1x1(rewriting.model), model)
    if warm_start:
        take_plain_weights(rewriting.parts)
    scale_new_routers(twin, rewriting.parts, router_scale, images)
    return Conversion(twin, graph, every, taken, num_experts)
