"""Warm start: a network begins with the weights of a trained one, a CondConv network with those of its plain twin.

A CondConv layer of n experts computes the plain layer of kernel W, for every input, if each expert is (2 / n) W and the
routing weights of each example sum to n / 2. They do when one half of a router's columns is the negative of the other
half, because sigmoid(z) + sigmoid(-z) = 1.

Routing weights from a softmax sum to 1 whatever the router is: there each expert is W, and routers stay as they are.

So the experts start equal, and the routers do not: an example gives expert i the gradient a_i g, and the experts grow
apart from the first step on. Routers of zeros and experts that differ by noise of zero sum compute the same function,
but there a router learns only from the product of the noise with the gradient: in our runs such experts hardly moved,
and weight decay brought them closer to each other instead.

With SGD the mixed kernel moves sum a_i^2 times as far as the plain one would, about n / 4: expert i takes a step of
a_i g, about g / 2, and counts a_i, about 1 / 2. The learning rate may stay: with n = 8 the plain network's did better
than half of it (`docs/results/warm_start.json`).
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from condconv_keras.layers import Routing
from condconv_keras.layers.base_cond_conv import BaseCondConv2D
from condconv_keras.utils.annotations import Tensor
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import calls_of, producer_of
from condconv_keras.weights.assign import assign_weights
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
    model: keras.Model, source: keras.Model, images: Tensor | None = None, skip_layers: Collection[str] = ()
) -> None:
    """Gives a model the weights of a trained one, so that both compute the same function.

    Layers and variables are paired by name, and what both models have is copied. A CondConv layer whose counterpart is
    a plain convolution gets n experts of 2 / n of its kernel, and of its bias. A new router keeps the first half of its
    initial columns, and the second half becomes their negative; the expert without a partner, where n is odd, has a
    router of zeros. With a softmax for the routing weights each expert is the whole kernel, and a new router keeps its
    initial columns.

    Args:
        model: functional model as it was built: the CondConv twin of `source`, or a model of the same layers.
        source: trained functional model. Its input size may be another.
        images: inputs of the model [batch, height, width, channels], scaled as in training, some dozens. Each column
            of a new router is then shifted and scaled so that its output before the activation has mean 0 and standard
            deviation 1 over them. Without, the features of a trained network may be so large that a router starts
            saturated, or so small that it tells no example from another.
        skip_layers: names of layers that are left out of both models and keep their weights in `model`, such as a
            classifier of other classes.

    Raises:
        UserError: the models differ in a layer, in the shape of a variable, or in a setting such as padding or the
            epsilon of batch normalization; or a CondConv layer has no plain counterpart of one function, as its routing
            weights are no sigmoid or softmax of a router. The message names the first ten, and `model` is as it was.

    Examples:
        >>> plain, _ = load_model("plain.keras")
        >>> twin = create_model("condconv_mobilenet_v1", num_experts=4, classes=10)
        >>> warm_start(twin, plain, images)  # twin(x) is now plain(x), up to rounding, for every x
    """
    skipped = [layer for layer in model.layers if layer.name in skip_layers]
    targets = [layer for layer in model.layers if layer.name not in skip_layers]
    sources = [layer for layer in source.layers if layer.name not in skip_layers]
    _check_settings(model, source, targets, sources)
    routed = {layer.name for layer in sources if _router(layer)}
    new_routers = [layer for layer in targets if _router(layer) and layer.name not in routed]
    tensors = _values(sources) | _values(skipped) | _first_routers(new_routers)
    is_plain = not any(isinstance(layer, BaseCondConv2D) for layer in sources)

    def find(layer: keras.Layer, variable_name: str) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
        key = _key(layer, variable_name)
        if is_plain and isinstance(layer, BaseCondConv2D) and key not in tensors:
            is_bias = variable_name == "condconv_bias"
            convert = functools.partial(_experts, layer, is_bias, _part_of_an_expert(layer))
            return f"{layer.name}/{'bias' if is_bias else 'kernel'}", convert
        return key, lambda value: value

    assign_weights(model, WeightSource(f"the model {source.name!r}", tensors, find))
    if images is not None and new_routers:
        _normalize_routers(model, new_routers, images)


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


def _part_of_an_expert(layer: BaseCondConv2D) -> float:
    """What each of equal experts is of the plain kernel: one divided by the sum of an example's routing weights."""
    router = layer.router or producer_of(calls_of(layer)[0].inputs[1])[0]
    return 1 if _routing_activation(layer, router) is keras.activations.softmax else 2 / layer.num_experts


