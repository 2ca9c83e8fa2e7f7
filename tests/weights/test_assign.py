"""All of a source goes into a model, or nothing."""

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, Routing
from condconv_keras.utils.errors import UserError
from condconv_keras.weights import WeightSource
from condconv_keras.weights.assign import assign_weights, check_experts


def _model():
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(2, 1, name="conv")(inputs))
    x = CondConv2D(5, 1, num_experts=2, name="cond", use_bias=False)(x, Routing(2, name="routing")(x))
    return keras.Model(inputs, keras.layers.Dropout(0.5)(x), name="net")


def _source(model, **changes):
    """A source of new values that names the variables by their path; a change of None takes a tensor away."""
    rng = np.random.default_rng(0)
    tensors = {variable.path: rng.normal(size=variable.shape).astype(np.float32) for variable in model.weights}
    tensors = {key: value for key, value in {**tensors, **changes}.items() if value is not None}
    return WeightSource("file 'x'", tensors, lambda layer, variable: (f"{layer.name}/{variable}", lambda array: array))


def test_sets_every_variable():
    model = _model()
    source = _source(model)
    assign_weights(model, source)
    assert len(source.tensors) == len(model.weights) == 9
    for variable in model.weights:
        np.testing.assert_array_equal(variable, source.tensors[variable.path])


def test_converts_layout_and_precision():
    model = _model()
    source = _source(model, **{"conv/kernel": np.arange(6, dtype=np.float16).reshape(1, 1, 2, 3)})

    def find(layer, variable):
        key, convert = source.find(layer, variable)
        return key, (lambda array: array.transpose(0, 1, 3, 2)) if key == "conv/kernel" else convert

    assign_weights(model, WeightSource("x", source.tensors, find))
    np.testing.assert_array_equal(model.get_layer("conv").kernel[0, 0], [[0, 3], [1, 4], [2, 5]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv/bias": None}, "missing 'conv/bias' for conv/bias"),
        ({"extra": np.zeros(3)}, r"left over 'extra' \(3,\)"),
        (
            {"conv/kernel": np.zeros((1, 1, 3, 7))},
            r"'conv/kernel' for conv/kernel has shape \(1, 1, 3, 7\), which does not give \(1, 1, 3, 2\)",
        ),
        ({"conv/bias": np.array([1, np.nan])}, "'conv/bias' for conv/bias has values that are not finite"),
        ({"conv/bias": np.array([1, np.inf])}, "'conv/bias' for conv/bias has values that are not finite"),
        ({"conv/bias": np.array([1, 2])}, "'conv/bias' for conv/bias is int64, not floating-point"),
    ],
)
def test_refuses_what_does_not_fit_and_leaves_the_model_as_it_was(changes, message):
    model = _model()
    before = [np.array(variable) for variable in model.weights]
    with pytest.raises(UserError, match=f"^file 'x' does not fit the model 'net': {message}$"):
        assign_weights(model, _source(model, **changes))
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_refuses_to_use_a_tensor_twice_and_variables_that_the_source_cannot_name():
    model = _model()
    source = _source(model)

    def find(layer, variable):
        if variable == "bias":
            raise KeyError(variable)
        return ("norm/gamma" if variable == "beta" else f"{layer.name}/{variable}"), lambda array: array

    with pytest.raises(UserError) as error:
        assign_weights(model, WeightSource("file 'x'", source.tensors, find))
    for text in ("nothing for conv/bias", "'norm/gamma' is used 2 times", "left over 'norm/beta'"):
        assert text in str(error.value)


def test_names_the_first_ten():
    model = _model()
    left_over = {f"extra_{i}": np.zeros(1) for i in range(12)}
    with pytest.raises(UserError, match=r"left over 'extra_9' \(1,\); and 2 more$") as error:
        assign_weights(model, _source(model, **left_over))
    assert "extra_10" not in str(error.value)


def test_names_both_numbers_of_experts():
    model = _model()
    check_experts(model, _source(model))
    with pytest.raises(UserError, match=r"has 4 experts, the model 'net' 2: pass `num_experts=4`$"):
        check_experts(model, _source(model, **{"routing/bias": np.zeros(4)}))
