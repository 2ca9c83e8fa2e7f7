"""Every form of every layer against the NumPy oracle: outputs and all gradients."""

import numpy as np
import pytest

from condconv_keras.layers.forms import selection
from tests import processes
from tests.layers.backends import (
    BACKEND,
    compiled_outputs_and_gradients,
    outputs_and_gradients,
    requires_tensorflow,
)
from tests.layers.cases import (
    CONV_CASES,
    DEPTHWISE_CASES,
    Case,
    assert_agrees,
    build_layer,
    random_arrays,
    set_experts,
    to_format,
)


def computes(form, case):
    """Whether a form computes a case at all; the refusals themselves are tested in test_errors.py."""
    if form == "single_conv":
        return case.batch == 1
    if form == "mapped_conv" and BACKEND != "tensorflow":
        return False
    if form in ("mixture_matmul", "mixture_conv") or (form == "dense" and not case.depthwise):
        return case.groups == 1
    if form == "grouped_conv":
        return not (case.depthwise and case.strides[0] != case.strides[1])
    return True


def computes_any_size(form):
    """Whether a form computes batches and feature maps of a size that is unknown while a function is traced."""
    return form not in ("single_conv", "dense")


def pairs(cases, forms):
    return [pytest.param(form, case, id=f"{form}-{case}") for case in cases for form in forms if computes(form, case)]


CONV = pairs(CONV_CASES, selection.CONV_FORMS)
DEPTHWISE = pairs(DEPTHWISE_CASES, selection.DEPTHWISE_FORMS)


def prepared(form, case, **kwargs):
    """A built layer, its two inputs, and the arrays behind it."""
    arrays = random_arrays(case)
    x, routing, experts, bias, _ = arrays
    layer = build_layer(case, form, **kwargs)
    x = to_format(case, x)
    layer.build(x.shape, routing.shape)
    set_experts(layer, experts, bias)
    return layer, (x, routing), arrays


def upstream_of(case, arrays):
    return to_format(case, arrays[4])


@pytest.mark.parametrize(("form", "case"), CONV + DEPTHWISE)
def test_form_agrees_with_the_oracle(form, case):
    layer, inputs, arrays = prepared(form, case)
    assert_agrees(case, arrays, outputs_and_gradients(layer, inputs, upstream_of(case, arrays)))


@requires_tensorflow
@pytest.mark.parametrize("case", [CONV_CASES[4], CONV_CASES[5], CONV_CASES[12]], ids=str)
def test_groups_without_onednn_have_the_gradients_of_a_loop(monkeypatch, case):
    from condconv_keras.layers.forms import tensorflow_forms

    monkeypatch.setattr(tensorflow_forms, "has_gradient_of_groups", lambda dtype: False)
    layer, inputs, arrays = prepared("grouped_conv", case)
    assert_agrees(case, arrays, outputs_and_gradients(layer, inputs, upstream_of(case, arrays)))


# What is computed without all sizes is so without the batch's.
UNKNOWN = [pytest.param((0,), id="batch", marks=pytest.mark.slow), pytest.param((0, 1, 2), id="batch-and-size")]
COMPILED = [CONV_CASES[0], CONV_CASES[5], CONV_CASES[12], DEPTHWISE_CASES[3], DEPTHWISE_CASES[5], DEPTHWISE_CASES[13]]


@requires_tensorflow
@pytest.mark.parametrize(
    ("form", "case"),
    [
        pytest.param(*p.values, id=p.id)
        for p in CONV + DEPTHWISE
        if p.values[1] in COMPILED and computes_any_size(p.values[0])
    ],
)
# With all sizes known, a trace computes what an eager call does.
@pytest.mark.parametrize("unknown", UNKNOWN)
def test_form_agrees_inside_a_traced_function(form, case, unknown):
    layer, inputs, arrays = prepared(form, case)
    result = compiled_outputs_and_gradients(layer, inputs, upstream_of(case, arrays), unknown)
    assert_agrees(case, arrays, result)


