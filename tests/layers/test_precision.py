"""Routing and mixing stay float32 under mixed precision, in values and not only in name."""

import dataclasses

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, Routing
from condconv_keras.layers.forms import selection
from tests import oracle
from tests.layers.backends import float64_policy, outputs_and_gradients
from tests.layers.cases import CONV_CASES, DEPTHWISE_CASES, Case, assert_agrees, build_layer, random_arrays, set_experts
from tests.layers.test_forms import computes

HALF = ["mixed_float16", "mixed_bfloat16"]
# All four experts are equal, so that only a kernel mixed in float32 is left: one expert times the sum of the weights.
CANCELING = {
    "a difference that bfloat16 rounds away": [1.0, -0.999, 0.5, -0.5],
    "a partial sum that overflows in float16": [40000.0, 40000.0, -60000.0, -19999.0],
}
SMALL = {
    False: Case((3, 3), size=(5, 4), bias=True, batch=2),
    True: Case((3, 3), features=1, size=(5, 4), bias=True, batch=2, depthwise=True),
}
FORMS = [
    pytest.param(depthwise, form, id=f"{form}-{'depthwise' if depthwise else 'full'}")
    for depthwise, case in SMALL.items()
    for form in selection.implementations(depthwise)
    if form == "single_conv" or computes(form, case)
]


@pytest.mark.parametrize(("depthwise", "form"), FORMS)
@pytest.mark.parametrize("policy", HALF)
@pytest.mark.parametrize("weights", CANCELING.values(), ids=CANCELING)
def test_kernel_and_bias_are_mixed_in_float32(weights, policy, depthwise, form):
    case = dataclasses.replace(SMALL[depthwise], batch=1) if form == "single_conv" else SMALL[depthwise]
    x, _, experts, bias, _ = random_arrays(case)
    experts, bias = np.repeat(experts[:1], 4, axis=0), np.repeat(bias[:1], 4, axis=0)
    routing = np.tile(np.array(weights, "float32"), (case.batch, 1))
    layer = build_layer(case, form, dtype=policy)
    layer.build(x.shape, routing.shape)
    set_experts(layer, experts, bias)
    outputs = layer(x, routing)
    assert keras.backend.standardize_dtype(outputs.dtype) == policy.removeprefix("mixed_")
    expected = oracle.forward(case.convolution, x, routing, experts, bias)
    actual = keras.ops.convert_to_numpy(keras.ops.cast(outputs, "float32"))
    assert oracle.relative_error(actual, expected) < 2e-2


@pytest.mark.parametrize("policy", HALF)
def test_routing_returns_float32_from_float32_variables(policy):
    layer = Routing(3, dtype=policy)
    symbolic = layer(keras.Input((4, 4, 5), dtype=policy.removeprefix("mixed_")))
    outputs = layer(keras.ops.ones((2, 4, 4, 5), dtype=policy.removeprefix("mixed_")))
    assert symbolic.dtype == "float32"
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    assert {variable.dtype for variable in layer.variables} == {"float32"}


@pytest.mark.parametrize("policy", HALF)
def test_routing_is_computed_in_float32(policy):
    layer = Routing(1, dtype=policy)
    # The sum over the pixels overflows in float16, and bfloat16 keeps three digits of the logit.
    x = keras.ops.full((1, 64, 64, 2), 60.0, dtype=policy.removeprefix("mixed_"))
    layer.build(x.shape)
    layer.set_weights([np.array([[1.001], [-1.0]], "float32"), np.array([0.001], "float32")])
    expected = 1 / (1 + np.exp(-(60 * 0.001 + 0.001)))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), [[expected]], rtol=1e-5)


@pytest.mark.parametrize("policy", HALF)
def test_routing_does_not_round_a_float32_input(policy):
    layer = Routing(1, dtype=policy)
    layer.build((1, 2, 2, 1))
    layer.set_weights([np.array([[1000.0]], "float32"), np.array([-1000.0], "float32")])
    outputs = keras.ops.convert_to_numpy(layer(np.full((1, 2, 2, 1), 1.0003, "float32")))
    np.testing.assert_allclose(outputs, [[1 / (1 + np.exp(-0.3))]], rtol=1e-3)


@pytest.mark.parametrize("policy", HALF)
def test_the_own_router_and_the_bank_are_float32(policy):
    layer = CondConv2D(3, 3, 4, dtype=policy)
    outputs = layer(np.ones((2, 6, 6, 5), "float32"))
    assert keras.backend.standardize_dtype(outputs.dtype) == policy.removeprefix("mixed_")
    assert layer.router.routing_dtype == "float32"
    assert {variable.dtype for variable in layer.variables} == {"float32"}


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_routing_weights_and_inputs_of_other_dtypes_are_cast(dtype):
    layer = CondConv2D(3, 3, 2, use_bias=False)
    x, routing = np.arange(50).reshape(1, 5, 5, 2) % 7, np.array([[1, 2]])
    expected = keras.ops.convert_to_numpy(layer(x.astype("float32"), routing.astype("float32")))
    actual = layer(x.astype(dtype), routing.astype(dtype))
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    assert oracle.relative_error(keras.ops.convert_to_numpy(actual), expected) < 1e-6


@float64_policy
@pytest.mark.parametrize("case", [CONV_CASES[0], CONV_CASES[4], CONV_CASES[5], DEPTHWISE_CASES[3]], ids=str)
def test_float64_is_float64_throughout(case):
    arrays = tuple(array if array is None else array.astype("float64") / 3 for array in random_arrays(case))
    x, routing, experts, bias, upstream = arrays
    layer = build_layer(case, dtype="float64")
    layer.build(x.shape, routing.shape)
    set_experts(layer, experts, bias)
    result = outputs_and_gradients(layer, (x, routing), upstream)
    assert_agrees(case, arrays, result)
    expected = oracle.forward(case.convolution, *arrays[:4])
    assert result[0].dtype == np.float64
    assert oracle.relative_error(result[0], expected) < 1e-12
    router = Routing(2, dtype="float64")
    assert keras.backend.standardize_dtype(router(x).dtype) == router.routing_dtype == "float64"
