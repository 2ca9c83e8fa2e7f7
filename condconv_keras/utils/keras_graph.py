"""Everything of Keras that is not public: layers inside layers, calls and tensors of a graph, a layer's own `call`.

The names are those of Keras 3.15. Nothing else in the library, the benchmarks and the scripts uses one.

- `Layer._flatten_layers`: `Model.layers` is public, but stops at layers that are not models.
- `Function._nodes_by_depth`: the calls that a functional model is made of. Its layers may have others, of other models.
- `Operation._inbound_nodes`: one `Node` for each symbolic call. `layer.input` and `layer.output` are public, but of the
  first call only, and they do not say how many there are.
- `KerasTensor._keras_history`: the operation that made a tensor, and in which of its calls.
- `vars(layer)["call"]`: an attribute of the instance hides the method of the class; set in the dictionary, past Keras's
  attribute tracking. Keras has hooks of variables, none of a call. A layer around it would change the names in files.
- `vars(layer)["add_loss"]`: in the same way. The method is public, but keeps the terms of all threads in one list.
- `vars(layer)["convolution_op"]`: in the same way; the method is public, but to be overridden in a class of one's own,
  which files would name.
- `Trainer._maybe_symbolic_build`: what `fit` builds a model with. There is no public way to tell it that nothing is
  left to build.
- `Optimizer._get_variable_index`, `RMSprop._velocities` and `RMSprop._momentums`: `Optimizer.variables` is public, but
  does not say which of them belong to which variable of the model.
"""

import contextlib
import functools
import threading
import typing

from condconv_keras.utils.lazy import keras

_THREAD = threading.local()


class Call(typing.NamedTuple):
    """One symbolic call of an operation.

    Attributes:
        inputs: flat list of the tensors that it was given.
        outputs: flat list of those that it returned.
        options: dict of the keyword arguments.
    """

    inputs: list
    outputs: list
    options: dict


def all_layers(model, include_self=True):
    """The layers of a model wherever they are nested, in layers that are not models too, each once; a list.

    Args:
        model: Keras model or layer.
        include_self: whether the first is the model itself.
    """
    return model._flatten_layers(include_self=include_self)


def calls_of(operation):
    """The symbolic calls of a layer or operation, in the order in which they were made; a list of `Call`."""
    return [_call(node) for node in operation._inbound_nodes]


def graph_calls(model):
    """The calls that a functional model is made of, a list of (layer or operation, `Call`)."""
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    return [(node.operation, _call(node)) for node in nodes if not node.is_input]


def is_graph(layer):
    """Whether a layer is a model that computes what its layers and their calls say: no `call` is a user's own."""
    if not isinstance(layer, keras.Model):
        return False
    owner = next(owner for owner in type(layer).__mro__ if "call" in vars(owner))
    return owner.__module__.startswith("keras.") and bool(getattr(layer, "outputs", None))


def producer_of(tensor):
    """The layer or operation that returned a symbolic tensor, and the `Call` in which it did."""
    operation, index, _ = tensor._keras_history
    return operation, _call(operation._inbound_nodes[index])


def _call(node):
    return Call(node.input_tensors, node.output_tensors, dict(node.arguments.kwargs))


def replace_call(layer, function):
    """Makes a layer call `function` in place of its own `call` from now on; no file and no copy has a trace of it.

    Args:
        layer: Keras layer.
        function: of the arguments of the layer's `call`, made by `functools.wraps`: Keras looks at its signature.
    """
    vars(layer)["call"] = function


def replace_convolution(layer, function):
    """Makes a convolution layer of Keras convolve by `function` of inputs and kernel; files and copies as above."""
    vars(layer)["convolution_op"] = function


@contextlib.contextmanager
def wrapped_call(layer, wrap):
    """While open, the layer calls `wrap(call)` in place of its own `call`.

    Args:
        layer: Keras layer. May be wrapped already; then it is again when this one closes.
        wrap: function of the layer's `call` that returns a function as of `replace_call`.
    """
    before = vars(layer).get("call")
    replace_call(layer, wrap(layer.call))
    try:
        yield
    finally:
        if before is None:
            del vars(layer)["call"]
        else:
            replace_call(layer, before)


def tell_threads_losses_apart(model):
    """Lets `losses_of_thread` have what the layers of a model add to the loss when they are called.

    Mirrored replicas are traced by a thread each, in turns: from batch normalization that they share to the next.
    """
    for layer in all_layers(model):
        vars(layer)["add_loss"] = functools.partial(_add_loss, layer)


def _add_loss(layer, loss):
    terms = getattr(_THREAD, "terms", None)
    if terms is None:
        type(layer).add_loss(layer, loss)
    else:
        terms.extend(keras.tree.flatten(loss))


@contextlib.contextmanager
def losses_of_thread():
    """While open, yields the list of what layers of `tell_threads_losses_apart` add to the loss in this thread.

    Their `losses` lack it.
    """
    before = getattr(_THREAD, "terms", None)
    _THREAD.terms = []
    try:
        yield _THREAD.terms
    finally:
        _THREAD.terms = before


class BuiltBeforeFit:
    """A base of Keras models, before `keras.Model`, that `fit` and `evaluate` take as built."""

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing is left to build."""


def optimizer_index(optimizer, variable):
    """The place of a variable, or of one device's part of it, among those that an optimizer was built with."""
    return optimizer._get_variable_index(variable)


def rmsprop_slots(optimizer, variable):
    """The mean square and the momentum that a built `keras.optimizers.RMSprop` with momentum keeps of a variable."""
    index = optimizer_index(optimizer, variable)
    return optimizer._velocities[index], optimizer._momentums[index]


def compute_in_float32(model):
    """Makes every layer of a model compute in float32, as evaluation and export do.

    Mixed precision is a way to train: its variables are float32 already, and LiteRT has no 16-bit operators.
    """
    for layer in all_layers(model):
        if layer.compute_dtype in ("bfloat16", "float16"):
            layer.dtype_policy = "float32"
    renew_normalizations(model)


def renew_normalizations(model):
    """Lets every `Normalization` in a model make anew the tensors that it computes by, of its weights.

    Keras does not where weights were given by `set_weights`, or the precision was changed.
    """
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
