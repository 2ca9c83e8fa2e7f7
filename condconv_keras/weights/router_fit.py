"""Routers that are fitted to images: what their inputs are there, and a start whose logits have a known spread."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from condconv_keras.layers import Routing
from condconv_keras.utils.annotations import Tensor
from condconv_keras.utils.keras_graph import wrapped_call


def router_features(model: keras.Model, routers: Sequence[Routing], images: Tensor) -> list[np.ndarray]:
    """The pooled inputs [calls * images, channels] of routers, wherever they are nested in a model.

    Args:
        model: built Keras model, which is run once in inference mode where there is a router.
        routers: some of its routers, or those of its CondConv layers.
        images: inputs of the model, in the structure that it takes.
    """
    calls: list[list[np.ndarray]] = [[] for _ in routers]
    if not routers:
        return []
    with contextlib.ExitStack() as stack:
        for router, features in zip(routers, calls, strict=True):
            stack.enter_context(wrapped_call(router, functools.partial(_recorder, router, features)))
        model(images, training=False)
    return [np.concatenate(features) for features in calls]


def _recorder(router: Routing, features: list[np.ndarray], call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def recorded(inputs: Tensor, *args: Any, **kwargs: Any) -> Any:
        features.append(keras.ops.convert_to_numpy(router.pooled(inputs)))
        return call(inputs, *args, **kwargs)

    return recorded


def fit_router(router: Routing, features: np.ndarray, scale: float) -> None:
    """Shifts and scales the columns of a router, so that its logits have mean 0 and a deviation over the features.

    Mirrored columns stay mirrored. Where the router normalizes its inputs, its statistics are those of the features.

    Args:
        router: built router.
        features: as of `router_features`.
        scale: the standard deviation, at least 0.
    """
    mean, deviation = fit_normalization(router, features)
    kernel = np.array(router.kernel)
    logits = (features - mean) / deviation @ kernel
    shift = logits.mean(axis=0) if router.use_bias else np.zeros_like(logits[0])
    spread = np.sqrt(np.mean((logits - shift) ** 2, axis=0))
    # Where all images have the same features, what differs is rounding.
    differs = spread > 1e-5 * np.sqrt(np.mean(logits**2, axis=0))
    factor = np.divide(scale, spread, out=np.ones_like(spread), where=differs)
    router.kernel.assign(kernel * factor)
    if router.bias is not None:
        router.bias.assign(-shift * factor)


def fit_normalization(router: Routing, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives the normalization of a router's inputs the statistics of features [images, channels], if there is one.

    Returns:
        The mean that the router subtracts from its inputs and the deviation that it divides by, [channels].
    """
    if router.normalization is None:
        return np.zeros(features.shape[1]), np.ones(features.shape[1])
    mean, variance = features.mean(axis=0), features.var(axis=0)
    router.normalization.moving_mean.assign(mean)
    router.normalization.moving_variance.assign(variance)
    return mean, np.sqrt(variance + router.normalization.epsilon)
