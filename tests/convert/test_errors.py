"""What cannot be converted is told in one line, and the given model stays as it is."""

import keras
import numpy as np
import pytest
from keras import layers

from condconv_keras import to_condconv
from condconv_keras.utils.errors import UserError


def small(**options):
    inputs = keras.Input((9, 9, 4))
    x = layers.Conv2D(4, 3, name="conv", **options)(inputs)
    return keras.Model(inputs, layers.Dense(3, name="dense")(layers.Flatten()(layers.ReLU(name="relu")(x))), name="net")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(4, 3)

    def call(self, inputs):
        return self.conv(inputs)


class NoConfig(layers.Layer):
    """A layer with a weight, whose configuration lacks an argument."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def get_config(self):
        return {"name": self.name}

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(self.size,))

    def call(self, inputs):
        return inputs * self.scale


def with_no_config():
    inputs = keras.Input((9, 9, 4))
    return keras.Model(inputs, layers.Conv2D(4, 3)(NoConfig(4, name="odd")(inputs)))


def two_models():
    inner_inputs = keras.Input((9, 9, 4))
    inner = keras.Model(inner_inputs, layers.Conv2D(4, 1, name="a")(inner_inputs), name="inner")
    inputs = keras.Input((9, 9, 4))
    return keras.Model(inputs, layers.Conv2D(4, 1, name="b")(inner(inputs)))


def called_twice():
    conv = layers.Conv2D(4, 1, name="a")
    inputs = keras.Input((9, 9, 4))
    return keras.Model(inputs, layers.Conv2D(4, 1, name="b")(conv(conv(inputs))))


def unlike_ranks():
    dense = layers.Dense(4, name="dense")
    inputs = keras.Input((9, 9, 4))
    return keras.Model(inputs, [dense(inputs), dense(layers.GlobalAveragePooling2D()(inputs))])


def several_open_inputs():
    inputs = [keras.Input((None, None, 4)), keras.Input((None, None, 4))]
    return keras.Model(inputs, layers.Conv2D(4, 1, name="conv")(layers.Add()(inputs)))


ERRORS = [
    (Subclassed, {}, r"functional or sequential model to convert, received the Subclassed 'subclassed.*': only the"),
    (lambda: keras.Sequential([layers.Conv2D(4, 3)], name="s"), {}, "sequential model 's' does not know its input yet"),
    (lambda: layers.Conv2D(4, 3, name="c"), {}, "received the Conv2D 'c'"),
    (small, {"layers": "block_*"}, r"in `layers`, 'block_\*' is that of none; those of the model are conv, dense"),
    (small, {"layers": "relu"}, "'relu' is that of none"),
    (small, {"layers": ["conv", "cnov"]}, "'cnov' is that of none"),
    (small, {"layers": lambda layer: False}, "`layers` to take one of the model's 2 layers; those of the model are"),
    (small, {"routing": "stage"}, "in `routing`, received 'stage'"),
    (small, {"routing": "block"}, "layers with a block in their names"),
    (small, {"routing": {"r": "block_*"}}, r"for 'r' in `routing`, 'block_\*' is that of none"),
    (small, {"layers": "*", "routing": {"r": "conv", "s": "c*"}}, r"'c\*' is that of 'conv' has the router 'r'"),
    (small, {"num_experts": 0}, "`num_experts` must be a positive integer"),
    (small, {"num_experts": 2.5}, "`num_experts` must be a positive integer"),
    (lambda: small(kernel_constraint="unit_norm"), {}, "constraint UnitNorm of the layer 'conv' does not keep"),
    (lambda: keras.Sequential([keras.Input((4,)), layers.Dense(3)]), {}, "expected a model with convolutions"),
    (with_no_config, {}, "layer 'odd' cannot be copied, as NoConfig.from_config"),
    (
        two_models,
        {"layers": "*", "routing": {"r": "*"}},
        "layers of the router 'r' in one model, 'inner/a' and 'b' lie",
    ),
    (called_twice, {"layers": "*", "routing": {"r": "*"}}, "called once for the router 'r' to share, 'a' is called"),
    (unlike_ranks, {"layers": "dense"}, "inputs of 2, 3 or 4 axes, alike in all calls, of the dense layer 'dense'"),
    (several_open_inputs, {}, "expected `layers` for the model"),
    (small, {"layers": []}, r"names or patterns of layers in `layers`, received \[\]"),
    (small, {"layers": layers.Conv2D(4, 3)}, "names or patterns of layers in `layers`, received <Conv2D"),
    (small, {"routing": lambda layer: 3}, "the function in `routing`, received 3"),
    (small, {"router_scale": -3, "warm_start": False}, "at least 0 in `router_scale`, received -3"),
    (small, {"router_scale": float("inf"), "warm_start": False}, "at least 0 in `router_scale`, received inf"),
    (small, {"router_scale": 0}, "positive number in `router_scale`, where experts start as .* received 0"),
    (small, {"router_scale": float("nan")}, "positive number in `router_scale`, .* received nan"),
    (small, {"layers": "*", "routing": {"r": "*"}, "routing_options": {"temprature": 3}}, "must have names of"),
    (small, {"routing_options": {"temprature": 3}}, "`routing_options` must have names of"),
]


@pytest.mark.parametrize(("network", "arguments", "message"), ERRORS)
def test_what_cannot_be_converted(network, arguments, message):
    model = network()
    before = [np.array(weight) for weight in model.get_weights()]
    with pytest.raises(ValueError, match=message) as error:
        to_condconv(model, **arguments)
    assert "\n" not in str(error.value)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_quantized_layer():
    model = small()
    model.get_layer("dense").quantize("int8")
    with pytest.raises(UserError, match="'dense' is quantized to int8"):
        to_condconv(model, layers="dense")
    to_condconv(model, layers="conv", verbose=False)


def test_what_would_break_a_constraint_has_fresh_experts():
    model = small(kernel_constraint="unit_norm")
    to_condconv(model, warm_start=False, verbose=False)
    to_condconv(model, layers="dense", verbose=False)
