"""What `implementation="auto"` may choose, and that choosing needs no other backend."""

import itertools
import sys

import pytest

from condconv_keras import CondConv2D
from condconv_keras.layers.forms import selection
from tests.layers.backends import BACKEND
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


def test_every_form_of_either_layer_is_offered():
    both = {"auto", "mixture", "mapped_conv", "grouped_conv", "single_conv"}
    assert set(selection.implementations(depthwise=False)) == both | {"batched_matmul", "mixture_matmul"}
    assert set(selection.implementations(depthwise=True)) == both | {"shifted_taps"}


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