def _experts(layer: BaseCondConv2D, is_bias: bool, part: float, plain: np.ndarray) -> np.ndarray:
    """The bank of equal experts, each of which is a part of a plain kernel or bias."""
    expert_shape = (layer.spec.filters,) if is_bias else layer.spec.expert_shape
    if plain.shape != expert_shape:
        raise ValueError(f"expected the shape {expert_shape}. Received: {plain.shape}")
    return np.tile(plain.reshape(1, -1) * part, (layer.num_experts, 1))


def _first_routers(layers: Iterable[keras.Layer]) -> dict[str, np.ndarray]:
    """The variables of the layers' new routers: for the sigmoid columns in pairs of opposite sign."""
    values = {}
    for layer in layers:
        router = _router(layer)
        of_pairs = _routing_activation(layer, router) is keras.activations.sigmoid
        for variable in router.weights:
            columns = np.array(variable)
            values[_key(layer, variable.name)] = _mirrored(columns) if of_pairs else columns
    return values


def _routing_activation(layer: keras.Layer, router: keras.Layer) -> Callable[..., Any]:
    """The activation of a layer's routing weights, whose sum it decides; raises a `UserError` for an unknown sum."""
    activation = router.activation if isinstance(router, Routing) else None
    if activation not in (keras.activations.sigmoid, keras.activations.softmax):
        received = router.get_config()["activation"] if isinstance(router, Routing) else router.name
        raise UserError(
            "CondConv layers start from plain ones where their routing weights are the sigmoid or the softmax of a "
            f"Routing layer: the sum of others is not known. Received: layer {layer.name!r} with {received!r}"
        )
    return activation


def _mirrored(columns: np.ndarray) -> np.ndarray:
    half = columns.shape[-1] // 2
    first = columns[..., :half]
    return np.concatenate([first, -first, np.zeros_like(columns[..., 2 * half :])], axis=-1)


def _normalize_routers(model: keras.Model, layers: Sequence[keras.Layer], images: Tensor) -> None:
    """Shifts and scales the routers' columns: mean 0 and standard deviation 1 over the images, before the activation.

    Mirrored columns stay mirrored, so the model still computes the same, and one pass serves all routers.
    """
    features = _router_features(model, layers, images)
    for layer in layers:
        router = _router(layer)
        kernel = np.array(router.kernel)
        logits = features[layer.name] @ kernel
        shift = logits.mean(axis=0) if router.use_bias else np.zeros_like(logits[0])
        deviation = np.sqrt(np.mean((logits - shift) ** 2, axis=0))
        scale = np.divide(1, deviation, out=np.ones_like(deviation), where=deviation > 0)
        router.kernel.assign(kernel * scale)
        if router.use_bias:
            router.bias.assign(-shift * scale)


def _router_features(model: keras.Model, layers: Sequence[keras.Layer], images: Tensor) -> dict[str, np.ndarray]:
    """The pooled inputs [images, channels] of the layers' routers, by the layers' names."""
    features = {layer.name: layer.input for layer in layers}
    for layer in layers:
        if len(layer.input.shape) == 4:
            pool = keras.layers.GlobalAveragePooling2D(data_format=_router(layer).data_format, dtype="float32")
            features[layer.name] = pool(layer.input)
    values = keras.Model(model.input, features)(images, training=False)
    return {name: np.array(value) for name, value in values.items()}
