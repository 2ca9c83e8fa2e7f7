"""The start of experts: values by which a CondConv layer computes, for every input, what one plain kernel W does.

- The sigmoid's routing weights of each example sum to n / 2 when one half of a router's columns is the negative of the
  other half, because sigmoid(z) + sigmoid(-z) = 1. There each of n experts is (2 / n) W.
- Those of a softmax sum to 1 whatever the router is. There each expert is W, and routers stay as they are.
- An anchored expert has the weight 1. It is W, the others are zero, and routers stay as they are.

In the first two the experts start equal, and the routers do not: an example gives expert i the gradient a_i g, and the
experts grow apart from the first step on. Routers of zeros and experts that differ by noise of zero sum compute the
same function, but there a router learns only from the product of the noise with the gradient: in our runs such experts
hardly moved, and weight decay brought them closer to each other instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from condconv_keras.layers import Routing
from condconv_keras.layers.base_cond_conv import BaseCondConv2D
from condconv_keras.layers.routers import routers
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import all_layers, calls_of, producer_of


def start_as_plain(model: keras.Model) -> None:
    """Lets every CondConv layer of a network begin with the function of its own first expert.

    A router has columns in pairs of opposite sign where its weights have to sum to n / 2; the expert without a partner,
    where n is odd, has a column of zeros.

    Args:
        model: functional model as it was built.

    Raises:
        UserError: as of `routing_activation`; the model is as it was.
    """
    layers = [layer for layer in all_layers(model) if isinstance(layer, BaseCondConv2D)]
    parts = [parts_of_experts(layer) for layer in layers]
    for layer, part in zip(layers, parts, strict=True):
        for bank in (layer.bank, layer.bias):
            if bank is not None:
                bank.assign(part[:, np.newaxis] * np.array(bank)[:1])
    for _, router in routers(model):
        pair_columns(router)


def check_router_scale(router_scale: float) -> None:
    """Raises a `UserError` for routers that would keep experts equal which start so: those of equal weights."""
    if not 0 < router_scale < math.inf:
        raise UserError(
            "expected a positive number in `router_scale`, where experts start as parts of one kernel: with equal "
            f"routing weights they would stay equal; received {router_scale!r}"
        )


def scale_routers(model: keras.Model, factor: float) -> None:
    """Multiplies the matrix R of every router of a network."""
    for _, router in routers(model):
        scale_router(router, factor)


def pair_columns(router: Routing) -> None:
    """Gives the variables of a router the columns of `first_columns`."""
    for variable in columns_of(router):
        variable.assign(first_columns(router, np.array(variable)))


def scale_router(router: Routing, factor: float) -> None:
    """Multiplies the matrix R of a router."""
    router.kernel.assign(np.array(router.kernel) * factor)


def router_of(layer: keras.Layer) -> Any:
    """The router that feeds a built CondConv layer: its own, or what its routing weights come from."""
    return layer.router or producer_of(calls_of(layer)[0].inputs[1])[0]


def parts_of_experts(layer: BaseCondConv2D) -> np.ndarray:
    """What each expert of a CondConv layer is of the plain kernel, [experts]; errors of `routing_activation`."""
    router, count = router_of(layer), layer.num_experts
    activation = routing_activation(layer, router)
    if router.options.anchored:
        return np.eye(count, dtype=np.float32)[0]
    return np.full(count, 1 if activation is keras.activations.softmax else 2 / count, np.float32)


def routing_activation(layer: keras.Layer, router: keras.Layer) -> Callable[..., Any]:
    """The activation of a layer's routing weights, whose sum it decides; raises a `UserError` for an unknown sum."""
    activation = router.activation if isinstance(router, Routing) else None
    if activation not in (keras.activations.sigmoid, keras.activations.softmax):
        received = router.get_config()["activation"] if isinstance(router, Routing) else router.name
        raise UserError(
            "CondConv layers start from plain ones where their routing weights are the sigmoid or the softmax of a "
            f"Routing layer: the sum of others is not known. Received: layer {layer.name!r} with {received!r}"
        )
    return activation


def columns_of(router: Routing) -> list[keras.Variable]:
    """The variables of a router that have a column for each expert: its kernel and, if it has one, its bias."""
    return [router.kernel] if router.bias is None else [router.kernel, router.bias]


def first_columns(router: Routing, columns: np.ndarray) -> np.ndarray:
    """A router's kernel or bias [..., experts] at the start: where weights have to sum to n / 2, in pairs."""
    if router.activation is not keras.activations.sigmoid or router.options.anchored:
        return columns
    half = columns.shape[-1] // 2
    first = columns[..., :half]
    return np.concatenate([first, -first, np.zeros_like(columns[..., 2 * half :])], axis=-1)
