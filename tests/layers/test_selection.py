"""What `implementation="auto"` may choose, and that choosing needs no other backend."""

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
    pixels = layer.spec.geometry.output_pixels(*case.size)
    for batch, known, training in itertools.product((case.batch, None), (pixels, None), (False, True)):
        name = selection.select_form(layer.spec, case.experts, batch, known, training)
        selection.check_implementation(name, case.depthwise, case.groups, case.strides)
        assert name != "single_conv" or batch == 1


@requires_tensorflow
@pytest.mark.parametrize(
    ("size", "batch", "training", "expected"),
    [
        (7, None, False, "mapped_groups"),
        (None, None, False, "mapped_groups"),
        (17, None, False, "mapped_conv"),
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
    pixels = size and size**2
    assert selection.select_form(layer.spec, 2, batch, pixels, training) == expected


def test_every_form_of_either_layer_is_offered():
    both = {"auto", "mixture", "mapped_conv", "grouped_conv", "single_conv"}
    assert set(selection.implementations(depthwise=False)) == both | {"batched_matmul", "mixture_matmul"}
    assert set(selection.implementations(depthwise=True)) == both | {"shifted_taps", "mapped_groups"}


@pytest.mark.parametrize(
    ("batch", "channels", "few", "is_few"),
    [
        (8, 512, 4, True),
        (8, 512, 5, False),
        (None, 512, 4, True),
        (1, 4, 16, True),
        (1, 512, 4, True),
        (1, 512, 16, False),
    ],
)
def test_few_pixels_are_mixed_in_one_product(batch, channels, few, is_few):
    layer = CondConv2D(channels, 1, num_experts=8)
    layer.build((batch, 2, 2, channels))
    cpu = BACKEND == "tensorflow" and not selection._on_gpu()
    for_many = "single_conv" if batch == 1 and cpu else "batched_matmul"
    assert selection.select_form(layer.spec, 8, batch, few) == ("mixture_matmul" if is_few else for_many)
    for pixels in (196, None):
        assert selection.select_form(layer.spec, 8, batch, pixels) == for_many
        assert selection.select_form(layer.spec, 8, batch, pixels, training=True) == "batched_matmul"
