"""The first values of converted layers: experts that compute the plain layer, and routers of a known spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from condconv_keras.convert.counterparts import Part
from condconv_keras.layers import Routing
from condconv_keras.utils.annotations import Tensor
from condconv_keras.utils.errors import UserError
from condconv_keras.weights.expert_start import pair_columns, parts_of_experts, router_of, scale_router
from condconv_keras.weights.router_fit import fit_router, router_features


def take_plain_weights(parts: Sequence[Part]) -> None:
    """Gives layers the values by which they compute what the plain ones do (`condconv_keras.weights.expert_start`).

    Args:
        parts: of all converted layers.

    Raises:
        UserError: the constraint of a kernel or bias would change the experts.
    """
    for part in parts:
        shares = parts_of_experts(part.layer)
        for bank, plain in ((part.layer.bank, part.kernel), (part.layer.bias, part.bias)):
            if bank is None or plain is None:
                continue
            experts = shares[:, np.newaxis] * plain.reshape(1, -1)
            _check_constraint(part.layer, bank, experts)
            bank.assign(experts)
    for router in _routers(parts):
        pair_columns(router)


def scale_new_routers(model: keras.Model, parts: Sequence[Part], scale: float, images: Tensor | None) -> None:
    """Scales the routers of converted layers.

    Args:
        model: that the layers are part of.
        parts: of all converted layers.
        scale: standard deviation of their logits over the images; without images a factor of their initial weights.
        images: inputs of the model, or None.
    """
    routers = _routers(parts)
    if images is None:
        for router in routers:
            scale_router(router, scale)
        return
    for router, features in zip(routers, router_features(model, routers, images), strict=True):
        fit_router(router, features, scale)


def _routers(parts: Sequence[Part]) -> list[Routing]:
    """The routers of converted layers, each once."""
    routers = [router_of(part.layer) for part in parts]
    return list({id(router): router for router in routers}.values())


def _check_constraint(layer: keras.Layer, bank: keras.Variable, experts: np.ndarray) -> None:
    """Raises a `UserError` if the constraint of a bank makes other experts of these, as after the first step."""
    if bank.constraint is None:
        return
    kept = _array(bank.constraint(keras.ops.convert_to_tensor(experts)))
    if np.max(np.abs(kept - experts)) > 1e-5 * np.max(np.abs(experts)):
        name = type(bank.constraint.constraint).__name__
        raise UserError(
            f"the constraint {name} of the layer {layer.name!r} does not keep the scaled copies of its kernel or bias "
            "that experts start as: leave the layer out of `layers`, build the model without the constraint, or begin "
            "with fresh experts by `warm_start=False`"
        )


def _array(value: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(value))
