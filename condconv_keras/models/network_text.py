"""A network without its weights as JSON text, from which it is built again: the graph and the layers' configurations.

Kept where weights lie elsewhere: in the folder of a run, beside its checkpoints, and in a SavedModel.
"""

from __future__ import annotations

import json

from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.json_text import exact_json_text
from condconv_keras.utils.lazy import LazyModule, keras

layers = LazyModule("condconv_keras.layers")
keras_graph = LazyModule("condconv_keras.utils.keras_graph")

# What Keras adds of a compiled model: the optimizer, which is none of the network's.
_COMPILED = "compile_config"


def network_text(model: keras.Model) -> str:
    """Returns the JSON text of a functional or sequential Keras model."""
    config = keras.saving.serialize_keras_object(model)
    return exact_json_text({name: value for name, value in config.items() if name != _COMPILED}) + "\n"


def build_network(text: str | bytes, place: str) -> keras.Model:
    """Builds the model of a `network_text`, with initial weights.

    Args:
        text: the text, or its bytes.
        place: what an error calls it.

    Returns:
        A Keras model that is not compiled and computes as of `condconv_keras.layers.slice_strided_1x1`.

    Raises:
        UserError: the text is none, or the network has code of its own (a `Lambda`) or classes that are not registered
            here.
    """
    try:
        model = keras.saving.deserialize_keras_object(json.loads(text), safe_mode=True)
    except Exception as error:
        # Keras raises what its readers raise: value, type and key errors, of a user's class any. Before the reason it
        # prints the whole configuration.
        reason = one_line(str(error).rpartition("Exception encountered: ")[2], 200)
        raise UserError(f"expected the network of {place}, it cannot be built ({reason})") from error
    if not isinstance(model, keras.Model):
        raise UserError(f"expected the network of {place}, it is a {type(model).__name__}")
    return layers.slice_strided_1x1(model)


def put_weights(model: keras.Model, values: list) -> None:
    """Gives a model weights in the order of `model.weights`; its `Normalization` layers compute by them then.

    Raises:
        UserError: they have other shapes, as where layers that several models share were built apart.
    """
    shapes = [[tuple(value.shape) for value in each] for each in (model.weights, values)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"expected a network that its configuration says whole, {model.name!r} is built again with other weights"
        )
    model.set_weights(values)
    keras_graph.renew_normalizations(model)
