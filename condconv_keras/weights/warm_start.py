"""Warm start: a network begins with the weights of a trained one, a CondConv network with those of its plain twin.

`condconv_keras.weights.expert_start` says by which values a CondConv layer computes the plain one.

With SGD the mixed kernel moves sum a_i^2 times as far as the plain one would, about n / 4: expert i takes a step of
a_i g, about g / 2, and counts a_i, about 1 / 2. The learning rate may stay: with n = 8 the plain network's did better
than half of it (`docs/results/warm_start.json`).
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from condconv_keras.layers import Routing, fold_routing
from condconv_keras.layers.base_cond_conv import BaseCondConv2D
from condconv_keras.layers.folding import is_pinned
from condconv_keras.utils.annotations import Tensor
from condconv_keras.utils.errors import UserError
from condconv_keras.weights.assign import assign_weights
from condconv_keras.weights.expert_start import (
    check_router_scale,
    columns_of,
    first_columns,
    parts_of_experts,
    routing_activation,
)
from condconv_keras.weights.router_fit import fit_normalization, fit_router, router_features
from condconv_keras.weights.source import WeightSource

# What decides, besides its variables, what a layer computes; names of the layers' configurations.
_SETTINGS = (
    "kernel_size",
    "pool_size",
    "strides",
    "padding",
    "dilation_rate",
    "groups",
    "depth_multiplier",
    "activation",
    "epsilon",
)
_SHOWN = 10


def warm_start(
    model: keras.Model,
    source: keras.Model,
    images: Tensor | None = None,
    skip_layers: Collection[str] = (),
    router_scale: float = 1.0,
) -> None:
    """Gives a model the weights of a trained one, so that both compute the same function.

    Layers and variables are paired by name, and what both models have is copied. A CondConv layer whose counterpart is
    a plain convolution gets n experts of 2 / n of its kernel, and of its bias. A new router keeps the first half of its
    initial columns, and the second half becomes their negative; the expert without a partner, where n is odd, has a
    router of zeros. With a softmax for the routing weights each expert is the whole kernel, and a new router keeps its
    initial columns. With an anchored expert that one is the kernel, the others are zero.

    A source with options of training is taken as of `condconv_keras.layers.fold_routing`. In the model, a router that
    comes from one keeps its function where its input is batch-normalized; a temperature divides its logits.

    Args:
        model: functional model as it was built: the CondConv twin of `source`, or a model of the same layers.
        source: trained functional model. Its input size may be another.
        images: inputs of the model [batch, height, width, channels], scaled as in training, some dozens. Each column
            of a new router is then shifted and scaled so that its output before the activation has mean 0 and standard
            deviation 1 over them. Without, the features of a trained network may be so large that a router starts
            saturated, or so small that it tells no example from another.
        skip_layers: names of layers that are left out of both models and keep their weights in `model`, such as a
            classifier of other classes.
        router_scale: positive, the standard deviation that the images have in place of 1.

    Raises:
        UserError: the models differ in a layer, in the shape of a variable, or in a setting such as padding or the
            epsilon of batch normalization; a CondConv layer has no plain counterpart of one function, as its routing
            weights are no sigmoid or softmax of a router; or an expert is anchored that is none in `source`. The
            message names the first ten, and `model` is as it was. So it is if `router_scale` is not positive and
            experts start from plain layers, all equal: with equal weights they would stay so.

    Examples:
        >>> plain, _ = load_model("plain.keras")
        >>> twin = create_model("condconv_mobilenet_v1", num_experts=4, classes=10)
        >>> warm_start(twin, plain, images)  # twin(x) is now plain(x), up to rounding, for every x
    """
    source = fold_routing(source)
    skipped = [layer for layer in model.layers if layer.name in skip_layers]
    targets = [layer for layer in model.layers if layer.name not in skip_layers]
    sources = [layer for layer in source.layers if layer.name not in skip_layers]
    _check_settings(model, source, targets, sources)
    routed = {layer.name: _router(layer) for layer in sources if _router(layer)}
    new_routers = [layer for layer in targets if _router(layer) and layer.name not in routed]
    old_routers = [layer for layer in targets if _router(layer) and layer.name in routed]
    _check_anchors(old_routers, routed)
    tensors = _values(sources) | _values(skipped) | _first_routers(new_routers) | _own_variables(old_routers)
    is_plain = not any(isinstance(layer, BaseCondConv2D) for layer in sources)
    if is_plain and new_routers:
        check_router_scale(router_scale)

    def find(layer: keras.Layer, variable_name: str) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
        key = _key(layer, variable_name)
        if is_plain and isinstance(layer, BaseCondConv2D) and key not in tensors:
            is_bias = variable_name == "condconv_bias"
            convert = functools.partial(_experts, layer, is_bias, parts_of_experts(layer))
            return f"{layer.name}/{'bias' if is_bias else 'kernel'}", convert
        return key, lambda value: value

    assign_weights(model, WeightSource(f"the model {source.name!r}", tensors, find))
    if images is not None:
        _fit_routers(model, new_routers, old_routers, images, router_scale)


def _check_settings(
    model: keras.Model, source: keras.Model, targets: Sequence[keras.Layer], sources: Sequence[keras.Layer]
) -> None:
    """Raises a `UserError` if layers of one name compute different functions of their variables."""
    configs = {layer.name: layer.get_config() for layer in sources}
    layers_of = collections.defaultdict(list)
    for layer in targets:
        mine, theirs = layer.get_config(), configs.get(layer.name, {})
        for setting in _SETTINGS:
            if setting in mine and setting in theirs and mine[setting] != theirs[setting]:
                layers_of[f"{setting} is {mine[setting]!r}, not {theirs[setting]!r}"].append(layer.name)
    if layers_of:
        problems = [f"{difference}, in {_named(names)}" for difference, names in layers_of.items()]
        raise UserError(
            f"the model {model.name!r} would compute another function than the model {source.name!r}; build it with "
            f"the same padding, bn_epsilon and so on: {'; '.join(problems[:_SHOWN])}"
        )


def _named(layers: Sequence[str]) -> str:
    return f"{layers[0]} and {len(layers) - 1} more layers" if layers[1:] else layers[0]


def _router(layer: keras.Layer) -> Any:
    """The router that a layer is or, as a CondConv layer, has of its own; None for other layers."""
    if isinstance(layer, BaseCondConv2D):
        return layer.router
    return layer if isinstance(layer, Routing) else None


def _key(layer: keras.Layer, variable_name: str) -> str:
    # The variables of a CondConv layer's own router are called as those of a plain convolution.
    own_router = isinstance(layer, BaseCondConv2D) and variable_name in ("kernel", "bias")
    return f"{layer.name}/{'router/' if own_router else ''}{variable_name}"


def _values(layers: Iterable[keras.Layer]) -> dict[str, np.ndarray]:
    return {_key(layer, variable.name): np.array(variable) for layer in layers for variable in layer.weights}


def _experts(layer: BaseCondConv2D, is_bias: bool, parts: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """The bank of experts, each of which is a part of a plain kernel or bias."""
    expert_shape = (layer.spec.filters,) if is_bias else layer.spec.expert_shape
    if plain.shape != expert_shape:
        raise ValueError(f"expected the shape {expert_shape}. Received: {plain.shape}")
    return parts[:, np.newaxis] * plain.reshape(1, -1)


def _first_routers(layers: Iterable[keras.Layer]) -> dict[str, np.ndarray]:
    """The variables of the layers' new routers: for the sigmoid columns in pairs of opposite sign."""
    values = _own_variables(layers)
    for layer in layers:
        router = _router(layer)
        routing_activation(layer, router)
        for variable in columns_of(router):
            values[_key(layer, variable.name)] = first_columns(router, np.array(variable))
    return values


