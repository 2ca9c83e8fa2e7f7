import keras
import numpy as np
import pytest
from keras import layers

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.pretrained import create_model
from condconv_keras.profiling import profile


def counts(model, input_shape=None):
    result = profile(model, input_shape)
    return result.convolution, result.mixing, result.routing, result.elementwise


def single(layer, input_shape):
    return keras.Sequential([keras.Input(input_shape), layer])


@pytest.mark.parametrize(
    ("layer", "input_shape", "expected"),
    [
        (layers.Conv2D(5, 3, strides=2, padding="same"), (7, 8, 3), 4 * 4 * 5 * 9 * 3),
        (layers.Conv2D(6, (1, 3), groups=2), (4, 5, 4), 4 * 3 * 6 * 3 * 2),
        (layers.Conv2D(5, 3, dilation_rate=2), (7, 7, 2), 3 * 3 * 5 * 9 * 2),
        (layers.Conv2D(5, 3, data_format="channels_first"), (3, 6, 7), 4 * 5 * 5 * 9 * 3),
        (layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), (4, 5, 3), 4 * 5 * 6 * 9),
        (layers.SeparableConv2D(7, 3, depth_multiplier=2), (5, 6, 3), 3 * 4 * (6 * 9 + 6 * 7)),
        (layers.Conv2DTranspose(7, 3, strides=2), (4, 5, 3), 4 * 5 * 3 * 9 * 7),
        (layers.Dense(7), (3,), 21),
        (layers.Dense(7), (4, 5, 3), 4 * 5 * 21),
    ],
)
def test_plain_layers(layer, input_shape, expected):
    assert counts(single(layer, input_shape)) == (expected, 0, 0, 0)


def test_elementwise_operations_are_apart():
    x = keras.Input((4, 5, 3))
    scale = layers.GlobalAveragePooling2D(keepdims=True)(x)
    product = layers.Multiply()([x, scale])
    total = layers.Add()([x, product, x])
    model = keras.Model(x, layers.ReLU()(total))
    result = profile(model)
    assert result.elementwise == 60 + 60 + 2 * 60
    assert result.multiply_adds == 0


@pytest.mark.parametrize("own_router", [True, False])
def test_conditional_convolution(own_router):
    x = keras.Input((6, 7, 4))
    arguments = [x] if own_router else [x, Routing(3)(x)]
    layer = CondConv2D(6, 3, num_experts=3, groups=2, strides=2, padding="same")
    model = keras.Model(x, layer(*arguments))
    weights = 9 * 2 * 6
    assert counts(model) == (3 * 4 * weights, 3 * weights, 3 * 4, 0)
    assert profile(model).multiply_adds == 15 * weights + 12
    assert profile(model).parameters == 3 * weights + 3 * 6 + 3 * 4 + 3


@pytest.mark.parametrize("own_router", [True, False])
def test_conditional_depthwise_convolution(own_router):
    x = keras.Input((6, 7, 4))
    arguments = [x] if own_router else [x, Routing(3)(x)]
    model = keras.Model(x, DepthwiseCondConv2D(3, num_experts=3, depth_multiplier=2, use_bias=False)(*arguments))
    weights = 9 * 4 * 2
    assert counts(model) == (4 * 5 * weights, 3 * weights, 3 * 4, 0)


def test_a_router_shared_in_a_block_counts_once():
    x = keras.Input((4, 4, 2))
    routing = Routing(3)(x)
    y = DepthwiseCondConv2D(1, num_experts=3)(x, routing)
    model = keras.Model(x, CondConv2D(5, 1, num_experts=3)(y, routing))
    assert counts(model) == (16 * 2 + 16 * 10, 3 * 2 + 3 * 10, 3 * 2, 0)


def test_a_shared_layer_counts_per_call_and_its_parameters_once():
    x = keras.Input((4, 4, 3))
    shared = layers.Conv2D(3, 3, padding="same", use_bias=False)
    y = layers.AveragePooling2D(2)(shared(x))
    model = keras.Model(x, shared(y))
    result = profile(model)
    assert result.convolution == (16 + 4) * 81
    assert result.parameters == 81
    assert [row.output_shape for row in result.layers] == [(1, 4, 4, 3), (1, 2, 2, 3)]


def test_nested_model_used_twice():
    inner = single(layers.Conv2D(3, 1, use_bias=False), (4, 4, 3))
    x = keras.Input((4, 4, 3))
    model = keras.Model(x, layers.Dense(2)(inner(inner(x))))
    assert counts(model) == (2 * 16 * 9 + 16 * 6, 0, 0, 0)


