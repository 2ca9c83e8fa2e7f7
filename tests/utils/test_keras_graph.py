import ast
import functools
import pathlib

import keras
import numpy as np
import pytest

from condconv_keras.utils import keras_graph

ROOT = pathlib.Path(__file__).parents[2]
HOME = ROOT / "condconv_keras/utils/keras_graph.py"


@functools.cache
@functools.cache
def _private_names():
    inputs = keras.Input((2,))
    layer = keras.layers.Dense(3)
    model = keras.Model(inputs, layer(inputs))
    optimizer = keras.optimizers.RMSprop(momentum=0.9)
    optimizer.build(model.trainable_variables)
    objects = (model, keras.Sequential(), layer, inputs, layer._inbound_nodes[0], optimizer, layer.kernel)
    names = {name for each in objects for name in dir(each)}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def _own_names(tree):
    """What a file defines or sets itself: its own private names may be spelled as Keras's are."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def _overrides(tree):
    """The methods of classes with bases that have a private name of Keras's: they take the place of its own."""
    for each in ast.walk(tree):
        if isinstance(each, ast.ClassDef) and each.bases:
            yield from (n for n in each.body if isinstance(n, ast.FunctionDef) and n.name in _private_names())


def _uses(tree):
    """The private names of Keras that a file reads, sets in an instance's dictionary, or names in a string."""
    private = _private_names() - set(_own_names(tree))
    for method in _overrides(tree):
        yield method.name
    # A part of an f-string is an ending.
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in private:
            yield node.attr
        elif isinstance(node, ast.Constant) and node.value in private and id(node) not in parts:
            yield node.value
        elif _sets_a_call(node):
            yield "call"


def _sets_a_call(node):
    if isinstance(node, ast.Subscript):
        return ast.unparse(node.slice) == "'call'"
    return isinstance(node, ast.Attribute) and node.attr == "call" and isinstance(node.ctx, ast.Store)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("layers = model._flatten_layers()", ["_flatten_layers"]),
        ("getattr(layer, '_inbound_nodes')", ["_inbound_nodes"]),
        ("x._keras_history.operation", ["_keras_history"]),
        ("class A(keras.Model):\n    def _maybe_symbolic_build(self): pass", ["_maybe_symbolic_build"]),
        ("vars(layer)['call'] = f", ["call"]),
        ("layer.call = f", ["call"]),
        ("self._mine = 1; self._mine; model.layers", []),
    ],
)
def test_what_is_found(code, found):
    assert list(_uses(ast.parse(code))) == found


def test_private_names_of_keras_are_in_one_module():
    files = [path for folder in ("condconv_keras", "benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py")]
    assert HOME in files
    assert list(_uses(ast.parse(HOME.read_text(encoding="utf-8"))))
    found = {path: sorted(_uses(ast.parse(path.read_text(encoding="utf-8")))) for path in files if path != HOME}
    assert {str(path): names for path, names in found.items() if names} == {}


class Block(keras.layers.Layer):
    """A layer of layers that is not a model."""

    def __init__(self):
        super().__init__(name="block")
        self.first, self.second = keras.layers.Dense(4, name="first"), keras.layers.Dense(3, name="second")

    def call(self, x):
        return self.second(self.first(x))


def test_all_layers():
    block = Block()
    inputs = keras.Input((4,))
    outputs = block(keras.layers.Dense(4, name="before")(block(inputs)))
    model = keras.Model(inputs, outputs, name="model")
    names = sorted(layer.name for layer in keras_graph.all_layers(model) if layer.weights)
    assert names == ["before", "block", "first", "model", "second"]
    names.remove("model")
    below = keras_graph.all_layers(model, include_self=False)
    assert sorted(layer.name for layer in below if layer.weights) == names


def test_calls_and_producers():
    x, y = keras.Input((4,)), keras.Input((4,))
    dense, add = keras.layers.Dense(3), keras.layers.Add()
    of_x, of_y = dense(x), dense(y)
    total = add([of_x, of_y])
    calls = keras_graph.calls_of(dense)
    assert [call.inputs[0] for call in calls] == [x, y]
    assert [call.outputs[0] for call in calls] == [of_x, of_y]
    (both,) = keras_graph.calls_of(add)
    assert both.inputs[0] is of_x and both.inputs[1] is of_y
    for tensor, layer, call in ((of_y, dense, calls[1]), (of_x, dense, calls[0]), (total, add, both)):
        operation, received = keras_graph.producer_of(tensor)
        assert operation is layer
        assert received.inputs[0] is call.inputs[0]
        assert received.outputs[0] is tensor


def _plus(amount, call):
    @functools.wraps(call)
    def replaced(*args, **kwargs):
        return call(*args, **kwargs) + amount

    return replaced


def test_calls_are_replaced_and_wrapped():
    layer, x = keras.layers.ReLU(), np.ones((1, 2), "float32")
    with keras_graph.wrapped_call(layer, functools.partial(_plus, 1)):
        np.testing.assert_array_equal(layer(x), x + 1)
        with keras_graph.wrapped_call(layer, functools.partial(_plus, 10)):
            np.testing.assert_array_equal(layer(x), x + 11)
        np.testing.assert_array_equal(layer(x), x + 1)
    assert "call" not in vars(layer)
    keras_graph.replace_call(layer, _plus(5, layer.call))
    with keras_graph.wrapped_call(layer, functools.partial(_plus, 10)):
        np.testing.assert_array_equal(layer(x), x + 15)
    np.testing.assert_array_equal(layer(x), x + 5)
    # The copy that a configuration makes is the class's own.
    np.testing.assert_array_equal(keras.layers.ReLU.from_config(layer.get_config())(x), x)


def test_the_slots_of_rmsprop():
    optimizer = keras.optimizers.RMSprop(0.1, rho=0.75, momentum=0.5)
    variables = [keras.Variable(np.full(2, value, "float32"), name=f"v{i}") for i, value in enumerate((1.0, 2.0))]
    optimizer.apply([keras.ops.ones(2) * 2, keras.ops.ones(2) * 4], variables)
    for variable, gradient in zip(variables, (2.0, 4.0), strict=True):
        mean_square, momentum = keras_graph.rmsprop_slots(optimizer, variable)
        np.testing.assert_allclose(mean_square, np.full(2, 0.25 * gradient**2), rtol=1e-6)
        np.testing.assert_allclose(momentum, np.full(2, 0.2), rtol=1e-4)  # 0.1 * g / sqrt(g * g / 4)


def test_compute_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        block = Block()
        model = keras.Sequential([keras.Input((4,)), block, keras.layers.Dense(1, dtype="float64")])
    finally:
        keras.config.set_dtype_policy("float32")
    assert block.first.compute_dtype == "bfloat16"
    keras_graph.compute_in_float32(model)
    assert {layer.compute_dtype for layer in (block, block.first, block.second)} == {"float32"}
    assert model.layers[-1].compute_dtype == "float64"


def test_normalization_computes_in_float32_by_the_weights_that_it_has():
    inputs = keras.Input((1,))
    layer = keras.layers.Normalization(dtype="mixed_bfloat16")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.float32([100.3]), np.float32([4]), *layer.get_weights()[2:]])
    keras_graph.compute_in_float32(model)
    np.testing.assert_allclose(model(np.float32([[103.3]])), [[1.5]], rtol=1e-5)
