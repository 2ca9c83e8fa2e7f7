"""Wrong arguments and calls: a ValueError that names the argument, what was expected and what came."""

import re

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from tests.layers.backends import BACKEND


def conv(filters=4, kernel_size=3, num_experts=2, **kwargs):
    return CondConv2D(filters, kernel_size, num_experts, **kwargs)


def depthwise(kernel_size=3, num_experts=2, **kwargs):
    return DepthwiseCondConv2D(kernel_size, num_experts, **kwargs)


def routing(num_experts=2, **kwargs):
    return Routing(num_experts, **kwargs)


def zeros(*shape):
    return np.zeros(shape, "float32")


POSITIVE = "must be a positive integer"
PAIR = "must be a positive integer or a pair of them"
SHARED = [
    ({"num_experts": 0}, f"`num_experts` {POSITIVE}. Received: num_experts=0"),
    ({"num_experts": -1}, f"`num_experts` {POSITIVE}. Received: num_experts=-1"),
    ({"num_experts": 2.0}, f"`num_experts` {POSITIVE}. Received: num_experts=2.0"),
    ({"num_experts": "2"}, f"`num_experts` {POSITIVE}. Received: num_experts='2'"),
    ({"num_experts": None}, f"`num_experts` {POSITIVE}. Received: num_experts=None"),
    ({"num_experts": True}, f"`num_experts` {POSITIVE}. Received: num_experts=True"),
    ({"data_format": "NHWC"}, "`data_format` must be 'channels_last' or 'channels_first'. Received: data_format="),
]
CONVOLUTION = [
    *SHARED,
    ({"kernel_size": 0}, f"`kernel_size` {PAIR}. Received: kernel_size=0"),
    ({"kernel_size": (3,)}, f"`kernel_size` {PAIR}. Received: kernel_size=(3,)"),
    ({"kernel_size": 3.0}, f"`kernel_size` {PAIR}. Received: kernel_size=3.0"),
    ({"strides": 0}, f"`strides` {PAIR}. Received: strides=0"),
    ({"strides": (1, 1, 1)}, f"`strides` {PAIR}. Received: strides=(1, 1, 1)"),
    ({"strides": "2"}, f"`strides` {PAIR}. Received: strides='2'"),
    ({"dilation_rate": -1}, f"`dilation_rate` {PAIR}. Received: dilation_rate=-1"),
    ({"padding": "causal"}, "`padding` must be 'valid' or 'same'. Received: padding='causal'"),
    ({"padding": 1}, "`padding` must be 'valid' or 'same'. Received: padding=1"),
    ({"implementation": "fast"}, "Received: implementation='fast'"),
    ({"implementation": None}, "Received: implementation=None"),
]
FULL = [
    ({"filters": 0}, f"`filters` {POSITIVE}. Received: filters=0"),
    ({"filters": 2.5}, f"`filters` {POSITIVE}. Received: filters=2.5"),
    ({"groups": 0}, f"`groups` {POSITIVE}. Received: groups=0"),
    ({"groups": "2"}, f"`groups` {POSITIVE}. Received: groups='2'"),
    ({"groups": 3}, "`groups` must divide `filters`. Received: groups=3, filters=4"),
    ({"strides": 2, "dilation_rate": 2}, "Received: strides=(2, 2), dilation_rate=(2, 2)"),
    ({"strides": (1, 2), "dilation_rate": (2, 1)}, "Received: strides=(1, 2), dilation_rate=(2, 1)"),
    ({"implementation": "shifted_taps"}, "Received: implementation='shifted_taps'"),
    ({"implementation": "mixture_matmul", "groups": 2}, "'mixture_matmul' has no groups. Received: groups=2"),
    ({"implementation": "mixture_conv", "groups": 2}, "'mixture_conv' has no groups. Received: groups=2"),
    ({"implementation": "dense", "groups": 2}, "'dense' has no groups. Received: groups=2"),
]
DEPTHWISE = [
    ({"depth_multiplier": 0}, f"`depth_multiplier` {POSITIVE}. Received: depth_multiplier=0"),
    ({"depth_multiplier": 1.5}, f"`depth_multiplier` {POSITIVE}. Received: depth_multiplier=1.5"),
    ({"strides": (1, 2), "dilation_rate": 2}, "Received: strides=(1, 2), dilation_rate=(2, 2)"),
    ({"implementation": "batched_matmul"}, "Received: implementation='batched_matmul'"),
    (
        {"implementation": "grouped_conv", "strides": (1, 2)},
        "'grouped_conv' has no asymmetric strides. Received: strides=(1, 2)",
    ),
]
CONSTRUCTION = [
    *((routing, *case) for case in SHARED),
    *((make, *case) for make in (conv, depthwise) for case in CONVOLUTION),
    *((conv, *case) for case in FULL),
    *((depthwise, *case) for case in DEPTHWISE),
]


def message_of(call):
    with pytest.raises(ValueError) as caught:
        call()
    # Keras puts text around an error raised inside `call`: a headline, colors, and the arguments.
    message = re.sub(r"\x1b\[\d+m", "", str(caught.value))
    return message.split(".call().\n\n")[-1].split("\n\nArguments received by")[0]