@requires_tensorflow
@pytest.mark.parametrize("case", [CONV_CASES[4], CONV_CASES[18], DEPTHWISE_CASES[2], DEPTHWISE_CASES[17]], ids=str)
def test_a_dense_form_of_an_unknown_batch(case):
    layer, inputs, arrays = prepared("dense", case)
    assert_agrees(case, arrays, compiled_outputs_and_gradients(layer, inputs, upstream_of(case, arrays), unknown=(0,)))


@requires_tensorflow
@pytest.mark.parametrize("case", [*CONV_CASES, *DEPTHWISE_CASES], ids=str)
@pytest.mark.parametrize("unknown", UNKNOWN)
def test_auto_agrees_for_sizes_unknown_while_tracing(case, unknown):
    layer, inputs, arrays = prepared("auto", case)
    assert_agrees(case, arrays, compiled_outputs_and_gradients(layer, inputs, upstream_of(case, arrays), unknown))


@requires_tensorflow
@pytest.mark.parametrize("case", [CONV_CASES[0], CONV_CASES[4], CONV_CASES[11], *DEPTHWISE_CASES[2:4]], ids=str)
@pytest.mark.parametrize("unknown", [(), (0,)], ids=["static", "batch"])
def test_auto_agrees_under_xla(case, unknown):
    layer, inputs, arrays = prepared("auto", case)
    result = compiled_outputs_and_gradients(layer, inputs, upstream_of(case, arrays), unknown, jit_compile=True)
    assert_agrees(case, arrays, result)


# Sizes on both sides of every rule of the selection: few and many pixels, batch 1, deep layers.
AUTO_CASES = [
    Case((1, 1), size=(1, 1), channels=16, features=12, experts=8, batch=7),
    Case((1, 1), size=(2, 2), channels=16, features=12, batch=1),
    Case((1, 1), size=(14, 14), channels=16, features=12, batch=1),
    Case((3, 3), size=(2, 2), channels=8, features=6, batch=7),
    Case((3, 3), size=(14, 14), channels=8, features=6, batch=7),
    Case((3, 3), size=(14, 14), channels=8, features=6, batch=1),
    Case((3, 3), size=(18, 18), channels=8, features=1, depthwise=True),
    Case((3, 3), size=(18, 18), channels=8, features=1, depthwise=True, batch=1),
    Case((5, 5), size=(14, 14), channels=8, features=1, depthwise=True),
    Case((5, 5), size=(14, 14), strides=(2, 2), channels=8, features=1, depthwise=True, batch=1),
]


