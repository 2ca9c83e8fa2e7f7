"""The layers of a functional model that can be converted, wherever they are nested, and how the model calls them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import keras

from condconv_keras.convert.counterparts import is_convertible
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import calls_of


@dataclasses.dataclass(frozen=True)
class Place:
    """A layer that can be converted.

    Attributes:
        layer: the layer.
        path: its name behind those of the models inside the model that it lies in, as in `"encoder/conv_1"`.
    """

    layer: keras.Layer
    path: str

    @property
    def is_convolution(self) -> bool:
        """Whether it convolves feature maps: all but a `Dense` on anything else."""
        if not isinstance(self.layer, keras.layers.Dense):
            return True
        return all(len(call.inputs[0].shape) == 4 for call in calls_of(self.layer))


def is_graph(layer: object) -> bool:
    """Whether a layer is a model whose layers can be replaced."""
    return isinstance(layer, keras.Model) and bool(getattr(layer, "outputs", None))


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
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name, trainable=model.trainable)
    if not is_graph(model):
        raise UserError(
            f"expected a functional or sequential model to convert, received the {type(model).__name__} "
            f"{getattr(model, 'name', model)!r}: only the layers of a graph can be replaced. Build the model with "
            "keras.Model(inputs, outputs), or call condconv_keras.CondConv2D in its code"
        )
    return model


def places(model: keras.Model) -> list[Place]:
    """The layers of a model that can be converted, in the order of its graph, each once."""
    found: dict[int, Place] = {}
    for path, layer in _walk(model, ""):
        if is_convertible(layer):
            found.setdefault(id(layer), Place(layer, path))
    return list(found.values())


def _walk(model: keras.Model, prefix: str) -> Iterator[tuple[str, keras.Layer]]:
    for layer in model.layers:
        if is_graph(layer):
            yield from _walk(layer, f"{prefix}{layer.name}/")
        else:
            yield f"{prefix}{layer.name}", layer
