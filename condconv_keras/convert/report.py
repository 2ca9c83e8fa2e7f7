"""What a conversion costs, and the lines that say so."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Sequence

import keras

from condconv_keras.convert.graph import Place, unreached
from condconv_keras.profiling import layer_costs, profile
from condconv_keras.utils.errors import UserError, one_line

_OPEN_SIZE = 224  # pixels of an open height or width, for counting


def costs_of(graph: keras.Model) -> dict[int, int]:
    """Multiply-adds of the layers of a functional model by their ids, all calls together.

    Raises:
        UserError: the model cannot be run on one image of zeros, as where the size of several inputs is open.
    """
    costs: dict[int, int] = collections.defaultdict(int)
    try:
        for layer, row in layer_costs(graph, _counted_shape(graph)):
            costs[id(layer)] += row.multiply_adds
    except Exception as error:
        # The layers are run on zeros, and their owner's may raise anything.
        raise UserError(
            f"expected `layers` for the model {graph.name!r}: multiply-adds, of which the deeper half would get "
            f"experts, cannot be counted ({one_line(error, 150)})"
        ) from error
    return costs


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What a conversion made of a model.

    Attributes:
        model: the converted model.
        plain: the functional model of the given one.
        places: all places of the plain model that can be converted.
        taken: those that were.
        num_experts: of each of them.
    """

    model: keras.Model
    plain: keras.Model
    places: Sequence[Place]
    taken: Sequence[Place]
    num_experts: int

    @property
    def layers(self) -> list[str]:
        """The paths of the converted layers."""
        return [place.path for place in self.taken]

    @functools.cached_property
    def costs(self) -> dict[str, list[int] | None]:
        """`"parameters"` and `"multiply_adds"` before and after, the latter None where it cannot be counted."""
        models = (self.plain, self.model)
        try:
            counts = [profile(model, _counted_shape(self.plain)).multiply_adds for model in models]
        except Exception:
            # As above; the model is converted all the same.
            counts = None
        return {"parameters": [model.count_params() for model in models], "multiply_adds": counts}

    @property
    def text(self) -> str:
        """One line: which layers have experts now, and what the model costs before and after."""
        which = self.layers[0] if len(self.layers) == 1 else f"{self.layers[0]} to {self.layers[-1]}"
        experts = "1 expert" if self.num_experts == 1 else f"{self.num_experts} experts"
        counts = [
            f"{name.replace('_', '-')} {' -> '.join(map(_millions, values))} million"
            for name, values in self.costs.items()
            if values is not None
        ]
        shape = _counted_shape(self.plain)
        at = "" if shape is None else f" of an input of shape {tuple(shape)}"
        return (
            f"{self.plain.name}: {len(self.taken)} of {len(self.places)} convolutions and dense layers, {which}, have "
            f"{experts} each: {', '.join(counts)}{at}{self._left_plain}"
        )

    @property
    def _left_plain(self) -> str:
        """What is said of convolutions that nobody sees in the graph; empty where there are none."""
        counts = unreached(self.plain)
        if not counts:
            return ""
        count = sum(counts.values())
        lie, stay = ("lies", "stays") if count == 1 else ("lie", "stay")
        return (
            f"; {count} more {lie} in layers with a `call` of their own ({', '.join(counts)}) and {stay} plain: a "
            "graph of layers alone can be rewritten"
        )


def _is_open(graph: keras.Model) -> bool:
    return any(None in tensor.shape[1:] for tensor in graph.inputs)


def _counted_shape(graph: keras.Model) -> list[int] | None:
    """The shape of the one input of a model that leaves its size open, else None."""
    if len(graph.inputs) > 1 or not _is_open(graph):
        return None
    return [_OPEN_SIZE if side is None else side for side in graph.inputs[0].shape[1:]]


def _millions(count: int) -> str:
    return f"{count / 1e6:.3g}"
