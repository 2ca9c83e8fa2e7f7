"""The layers of a functional model that can be converted, wherever they are nested, and how the model calls them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator

import keras

from condconv_keras.convert.counterparts import is_convertible
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import Call, all_layers, graph_calls, is_graph


@dataclasses.dataclass(frozen=True)
class Place:
    """A layer that can be converted.

    Attributes:
        layer: the layer.
        path: its name behind those of the models inside the model that it lies in, as in `"encoder/conv_1"`.
        calls: list of its calls in the model.
    """

    layer: keras.Layer
    path: str
    calls: list[Call]

    @property
    def model_path(self) -> str:
        """The path of the model that it lies in, empty for the given model."""
        return self.path.rpartition("/")[0]

    @property
    def is_convolution(self) -> bool:
        """Whether it convolves feature maps: all but a `Dense` on anything else."""
        if not isinstance(self.layer, keras.layers.Dense):
            return True
        return all(len(call.inputs[0].shape) == 4 for call in self.calls)


def graph_of(model: keras.Model) -> keras.Model:
    """A functional model of the layers of a functional or sequential one.

    Raises:
        UserError: the model is neither, or not built.
    """
    if isinstance(model, keras.Sequential):
        if not model.built or not getattr(model, "outputs", None):
            raise UserError(
                f"expected a built model to convert, the sequential model {model.name!r} does not know its input yet: "
                "begin it with keras.Input(shape)"
            )
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if not is_graph(model):
        raise UserError(
            f"expected a functional or sequential model to convert, received the {type(model).__name__} "
            f"{getattr(model, 'name', model)!r}: only the layers of a graph can be replaced, not what a `call` of its "
            "own does. Build it with keras.Model(inputs, outputs), or use condconv_keras.CondConv2D in its code"
        )
    return model


def places(model: keras.Model) -> list[Place]:
    """The layers of a model that can be converted, in the order of its graph, each once."""
    found: dict[int, Place] = {}
    for path, layer, call in _walk(model, "", set()):
        if is_convertible(layer):
            found.setdefault(id(layer), Place(layer, path, [])).calls.append(call)
    return list(found.values())


def unreached(model: keras.Model) -> dict[str, int]:
    """How many layers that can be converted lie in layers with a `call` of their own, whose calls no graph shows.

    Args:
        model: functional model.

    Returns:
        A dict of the class names of such layers of the model to the counts, empty for most models.
    """
    shown = {id(place.layer) for place in places(model)}
    counts: collections.Counter[str] = collections.Counter()
    for layer in _outermost(model):
        inner = [each for each in all_layers(layer) if is_convertible(each) and id(each) not in shown]
        counts[type(layer).__name__] += len(inner)
    return dict(+counts)


def _outermost(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers of a model and of the models inside it that are no graphs themselves."""
    for layer in model.layers:
        yield from _outermost(layer) if is_graph(layer) else [layer]


def _walk(model: keras.Model, prefix: str, seen: set[int]) -> Iterator[tuple[str, keras.Layer, Call]]:
    """The calls of all layers in the order of the graph; those of a model inside it where it is met first."""
    seen.add(id(model))
    graph = graph_of(model)
    calls = graph_calls(graph)
    for layer in graph.layers:
        if is_graph(layer) and id(layer) not in seen:
            yield from _walk(layer, f"{prefix}{layer.name}/", seen)
        yield from ((f"{prefix}{layer.name}", layer, call) for operation, call in calls if operation is layer)
