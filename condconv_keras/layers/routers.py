"""The routers of a model and what they return, by the names that every command and every export has for them."""

import contextlib
import functools

from condconv_keras.layers.routing import Routing
from condconv_keras.utils.keras_graph import all_layers, wrapped_call


def routers(model):
    """The routers of a model, wherever they are nested.

    Args:
        model: Keras model.

    Returns:
        List of (name, `Routing` layer). The name is that of the layer, or of the CondConv layer whose own router it is;
        several may have the same.
    """
    layers = all_layers(model)
    owners = {id(layer.router): layer.name for layer in layers if hasattr(layer, "router")}
    return [(owners.get(id(layer), layer.name), layer) for layer in layers if isinstance(layer, Routing)]


@contextlib.contextmanager
def recorded_routing(model):
    """While open, every call of a router appends a name and the routing weights to the list that is yielded.

    A name that was taken before gets the first free number from 2 on: of a router that is called twice, "shared" and
    "shared_2". The order, and so the numbers, are those in which the model computes them, input first.

    Args:
        model: Keras model that is called once while this is open.

    Yields:
        List of (name, routing weights [batch, experts]), empty at first.
    """
    calls = []
    with contextlib.ExitStack() as stack:
        for name, router in routers(model):
            stack.enter_context(wrapped_call(router, functools.partial(_recorder, name, calls)))
        yield calls


def _recorder(name, calls, call):
    @functools.wraps(call)
    def recorded(*args, **kwargs):
        weights = call(*args, **kwargs)
        calls.append((_free_name(name, {taken for taken, _ in calls}), weights))
        return weights

    return recorded


def _free_name(name, taken):
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate
