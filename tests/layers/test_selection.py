"""What `implementation="auto"` may choose, and that choosing needs no other backend."""

import functools
import itertools
import sys

import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D
from condconv_keras.layers.forms import selection
from tests.layers.backends import BACKEND, requires_tensorflow
from tests.layers.cases import CONV_CASES, DEPTHWISE_CASES, build_layer
from tests.layers.test_forms import AUTO_CASES


@pytest.mark.skipif(BACKEND == "tensorflow", reason="the TensorFlow backend imports TensorFlow")
def test_other_backends_leave_tensorflow_alone():
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("case", [*CONV_CASES, *DEPTHWISE_CASES, *AUTO_CASES], ids=str)
def test_auto_chooses_a_form_that_computes_the_layer(case):
    layer = build_layer(case)
    last = case.data_format == "channels_last"
    layer.build((None, None, None, case.channels) if last else (None, case.channels, None, None))
    for batch, known, training in itertools.product((case.batch, None), (case.size, (None, None)), (False, True)):
        name = selection.select_form(layer.spec, case.experts, batch, known, training)
        selection.check_implementation(name, case.depthwise, case.groups, case.strides)
        assert name != "single_conv" or batch == 1


@requires_tensorflow
@pytest.mark.parametrize(
    ("size", "batch", "training", "expected"),
    [
        (7, None, False, "mapped_conv"),
        (None, None, False, "mapped_conv"),
        (19, 8, False, "mapped_conv"),
        (7, None, True, "grouped_conv"),
        (7, 8, False, "grouped_conv"),
        (7, 0, False, "grouped_conv"),
        (7, 1, False, "single_conv"),
    ],
)
def test_a_depthwise_form_for_litert_where_the_batch_is_unknown(monkeypatch, size, batch, training, expected):
    monkeypatch.setattr(selection.tensorflow_forms, "device", lambda: "cpu")
    layer = DepthwiseCondConv2D(3, num_experts=2)
    layer.build((None, None, None, 4))
    assert selection.select_form(layer.spec, 2, batch, (size, size), training) == expected


def test_every_form_of_either_layer_is_offered():
    both = {"auto", "serving", "mixture", "dense", "mapped_conv", "grouped_conv", "single_conv"}
    full = {"batched_matmul", "mixture_matmul", "mixture_conv"}
    assert set(selection.implementations(depthwise=False)) == both | full
    assert set(selection.implementations(depthwise=True)) == both | {"shifted_taps"}


@pytest.mark.parametrize(
    ("batch", "channels", "few", "is_few"),
    [
        (8, 512, (2, 2), True),
        (8, 512, (1, 5), False),
        (None, 512, (2, 2), True),
        (1, 4, (4, 4), True),
        (1, 512, (2, 2), True),
        (1, 512, (4, 4), False),
    ],
)
def test_few_pixels_are_mixed_in_one_product(batch, channels, few, is_few):
    layer = CondConv2D(channels, 1, num_experts=8)
    layer.build((batch, 2, 2, channels))
    cpu = BACKEND == "tensorflow" and not selection._on_gpu()
    for_many = "single_conv" if batch == 1 and cpu else "batched_matmul"
    assert selection.select_form(layer.spec, 8, batch, few) == ("mixture_matmul" if is_few else for_many)
    for size in ((14, 14), (None, None)):
        assert selection.select_form(layer.spec, 8, batch, size) == for_many
        assert selection.select_form(layer.spec, 8, batch, size, training=True) == "batched_matmul"


@requires_tensorflow
@pytest.mark.parametrize(
    ("kernel", "stride", "channels", "size", "experts", "expected", "without"),
    [
        (3, 1, 64, 2, 8, "dense", "mixture_matmul"),
        (3, 1, 16, 16, 8, "grouped_conv", "mapped_conv"),
        (3, 1, 3, 32, 8, "grouped_conv", "mapped_conv"),
        (3, 2, 32, 16, 2, "mixture_conv", "mapped_conv"),
        (3, 1, 64, 4, 8, "batched_matmul", "batched_matmul"),
        (5, 1, 64, 32, 8, "mapped_conv", "mapped_conv"),
        (1, 1, 128, 1, 8, "mixture_matmul", "mixture_matmul"),
        (1, 1, 128, 8, 8, "batched_matmul", "batched_matmul"),
        # Beyond what the estimates were fitted to.
        (3, 1, 8, 33, 8, "mapped_conv", "mapped_conv"),
        (3, 1, 129, 9, 8, "mapped_conv", "mapped_conv"),
    ],
)
@pytest.mark.parametrize("batch", [128, None])
def test_the_fastest_form_in_training(monkeypatch, kernel, stride, channels, size, experts, expected, without, batch):
    """Each was the fastest form in its measurement; without oneDNN and for few images the older rules hold."""
    layer = CondConv2D(channels, kernel, experts, strides=stride, padding="same")
    layer.build((None, None, None, channels))
    select = functools.partial(selection.select_form, layer.spec, experts, size=(size, size), training=True)
    monkeypatch.setattr(selection.tensorflow_forms, "device", lambda: "cpu")
    monkeypatch.setattr(selection, "_on_onednn", lambda dtype: dtype == "float32")
    assert select(batch=batch) == expected
    assert select(batch=15) == select(batch=batch, dtype="float16") == without


@requires_tensorflow
@pytest.mark.parametrize(("stride", "size", "is_dense"), [(1, 1, True), (1, 2, True), (1, 3, False), (2, 4, True)])
def test_a_depthwise_layer_of_few_pixels_is_trained_as_a_dense_one(monkeypatch, stride, size, is_dense):
    monkeypatch.setattr(selection.tensorflow_forms, "device", lambda: "cpu")
    monkeypatch.setattr(selection, "_on_onednn", lambda dtype: True)
    layer = DepthwiseCondConv2D(3, num_experts=2, strides=stride, padding="same")
    layer.build((None, None, None, 4))
    assert (selection.select_form(layer.spec, 2, 128, (size, size), training=True) == "dense") == is_dense