@pytest.mark.parametrize(("make", "kwargs", "expected"), CONSTRUCTION)
def test_argument_out_of_range(make, kwargs, expected):
    message = message_of(lambda: make(**kwargs))
    assert expected in message
    assert "\n" not in message


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow has every form")
@pytest.mark.parametrize("make", [conv, depthwise])
def test_a_form_that_the_backend_lacks(make):
    message = message_of(lambda: make(implementation="mapped_conv"))
    assert "mapped_conv" in message
    assert f"Received: backend={BACKEND!r}" in message


X = (2, 6, 6, 4)
CALLS = {
    "routing of rank 1": (
        X,
        (2,),
        "must have the shape (batch, num_experts), here (2, 2). Received: routing_weights.sh",
    ),
    "routing of rank 3": (X, (2, 2, 1), "Received: routing_weights.shape=(2, 2, 1), inputs.shape=(2, 6, 6, 4)"),
    "routing too wide": (X, (2, 3), "Received: routing_weights.shape=(2, 3), inputs.shape=(2, 6, 6, 4)"),
    "routing of one example": (X, (1, 2), "Received: routing_weights.shape=(1, 2), inputs.shape=(2, 6, 6, 4)"),
    "routing of another batch": (X, (3, 2), "Received: routing_weights.shape=(3, 2), inputs.shape=(2, 6, 6, 4)"),
    "input of rank 2": ((2, 4), (2, 2), "must be 4-D. Received: inputs.shape=(2, 4)"),
    "input of rank 5": ((2, 6, 6, 6, 4), (2, 2), "must be 4-D. Received: inputs.shape=(2, 6, 6, 6, 4)"),
    "no pixel left": ((2, 2, 6, 4), (2, 2), "no pixels. Received: inputs.shape=(2, 2, 6, 4), kernel_size=(3, 3)"),
}


@pytest.mark.parametrize("make", [conv, depthwise])
@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize(("shape", "routing_shape", "expected"), CALLS.values(), ids=CALLS)
def test_wrong_call(shape, routing_shape, expected, built, make):
    eager, symbolic = make(), make()
    if built:
        for layer in (eager, symbolic):
            layer.build(X, (2, 2))
    assert expected in message_of(lambda: eager(zeros(*shape), zeros(*routing_shape)))
    inputs = (keras.Input(batch_shape=shape), keras.Input(batch_shape=routing_shape))
    assert expected in message_of(lambda: symbolic(*inputs))


@pytest.mark.parametrize("make", [conv, depthwise])
def test_symbolic_routing_of_unknown_batch(make):
    x, width = keras.Input((6, 6, 4)), keras.Input((3,))
    expected = "here (None, 2). Received: routing_weights.shape=(None, 3), inputs.shape=(None, 6, 6, 4)"
    assert expected in message_of(lambda: make()(x, width))


@pytest.mark.parametrize("make", [conv, depthwise])
@pytest.mark.parametrize(
    ("size", "received"),
    [
        ((None, 4), "height=None, width=4, output pixels=None"),
        ((20, 20), "height=20, width=20, output pixels=324"),
    ],
)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_dense_form_of_an_unknown_or_a_large_map(data_format, size, received, make):
    layer = make(implementation="dense", data_format=data_format)
    shape = (*size, 4) if data_format == "channels_last" else (4, *size)
    message = message_of(lambda: layer(keras.Input(shape), keras.Input((2,))))
    assert "'dense' takes small feature maps of known size" in message
    assert message.endswith(f"Received: {received}")


@pytest.mark.parametrize("make", [conv, depthwise])
@pytest.mark.parametrize("symbolic", [False, True])
def test_missing_routing_weights(make, symbolic):
    layer = make(name="conditional")
    layer(zeros(*X), zeros(2, 2))
    message = message_of(lambda: layer(keras.Input(X[1:]) if symbolic else zeros(*X)))
    assert "'conditional' was built for given routing weights" in message
    assert message.endswith("Received: routing_weights=None")


@pytest.mark.parametrize("make", [conv, depthwise])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_other_channels_on_a_second_call(make, data_format):
    layer = make(data_format=data_format)
    layer(zeros(2, 4, 6, 6) if data_format == "channels_first" else zeros(*X))
    for inputs in (zeros(2, 5, 6, 5), keras.Input((5, 6, 5))):
        message = message_of(lambda inputs=inputs: layer(inputs))
        assert "must have the 4 channels" in message
        assert "Received: inputs.shape=(" in message


@pytest.mark.parametrize("make", [conv, depthwise])
def test_unknown_channels(make):
    message = message_of(lambda: make().build((None, 6, 6, None)))
    assert "channels of the input must be known. Received: inputs.shape=(None, 6, 6, None)" in message


def test_groups_that_do_not_divide_the_channels():
    message = message_of(lambda: conv(groups=2)(zeros(2, 6, 6, 5)))
    assert message.endswith("`groups` must divide the channels of the input. Received: groups=2, channels=5")


def test_a_form_for_one_example_refuses_more():
    message = message_of(lambda: conv(implementation="single_conv")(zeros(*X)))
    assert "takes a batch of exactly one. Received: batch=2" in message


@pytest.mark.parametrize("shape", [(2, 4, 4), (4,), (2, 3, 3, 3, 4)])
def test_routing_of_another_rank(shape):
    for inputs in (zeros(*shape), keras.Input(batch_shape=shape)):
        assert f"Received: input_shape={shape}" in message_of(lambda inputs=inputs: routing()(inputs))


def test_routing_of_unknown_channels():
    assert "must be known. Received: input_shape=(None, None)" in message_of(lambda: routing().build((None, None)))