class Block(layers.Layer):
    """Holds its convolutions in a list, makes one of them in `build` and calls one of them twice."""

    def __init__(self):
        super().__init__()
        self.convs = [layers.Conv2D(2, 1), CondConv2D(2, 1, num_experts=4)]

    def build(self, input_shape):
        self.last = layers.Dense(3)
        self.last.build((*input_shape[:-1], 2))

    def call(self, x):
        x = self.convs[0](x)
        return self.last(self.convs[1](self.convs[1](x)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = Block()
        self.norm = layers.BatchNormalization()

    def call(self, x):
        return self.norm(self.block(x))


def test_subclassed_model_that_is_not_built():
    pixels = 5 * 5
    model = Subclassed()
    with pytest.raises(ValueError, match=r"`input_shape` must be given .* does not know its input"):
        profile(model)
    expected = (pixels * (3 * 2 + 2 * 2 * 2 + 2 * 3), 2 * 4 * 4, 2 * 2 * 4, 0)
    assert counts(model, (5, 5, 3)) == expected
    assert counts(model, (5, 5, 3)) == expected


def test_open_input_size():
    model = single(layers.Conv2D(2, 1), (None, None, 3))
    with pytest.raises(ValueError, match=r"`input_shape` must be given .* Received: an input of shape"):
        profile(model)
    assert counts(model, (4, 5, 3)) == (4 * 5 * 6, 0, 0, 0)


def test_several_inputs():
    a, b = keras.Input((4, 4, 2), name="a"), keras.Input((3,), dtype="int32", name="b")
    y = layers.Conv2D(2, 1)(a)
    z = layers.Embedding(10, 4)(b)
    for inputs in ([a, b], {"a": a, "b": b}):
        assert counts(keras.Model(inputs, [y, layers.Dense(5)(z)])) == (16 * 4 + 3 * 20, 0, 0, 0)


def test_parameters():
    model = single(layers.Conv2D(4, 3), (5, 5, 2))
    frozen = layers.Dense(3, trainable=False)
    model.add(layers.BatchNormalization())
    model.add(frozen)
    result = profile(model)
    assert result.parameters == 76 + 16 + 15
    assert result.trainable_parameters == 76 + 8


def test_rows_name_the_layers_and_add_up():
    model = create_model("condconv_mobilenet_v1", input_shape=(32, 32, 3), width_multiplier=0.25, num_experts=2)
    result = profile(model)
    rows = {row.name: row for row in result.layers}
    block = rows["block_13_pointwise"]
    assert (block.type, block.input_shape, block.output_shape) == ("CondConv2D", (1, 1, 1, 256), (1, 1, 1, 256))
    assert (block.convolution, block.mixing, block.routing) == (256**2, 2 * 256**2, 0)
    assert rows["block_13_routing"].routing == 256 * 2
    for kind in ("convolution", "mixing", "routing", "elementwise", "multiply_adds"):
        assert sum(getattr(row, kind) for row in result.layers) == getattr(result, kind) > 0


def test_the_model_stays_as_it_was():
    model = create_model("condconv_mobilenet_v1", input_shape=(32, 32, 3), width_multiplier=0.25, dropout_rate=0.5)
    before = [np.array(variable) for variable in model.variables]
    attributes = [set(vars(layer)) for layer in model.layers]
    profile(model)
    assert [set(vars(layer)) for layer in model.layers] == attributes
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


class Failing(layers.Layer):
    def call(self, x):
        raise RuntimeError("fails when it runs")

    def compute_output_shape(self, input_shape):
        return input_shape


def test_the_model_stays_as_it_was_after_an_error():
    conv = layers.Conv2D(2, 1)
    model = keras.Sequential([keras.Input((4, 4, 3)), conv, Failing()])
    with pytest.raises(RuntimeError, match="fails when it runs"):
        profile(model)
    assert "call" not in vars(conv)


def test_a_call_that_the_instance_replaced_stays():
    conv = layers.Conv2D(2, 1)
    model = single(conv, (4, 4, 3))
    replacement = conv.call
    conv.call = replacement
    profile(model)
    assert conv.call is replacement


def test_plain_mobilenet_against_the_profiler_of_tensorflow():
    import tensorflow as tf

    model = create_model("mobilenet_v1", input_shape=(160, 160, 3))
    function = tf.function(lambda x: model(x, training=False))
    graph = function.get_concrete_function(tf.TensorSpec((1, 160, 160, 3))).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
    options = options.with_accounted_types(["Conv2D", "DepthwiseConv2dNative"]).with_empty_output().build()
    floating_point_operations = tf.compat.v1.profiler.profile(graph, cmd="op", options=options).total_float_ops
    assert profile(model).multiply_adds == pytest.approx(floating_point_operations / 2, rel=0.01)