@pytest.mark.parametrize("case", AUTO_CASES, ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_auto_agrees_on_both_sides_of_its_rules(case, training):
    layer, inputs, arrays = prepared("auto", case)
    assert_agrees(case, arrays, outputs_and_gradients(layer, inputs, upstream_of(case, arrays), training))


def _second_order(form, case):
    """Gradients of the sum of the squared gradients, of inputs, routing weights and experts."""
    import tensorflow as tf

    layer, inputs, arrays = prepared(form, case)
    watched = [tf.constant(each) for each in inputs]
    with tf.GradientTape() as second:
        second.watch(watched)
        with tf.GradientTape() as first:
            first.watch(watched)
            outputs = layer(*watched, training=True)
            loss = tf.reduce_sum(outputs**2 * upstream_of(case, arrays))
        gradients = first.gradient(loss, [*watched, layer.bank.value])
        squares = tf.add_n([tf.reduce_sum(gradient**2) for gradient in gradients])
    return second.gradient(squares, [*watched, layer.bank.value])


SECOND_ORDER = pairs(
    [Case((3, 3), channels=4, features=3, batch=3), Case((3, 3), strides=(2, 2), size=(4, 4), batch=3)],
    ["auto", *selection.CONV_FORMS],
) + pairs(
    [Case((3, 3), features=1, depthwise=True, batch=3, size=(2, 2)), Case((3, 3), features=1, depthwise=True, batch=3)],
    ["auto", *selection.DEPTHWISE_FORMS],
)


@requires_tensorflow
@pytest.mark.parametrize(("form", "case"), SECOND_ORDER)
def test_second_order_gradients_are_those_of_the_mixture(form, case):
    for computed, expected in zip(_second_order(form, case), _second_order("mixture", case), strict=True):
        np.testing.assert_allclose(computed, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


# Each is trained in the form before it on an x86 CPU with oneDNN.
TRAINED = [
    ("grouped_conv", Case((3, 3), size=(9, 8), channels=8, features=8, batch=32)),
    ("grouped_conv", Case((3, 3), size=(16, 16), channels=3, features=8, batch=16, data_format="channels_first")),
    ("mixture_conv", Case((3, 3), strides=(2, 2), size=(18, 18), channels=8, features=4, experts=2, batch=32)),
    ("batched_matmul", Case((3, 3), size=(4, 5), channels=6, features=8, experts=8, batch=16, bias=True)),
    ("dense", Case((3, 3), size=(2, 2), channels=8, features=6, batch=17)),
    ("mixture_matmul", Case((1, 1), size=(1, 2), channels=8, features=6, batch=16)),
    ("dense", Case((3, 3), size=(2, 2), channels=8, features=1, batch=16, depthwise=True)),
    ("dense", Case((3, 3), size=(4, 4), strides=(2, 2), channels=8, features=2, batch=16, depthwise=True)),
]


@requires_tensorflow
@pytest.mark.parametrize(("form", "case"), TRAINED)
@pytest.mark.parametrize("unknown", [(), (0,)], ids=["known", "unknown-batch"])
def test_training_agrees_in_the_form_that_is_chosen(monkeypatch, form, case, unknown):
    monkeypatch.setattr(selection, "_on_onednn", lambda dtype: True)
    layer, inputs, arrays = prepared("auto", case)
    chosen = []
    get_form = selection.get_form
    monkeypatch.setattr(selection, "get_form", lambda *args: chosen.append(args[0]) or get_form(*args))
    result = compiled_outputs_and_gradients(layer, inputs, upstream_of(case, arrays), unknown, training=True)
    assert_agrees(case, arrays, result)
    assert unknown or set(chosen) == {form}


def _flat(result):
    outputs, input_gradients, variable_gradients = result
    return [outputs, *input_gradients, *variable_gradients]


@requires_tensorflow
@pytest.mark.parametrize(("form", "case"), TRAINED)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_training_in_mixed_precision(form, case, policy):
    layer, inputs, arrays = prepared(form, case, dtype=policy)
    precise, _, _ = prepared(form, case)
    upstream = upstream_of(case, arrays)
    results = [outputs_and_gradients(each, inputs, upstream, training=True) for each in (layer, precise)]
    for computed, expected in zip(*(_flat(result) for result in results), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(np.asarray(computed, "float32") / scale, expected / scale, atol=0.03)


@requires_tensorflow
def test_training_without_onednn():
    """TensorFlow reads the variable when it starts; a convolution in groups then has no gradient on a CPU."""
    program = """if True:
        import keras
        from condconv_keras import CondConv2D
        from condconv_keras.layers.forms import tensorflow_forms
        assert not tensorflow_forms.has_gradient_of_groups("float32")
        model = keras.Sequential([keras.Input((16, 16, 8)), CondConv2D(8, 3, 4, padding="same")])
        model.compile("sgd", "mse", jit_compile=False)
        history = model.fit(keras.random.normal((32, 16, 16, 8)), keras.random.normal((32, 14, 14, 8))[:, :1, :1])
        assert history.history["loss"][0] > 0
    """
    processes.run("-c", program, TF_ENABLE_ONEDNN_OPTS="0")


@pytest.mark.parametrize(
    "form", ["auto", "mixture", "dense", "batched_matmul", "mixture_matmul", "mixture_conv", "grouped_conv"]
)
def test_one_layer_takes_any_batch(form):
    case = Case((3, 3), bias=True, batch=7)
    layer, (x, routing), _ = prepared(form, case)
    whole = np.asarray(outputs_and_gradients(layer, (x, routing), np.ones((7, 7, 6, 6), "float32"))[0])
    for part in (slice(0, 5), slice(5, 7), slice(2, 3)):
        ones = np.ones(whole[part].shape, "float32")
        outputs = outputs_and_gradients(layer, (x[part], routing[part]), ones)[0]
        np.testing.assert_allclose(outputs, whole[part], rtol=1e-4, atol=1e-5)


# Of both layers: with and without a stride, with groups, multiplier and dilation.
EMPTY = [CONV_CASES[1], CONV_CASES[5], CONV_CASES[11], *(DEPTHWISE_CASES[i] for i in (1, 2, 6, 8))]


def _assert_nothing_comes_of_nothing(case, arrays, result):
    outputs, input_gradients, variable_gradients = result
    x, routing, *_ = arrays
    assert outputs.shape == upstream_of(case, arrays)[:0].shape
    assert [gradient.shape for gradient in input_gradients] == [to_format(case, x)[:0].shape, routing[:0].shape]
    assert len(variable_gradients) == 1 + case.bias
    for gradient in variable_gradients:
        np.testing.assert_array_equal(gradient, 0)


EMPTY_FORMS = [
    pytest.param(form, case, id=f"{form}-{case}")
    for case in EMPTY
    for form in ("auto", *(selection.DEPTHWISE_FORMS if case.depthwise else selection.CONV_FORMS))
    if form != "single_conv" and computes(form, case)
]


@pytest.mark.parametrize(("form", "case"), EMPTY_FORMS)
def test_an_empty_batch_has_empty_outputs_and_no_gradient(form, case):
    layer, (x, routing), arrays = prepared(form, case)
    for training in (False, True) if form == "auto" else (False,):
        result = outputs_and_gradients(layer, (x[:0], routing[:0]), upstream_of(case, arrays)[:0], training)
        _assert_nothing_comes_of_nothing(case, arrays, result)


@requires_tensorflow
@pytest.mark.parametrize(
    ("form", "case"),
    # Half of the cases, of both layers; the others are slow.
    [
        pytest.param(*p.values, id=p.id, marks=[] if p.values[1] in EMPTY[::2] else pytest.mark.slow)
        for p in EMPTY_FORMS
        if computes_any_size(p.values[0])
    ],
)
def test_a_batch_of_unknown_size_may_be_empty(form, case):
    layer, (x, routing), arrays = prepared(form, case)
    inputs, upstream = (x[:0], routing[:0]), upstream_of(case, arrays)[:0]
    result = compiled_outputs_and_gradients(layer, inputs, upstream, unknown=(0, 1, 2))
    _assert_nothing_comes_of_nothing(case, arrays, result)


@requires_tensorflow
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", [CONV_CASES[5], DEPTHWISE_CASES[2]], ids=str)
def test_an_empty_batch_under_xla(case, training):
    layer, (x, routing), arrays = prepared("auto", case)
    inputs, upstream = (x[:0], routing[:0]), upstream_of(case, arrays)[:0]
    result = compiled_outputs_and_gradients(layer, inputs, upstream, (0,), jit_compile=True, training=training)
    _assert_nothing_comes_of_nothing(case, arrays, result)


@requires_tensorflow
@pytest.mark.parametrize("form", ["auto", *(form for form in selection.CONV_FORMS if form != "single_conv")])
def test_output_size_is_known_while_a_function_is_traced(form):
    import tensorflow as tf

    layer, _, _ = prepared(form, Case((3, 3)))
    traced = tf.function(layer).get_concrete_function(tf.TensorSpec((None, 7, 6, 4)), tf.TensorSpec((None, 4)))
    assert traced.output_shapes[1:] == (7, 6, 6)