def _own_variables(layers: Iterable[keras.Layer]) -> dict[str, np.ndarray]:
    """The variables of the layers' routers that a folded model does not have: those of options of training."""
    return {
        _key(layer, variable.name): np.array(variable)
        for layer in layers
        for variable in _router(layer).weights
        if variable.name not in ("kernel", "bias")
    }


def _check_anchors(layers: Iterable[keras.Layer], sources: Mapping[str, Any]) -> None:
    """Raises a `UserError` for a router that pins the first of its experts, which another weight has trained."""
    for layer in layers:
        if _router(layer).options.anchored and not is_pinned(sources[layer.name]):
            raise UserError(
                f"an anchored expert starts from a plain network or from an anchored expert, the router of "
                f"{layer.name!r} has trained experts of other weights"
            )


def _fit_routers(
    model: keras.Model, new: Sequence[keras.Layer], old: Sequence[keras.Layer], images: Tensor, scale: float
) -> None:
    """Fits routers to the images that their features are known of.

    The columns of new ones are shifted and scaled: mean 0 and standard deviation `scale` over the images, before the
    activation. Mirrored columns stay mirrored, so the model still computes the same, and one pass serves all routers.
    Where the input of an old one is batch-normalized, its columns take that back.
    """
    layers = [*new, *(layer for layer in old if _router(layer).normalization is not None)]
    features = router_features(model, [_router(layer) for layer in layers], images)
    for layer, values in zip(layers, features, strict=True):
        if layer in new:
            fit_router(_router(layer), values, scale)
            continue
        router = _router(layer)
        mean, deviation = fit_normalization(router, values)
        kernel = np.array(router.kernel)
        router.kernel.assign(kernel * deviation[:, np.newaxis])
        if router.use_bias:
            router.bias.assign(np.array(router.bias) + mean @ kernel)
