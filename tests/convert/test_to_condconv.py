"""Converted models compute what the given ones do, on every backend: a grid of small networks, compared by value."""

import keras
import numpy as np
import pytest
from keras import layers

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing, to_condconv
from condconv_keras.layers.base_cond_conv import BaseCondConv2D
from condconv_keras.utils.keras_graph import all_layers
from tests.layers.backends import BACKEND, JIT

EXPERTS = 4


def array(value):
    return np.asarray(keras.ops.convert_to_numpy(value), "float32")


def randomized(model):
    """Every variable at random values, variances positive: initial biases and statistics hide mistakes."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        value = rng.standard_normal(variable.shape) / np.sqrt(max(np.prod(variable.shape[:-1]), 1))
        variable.assign(np.abs(value) + 0.5 if variable.name == "moving_variance" else value)
    return model


def inputs_for(model, seed=1, batch=3):
    rng = np.random.default_rng(seed)

    def values(tensor):
        return rng.standard_normal([batch, *(side or 9 for side in tensor.shape[1:])]).astype("float32")

    return keras.tree.map_structure(values, model.inputs[0] if isinstance(model, keras.Sequential) else model.input)


def outputs_of(model, inputs):
    return [array(output) for output in keras.tree.flatten(model(inputs, training=False))]


def assert_same(model, other, tolerance=1e-5):
    for seed in (1, 2):
        inputs = inputs_for(model, seed)
        for expected, received in zip(outputs_of(model, inputs), outputs_of(other, inputs), strict=True):
            assert received.shape == expected.shape
            assert np.ptp(expected) > 0
            np.testing.assert_allclose(received, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def experts_of(model):
    return [layer for layer in all_layers(model) if isinstance(layer, BaseCondConv2D)]


def image(*shape, **options):
    return keras.Input(shape or (9, 9, 4), **options)


def one_layer(*made, shape=(9, 9, 4)):
    """A network of layers one behind another."""
    x = inputs = image(*shape)
    for layer in made:
        x = layer(x)
    return keras.Model(inputs, x)


def branches():
    inputs = image()
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="stem")(inputs)
    left = layers.Conv2D(8, 1, name="left")(x)
    right = layers.SeparableConv2D(8, 3, padding="same", activation="swish", name="right")(x)
    x = layers.Multiply()([layers.Add()([left, right]), layers.Conv2D(8, 1, activation="sigmoid", name="gate")(x)])
    x = keras.ops.concatenate([x * 2 + 1, left], axis=-1)
    return keras.Model(inputs, layers.Dense(3, name="head")(layers.GlobalAveragePooling2D()(x)), name="branches")


def nested(across=True):
    """Models inside models, one of them called twice, with names that occur in several; `across` two levels, too."""
    inner_inputs = image(9, 9, 6)
    inner = keras.Model(inner_inputs, layers.Conv2D(6, 3, padding="same", name="conv")(inner_inputs), name="inner")
    stack = [
        image(9, 9, 6),
        layers.BatchNormalization(),
        layers.Conv2D(6, 1, name="conv"),
        *([inner] if across else []),
        layers.ReLU(),
    ]
    middle = keras.Sequential(stack, name="middle")
    inputs = image()
    x = layers.Conv2D(6, 1, name="conv")(inputs)
    return keras.Model(inputs, inner(middle(inner(x))), name="outer")


def shared_layer():
    conv = layers.Conv2D(4, 3, padding="same", activation="tanh", name="shared")
    inputs = image()
    return keras.Model(inputs, layers.Conv2D(2, 1)(conv(conv(inputs)) - conv(inputs)))


def several_inputs_and_outputs():
    first, second = image(9, 9, 4, name="first"), image(9, 9, 2, name="second")
    x = layers.Concatenate()([layers.Conv2D(4, 1)(first), layers.DepthwiseConv2D(3, padding="same")(second)])
    maps = layers.Conv2D(5, 3, strides=2, name="maps")(x)
    classes = layers.Dense(3, activation="softmax", name="classes")(layers.Flatten()(maps))
    return keras.Model({"first": first, "second": second}, {"maps": maps, "classes": classes})


def dense_on_a_map():
    """A block as of ConvNeXt, whose pointwise convolutions are dense layers."""
    inputs = image()
    x = layers.DepthwiseConv2D(7, padding="same")(inputs)
    x = layers.Dense(16, activation="gelu", name="expand")(layers.LayerNormalization()(x))
    return keras.Model(inputs, inputs + layers.Dense(4, name="project")(x))


def user_layers():
    """A custom activation, a Lambda, a subclass of a convolution, and a layer with weights of its own."""

    class Doubled(layers.Conv2D):
        def call(self, inputs):
            return 2 * super().call(inputs)

    inputs = image()
    x = layers.Conv2D(4, 3, activation=lambda x: keras.ops.softmax(x, axis=1), name="conv")(inputs)
    x = layers.PReLU(shared_axes=(1, 2))(layers.Lambda(lambda x: x * 3)(Doubled(4, 1, name="doubled")(x)))
    return keras.Model(inputs, layers.Dense(2, activation=lambda x: keras.ops.softmax(x, axis=0), name="d")(x[:, 0, 0]))


NETWORKS = {
    "branches": branches,
    "nested": nested,
    "shared_layer": shared_layer,
    "several_inputs_and_outputs": several_inputs_and_outputs,
    "dense_on_a_map": dense_on_a_map,
    "user_layers": user_layers,
    "sequential": lambda: keras.Sequential([image(), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)]),
    "open_size": lambda: one_layer(layers.Conv2D(4, 3), layers.SeparableConv2D(5, 3), shape=(None, None, 4)),
    "grouped": lambda: one_layer(layers.Conv2D(6, 3, groups=2, padding="same", activation="elu")),
    "dilated": lambda: one_layer(layers.Conv2D(6, 3, dilation_rate=2), layers.DepthwiseConv2D(2, dilation_rate=(2, 1))),
    "strided": lambda: one_layer(layers.Conv2D(6, (3, 2), strides=(2, 1)), layers.Conv2D(6, 1, strides=2)),
    "no_bias": lambda: one_layer(layers.Conv2D(6, 3, use_bias=False), layers.DepthwiseConv2D(3, use_bias=False)),
    "depth_multiplier": lambda: one_layer(layers.DepthwiseConv2D(3, depth_multiplier=3, activation="relu6")),
    "separable": lambda: one_layer(layers.SeparableConv2D(6, 3, strides=2, depth_multiplier=2, activation="relu")),
    "dense": lambda: one_layer(layers.Flatten(), layers.Dense(7, activation="relu"), layers.Dense(3, use_bias=False)),
    "dense_on_tokens": lambda: one_layer(layers.Reshape((-1, 4)), layers.Dense(7, activation="softmax")),
}


@pytest.mark.parametrize("experts", [EXPERTS, 3, 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_converted_network_computes_the_same(name, experts):
    model = randomized(NETWORKS[name]())
    before = model.get_weights()
    twin = to_condconv(model, experts, layers="*", verbose=False)
    assert experts_of(twin)
    assert_same(model, twin)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    plain = [layer for layer in all_layers(twin) if type(layer) in (layers.Conv2D, layers.DepthwiseConv2D)]
    assert not plain
    assert twin.name == model.name
    if not isinstance(model, keras.Sequential):
        assert twin.output_names == model.output_names


@pytest.mark.parametrize("name", NETWORKS)
def test_fitted_routers_compute_the_same_and_tell_images_apart(name):
    model = randomized(NETWORKS[name]())
    twin = to_condconv(model, EXPERTS, layers="*", images=inputs_for(model, 5, 16), verbose=False)
    assert_same(model, twin, 2e-5)
    own = [layer.router for layer in experts_of(twin) if layer.router is not None]
    assert all(np.ptp(array(router.kernel)) > 0 for router in own)


@pytest.mark.skipif(BACKEND == "torch", reason="convolves channels last only, as Keras does there")
@pytest.mark.parametrize("kind", ["conv", "depthwise", "separable"])
def test_channels_first(kind):
    if BACKEND == "tensorflow" and kind != "conv":
        pytest.skip("TensorFlow has no plain layer to compare with on a CPU")
    options = {"data_format": "channels_first", "padding": "same", "activation": "relu"}
    made = {
        "conv": lambda: layers.Conv2D(6, 3, **options),
        "depthwise": lambda: layers.DepthwiseConv2D(3, **options),
        "separable": lambda: layers.SeparableConv2D(5, 3, **options),
    }[kind]()
    model = randomized(one_layer(made, shape=(4, 9, 9)))
    assert_same(model, to_condconv(model, EXPERTS, verbose=False))


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16" if BACKEND == "jax" else "mixed_float16")
    try:
        model = randomized(branches())
    finally:
        keras.config.set_dtype_policy("float32")
    twin = to_condconv(model, EXPERTS, layers="*", verbose=False)
    assert twin.get_layer("stem").dtype_policy == model.get_layer("stem").dtype_policy
    assert twin.get_layer("stem").bank.dtype == "float32"
    assert_same(model, twin, 0.05)


def test_what_is_not_converted_keeps_its_identity():
    model = randomized(nested())
    model.get_layer("middle").layers[0].trainable = False
    twin = to_condconv(model, EXPERTS, layers=["conv", "middle/conv"], verbose=False)
    # `conv` is the name of three layers, the path of one.
    assert [layer.name for layer in experts_of(twin)] == ["conv"] * 3
    twin = to_condconv(model, EXPERTS, layers="middle/conv", verbose=False)
    assert len(experts_of(twin)) == 1
    assert isinstance(twin.get_layer("middle").get_layer("conv"), CondConv2D)
    middle = [id(variable) for each in (model, twin) for variable in each.get_layer("middle").get_layer("conv").weights]
    kept, found = ([variable for variable in each.weights if id(variable) not in middle] for each in (model, twin))
    # A layer of a sequential model has that one's name before its own where it was built with it.
    assert [v.path.split("/")[-2:] for v in kept] == [v.path.split("/")[-2:] for v in found]
    assert [variable.trainable for variable in kept] == [variable.trainable for variable in found]
    for old, new in zip(kept, found, strict=True):
        np.testing.assert_array_equal(array(old), array(new))


def test_models_inside_that_have_nothing_to_convert_are_copied_too():
    """A sequential one stays sequential; a class that Keras has not registered needs no registration."""

    class Scaled(layers.Layer):
        def call(self, inputs):
            return 3 * inputs

    inner = keras.Sequential([image(9, 9, 4), Scaled(), layers.BatchNormalization()], name="inner")
    model = randomized(one_layer(inner, layers.Conv2D(4, 3)))
    twin = to_condconv(model, EXPERTS, verbose=False)
    assert_same(model, twin)
    assert isinstance(twin.get_layer("inner"), keras.Sequential)
    assert twin.get_layer("inner") is not inner


def test_regularizers_and_constraints_are_of_each_expert():
    conv = layers.Conv2D(4, 3, kernel_regularizer=keras.regularizers.L2(0.1), kernel_constraint="non_neg", name="conv")
    model = one_layer(conv)
    conv.kernel.assign(np.abs(array(conv.kernel)))
    twin = to_condconv(model, EXPERTS, verbose=False)
    # n experts of 2 / n of the kernel.
    np.testing.assert_allclose(float(sum(twin.losses)), float(sum(model.losses)) * 4 / EXPERTS, rtol=1e-5)
    assert_same(model, twin)


def test_a_frozen_layer_stays_frozen():
    model = branches()
    model.get_layer("left").trainable = False
    twin = to_condconv(model, EXPERTS, layers=["left", "right"], verbose=False)
    assert not twin.get_layer("left").trainable_weights
    assert len(twin.get_layer("right").trainable_weights) == 4
    model.trainable = False
    assert not to_condconv(model, EXPERTS, verbose=False).trainable_weights


def test_the_deeper_half_by_multiply_adds(capsys):
    """Convolutions of 81 * (36, 54, 54 and 27) multiply-adds: the last two are just below half of them."""
    made = [layers.Conv2D(filters, 1, name=name) for filters, name in ((9, "a"), (6, "b"), (9, "c"), (3, "d"))]
    model = one_layer(*made, layers.Flatten(), layers.Dense(1000, name="e"))
    twin = to_condconv(model, 2)
    assert [layer.name for layer in experts_of(twin)] == ["b", "c", "d"]
    said = capsys.readouterr().err
    assert "3 of 5 convolutions and dense layers, b to d, have 2 experts each: parameters" in said
    assert said.count("\n") == 1


def test_a_function_chooses():
    twin = to_condconv(branches(), EXPERTS, layers=lambda layer: layer.name in ("gate", "head"), verbose=False)
    assert [layer.name for layer in experts_of(twin)] == ["gate", "head_condconv"]
    assert twin.output_names == ["head"]


def block_network():
    inputs = image()
    x = layers.Conv2D(8, 1, name="block_1_expand")(inputs)
    x = layers.DepthwiseConv2D(3, padding="same", name="block_1_depthwise")(layers.ReLU()(x))
    x = layers.SeparableConv2D(4, 3, name="block2a_sepconv")(x)
    x = layers.Conv2D(6, 1, name="block2a_project")(x)
    return keras.Model(inputs, layers.Conv2D(2, 1, name="top")(x))


@pytest.mark.parametrize(
    ("routing", "expected"),
    [
        ("layer", []),
        ("block", ["block_1_routing", "block2a_routing"]),
        ({"r": ["block_1_*", "top"], "s": "block2a_sepconv"}, ["r", "s"]),
        (lambda layer: "all" if layer.name != "top" else None, ["all"]),
    ],
)
def test_shared_routers(routing, expected):
    model = randomized(block_network())
    twin = to_condconv(model, EXPERTS, layers="*", routing=routing, verbose=False)
    assert_same(model, twin)
    assert [layer.name for layer in twin.layers if isinstance(layer, Routing)] == expected
    own = [layer.name for layer in experts_of(twin) if layer.router is not None]
    if routing == "block":
        assert own == ["top"]
        assert twin.get_layer("block2a_sepconv").router is None
        assert twin.get_layer("block2a_sepconv_depthwise").router is None
        # Of the input of the block's first layer.
        assert twin.get_layer("block2a_routing").kernel.shape == (8, EXPERTS)
    if routing == "layer":
        assert len(own) == 6


def test_experts_grow_apart_in_training():
    model = randomized(branches())
    twin = to_condconv(model, EXPERTS, layers="*", verbose=False)
    twin.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=JIT)
    inputs = inputs_for(model)
    for _ in range(3):
        twin.train_on_batch(inputs, np.ones((3, 3), "float32"))
    for layer in experts_of(twin):
        bank = array(layer.bank)
        assert np.linalg.norm(bank - bank.mean(axis=0)) > 1e-4 * np.linalg.norm(bank), layer.name


# Keras itself loads no file of a network with a model on two levels.
FILED = {**NETWORKS, "nested": lambda: nested(across=False)}


@pytest.mark.parametrize("name", ["branches", "nested", "several_inputs_and_outputs", "dense_on_a_map"])
def test_a_file_of_it_comes_back(name, tmp_path):
    model = randomized(FILED[name]())
    twin = to_condconv(model, EXPERTS, layers="*", verbose=False)
    twin.save(tmp_path / "twin.keras")
    assert_same(twin, keras.models.load_model(tmp_path / "twin.keras"), 1e-6)


def test_fresh_experts():
    model = randomized(branches())
    twin = to_condconv(model, EXPERTS, layers=["left", "right"], warm_start=False, verbose=False)
    bank = array(twin.get_layer("left").bank)
    assert np.abs(bank[0] - bank[1]).max() > 0.01
    assert not np.any(array(twin.get_layer("left").router.kernel))
    np.testing.assert_array_equal(array(twin.get_layer("stem").kernel), array(model.get_layer("stem").kernel))


def test_options_of_routers():
    twin = to_condconv(
        block_network(), EXPERTS, routing={"r": "block2a_*"}, layers="*", routing_options={"temperature": 30.0}
    )
    assert twin.get_layer("r").options.temperature == 30
    assert twin.get_layer("top").router.options.temperature == 30


def test_an_anchored_expert_is_the_kernel():
    model = randomized(branches())
    twin = to_condconv(model, EXPERTS, layers="*", routing_options={"anchored": True}, verbose=False)
    assert_same(model, twin)
    assert not np.any(array(twin.get_layer("stem").bank)[1:])


def test_a_model_is_converted_again():
    model = randomized(branches())
    once = to_condconv(model, EXPERTS, layers="stem", verbose=False)
    twice = to_condconv(once, 2, layers=["right"], verbose=False)
    assert_same(model, twice)
    assert twice.get_layer("stem").num_experts == EXPERTS
    assert isinstance(twice.get_layer("right_depthwise"), DepthwiseCondConv2D)


def test_a_compiled_model_is_converted():
    model = branches()
    model.compile("sgd", lambda truth, predicted: keras.ops.mean(predicted - truth))
    twin = to_condconv(model, EXPERTS, verbose=False)
    assert model.compiled
    assert not twin.compiled
