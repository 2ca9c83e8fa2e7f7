"""What a conversion costs, and the lines that say so."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import keras

from condconv_keras.convert.graph import Place
from condconv_keras.profiling import layer_costs, profile
from condconv_keras.utils.errors import UserError

_OPEN_SIZE = 224  # pixels of an open height or width, for counting


def costs_of(graph: keras.Model) -> dict[int, int]:
    """Multiply-adds of the layers of a functional model by their ids, all calls together.

    Raises:
        UserError: the model has several inputs, and their size is open.
    """
    costs: dict[int, int] = collections.defaultdict(int)
    try:
        for layer, row in layer_costs(graph, _counted_shape(graph)):
            costs[id(layer)] += row.multiply_adds
    except ValueError as error:
        if not _is_open(graph):
            raise
        raise UserError(
            f"expected `layers` for the model {graph.name!r}: which convolutions are the deeper half by multiply-adds "
            "depends on the open sizes of its inputs"
        ) from error
    return costs


def described(
    graph: keras.Model, twin: keras.Model, places: Sequence[Place], taken: Sequence[Place], num_experts: int
) -> str:
    """One line: which layers of a model have experts now, its parameters and multiply-adds before and after."""
    names = [place.path for place in taken]
    which = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    experts = "1 expert" if num_experts == 1 else f"{num_experts} experts"
    parameters = " -> ".join(_millions(model.count_params()) for model in (graph, twin))
    return (
        f"{graph.name}: {len(taken)} of {len(places)} convolutions and dense layers, {which}, have {experts} each: "
        f"parameters {parameters} million{_multiply_adds(graph, twin)}"
    )


def _multiply_adds(graph: keras.Model, twin: keras.Model) -> str:
    if _is_open(graph) and len(graph.inputs) > 1:
        return ""
    shape = _counted_shape(graph)
    counts = [_millions(profile(model, shape).multiply_adds) for model in (graph, twin)]
    of = "" if shape is None else f" of an input of shape {tuple(shape)}"
    return f", multiply-adds {' -> '.join(counts)} million{of}"


def _is_open(graph: keras.Model) -> bool:
    return any(None in tensor.shape[1:] for tensor in graph.inputs)


def _counted_shape(graph: keras.Model) -> list[int] | None:
    """The shape of the one input of a model that leaves its size open, else None."""
    if len(graph.inputs) > 1 or not _is_open(graph):
        return None
    return [_OPEN_SIZE if side is None else side for side in graph.inputs[0].shape[1:]]


def _millions(count: int) -> str:
    return f"{count / 1e6:.3g}"
