"""Networks whose routers have options of training, and the plain ones that compute the same in inference.

Both directions copy a network, layer by layer: options make variables, and a built layer takes no new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from condconv_keras.layers.base_cond_conv import BaseCondConv2D
from condconv_keras.layers.copying import copy_graph, copy_value, copy_weights, finished_copy
from condconv_keras.layers.routers import routers
from condconv_keras.layers.routing import Routing
from condconv_keras.layers.routing_options import OPTION_NAMES, RoutingOptions
from condconv_keras.utils.keras_graph import all_layers

# sigmoid(18) is 1 - 1.5e-8, which float32 rounds to 1: its neighbor below 1 is 1 - 6e-8. Not more, because an int8 file
# spreads its 256 steps over the range of all logits.
_ALWAYS = 18.0


def fold_routing(model: keras.Model) -> keras.Model:
    """Returns a network without options of training that computes the same as this one in inference.

    Temperature and batch normalization become part of a router's kernel and bias. The column of an anchored expert
    becomes zeros with a bias whose sigmoid is 1 in float32. Dropout and penalties vanish. Every router of the copy has
    a bias.

    Args:
        model: built functional or sequential Keras model; CondConv layers may lie in models inside it.

    Returns:
        The model itself where no router has an option; else a copy of other variables, of the same names of layers,
        which computes batch normalization as of `use_fused_batch_norm`. It is not compiled, also where the model is,
        and has the model's card (`condconv_keras.card_of`). Its outputs differ by rounding.

    Raises:
        ValueError: the model is neither functional nor sequential, or a router with options lies in a layer that is no
            model.
    """
    if not has_options(model):
        return model
    return _copied(model, {}, _put_folded, use_bias=True)


def with_routing(model: keras.Model, **options: Any) -> keras.Model:
    """Returns a copy of a network whose routers, those of CondConv layers among them, have options of training.

    Each variable of the network keeps its value, and those that options bring start as in a new `Routing`. Batch
    normalization and an anchored expert change what the network computes.

    Args:
        model: built functional or sequential Keras model; CondConv layers may lie in models inside it.
        **options: arguments of `Routing` from `temperature` on, in place of those that the routers have; an option that
            is left out is at its default.

    Returns:
        The copy, as of `fold_routing`.

    Raises:
        ValueError: an option is unknown or out of range, an expert is to be anchored and a router has no sigmoid, the
            model is neither functional nor sequential, or a router lies in a layer that is no model.

    Examples:
        >>> model = condconv_keras.create_model("condconv_mobilenet_v1", num_experts=4, classes=10)
        >>> model = with_routing(model, temperature=30, expert_dropout=0.1)
    """
    if not set(options) <= set(OPTION_NAMES):
        raise ValueError(f"Options of routers must be of {OPTION_NAMES}. Received: {', '.join(options)}")
    chosen = RoutingOptions(**options).chosen()
    for _, router in routers(model):
        # Raises an error of one line, of which Keras would make a page while it copies.
        Routing(router.num_experts, router.activation, **chosen)
    return _copied(model, chosen, _put_values, use_bias=False)


def has_options(model: keras.Model) -> bool:
    """Whether a router of a model has an option of training."""
    return any(router.options.chosen() for _, router in routers(model))


def _copied(
    model: keras.Model, options: dict[str, Any], put: Callable[[Routing, Routing], None], use_bias: bool
) -> keras.Model:
    """A copy of a model with other options of its routers.

    Args:
        model: as of `fold_routing`.
        options: of the copy's routers, by name.
        put: function of a router and its copy that gives the copy its values.
        use_bias: whether a router of the copy has a bias also where that of the model has none.
    """
    if not hasattr(model, "outputs"):
        raise ValueError(f"Routers can be changed in a functional or sequential model. Received: {model.name!r}")
    pairs: list[tuple[keras.Layer, keras.Layer]] = []

    def clone(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if isinstance(layer, Routing):
            config = _without_options(config) | options | {"use_bias": layer.use_bias or use_bias}
        elif isinstance(layer, BaseCondConv2D) and layer.router is not None:
            config = _without_options(config) | {"routing_options": options}
        pairs.append((layer, type(layer).from_config(config)))
        return pairs[-1][1]

    copy = copy_graph(model, clone)
    for layer, new in pairs:
        if isinstance(layer, Routing):
            put(layer, new)
        elif isinstance(layer, BaseCondConv2D) and layer.router is not None:
            for name in ("bank", "bias", "shared_bias"):
                if getattr(layer, name) is not None:
                    copy_value(getattr(layer, name), getattr(new, name))
            put(layer.router, new.router)
        elif any(isinstance(inner, Routing) for inner in all_layers(layer)):
            raise ValueError(
                "Routers can be changed where they lie in a model, or in models inside it. Received: the layer "
                f"{layer.name!r}, which contains some"
            )
        else:
            copy_weights(layer, new)
    return finished_copy(copy, model)


def _without_options(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in (*OPTION_NAMES, "routing_options")}


def _put_values(router: Routing, new: Routing) -> None:
    """Gives a router the values of another one's variables, as far as it has them."""
    values = {variable.name: variable for variable in router.weights}
    for variable in new.weights:
        if variable.name in values:
            copy_value(values[variable.name], variable)


def _put_folded(router: Routing, new: Routing) -> None:
    """Gives a plain router the values by which it computes the same as one with options."""
    # In float64, so that what is rounded is the result alone.
    kernel = np.asarray(keras.ops.convert_to_numpy(router.kernel), np.float64)
    bias = np.zeros(router.num_experts)
    if router.bias is not None:
        bias = np.asarray(keras.ops.convert_to_numpy(router.bias), np.float64)
    if router.normalization is not None:
        mean, variance = map(keras.ops.convert_to_numpy, router.normalization.weights)
        kernel = kernel / np.sqrt(np.asarray(variance, np.float64) + router.normalization.epsilon)[:, np.newaxis]
        bias = bias - mean @ kernel
    if router.inverse_temperature is not None:
        factor = float(keras.ops.convert_to_numpy(router.inverse_temperature))
        kernel, bias = kernel * factor, bias * factor
    if router.options.anchored:
        kernel[:, 0], bias[0] = 0, _ALWAYS
    new.kernel.assign(kernel)
    new.bias.assign(bias)  # type: ignore[union-attr]  # a folded router has one


def is_pinned(router: Routing) -> bool:
    """Whether the weight of a plain router's first expert is 1 for every input, as of a folded anchored one."""
    kernel, bias = (keras.ops.convert_to_numpy(v) for v in (router.kernel, router.bias if router.use_bias else 0.0))
    return not kernel[:, 0].any() and np.ravel(bias)[0] >= _ALWAYS
