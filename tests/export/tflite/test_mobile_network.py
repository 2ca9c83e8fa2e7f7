"""The network for the phone computes what the Keras model computes, in every form."""

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.export.tflite import mobile_layers
from condconv_keras.export.tflite.mobile_layers import MobileCondConv
from condconv_keras.export.tflite.mobile_network import mobile_network, multiply_adds
from condconv_keras.layers import BatchNormalization, with_routing
from condconv_keras.pretrained import create_model
from condconv_keras.profiling import profile
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import calls_of
from tests.models.randomize import randomize
from tests.seeds import set_seed

_RNG = np.random.default_rng(0)


def images(shape=(12, 10, 6), count=3):
    return _RNG.normal(size=(count, *shape)).astype("float32")


def one_layer(layer, *, normalization=None, activation=None, own_router=True, shape=(12, 10, 6)):
    """A classifier around one CondConv layer, with random weights."""
    x = inputs = keras.Input(shape)
    x = layer(x) if own_router else layer(x, Routing(layer.num_experts)(x))
    if normalization is not None:
        x = normalization(x)
    if activation is not None:
        x = keras.layers.Activation(activation)(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    randomize(model)
    return model


def assert_equal(model, inputs, batch_size=1, **options):
    network = mobile_network(model, model.input_shape[1:], batch_size=batch_size, **options)
    batches = np.split(inputs, len(inputs) // batch_size)
    actual = np.concatenate([network(batch, training=False) for batch in batches])
    expected = np.asarray(model(inputs, training=False))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    return network


LAYERS = {
    "1x1": lambda: CondConv2D(8, 1, num_experts=3),
    "1x1 of stride 2": lambda: CondConv2D(8, 1, num_experts=3, strides=2, use_bias=False),
    "3x3": lambda: CondConv2D(8, 3, num_experts=3, padding="same", use_bias=False),
    "3x3 of stride 2": lambda: CondConv2D(8, 3, num_experts=3, padding="same", strides=2),
    "3x3, many filters": lambda: CondConv2D(12, 3, num_experts=3, padding="same"),
    "3x3 of stride 2, many filters": lambda: CondConv2D(12, 3, num_experts=3, padding="same", strides=2),
    "5x3 of stride 3, many filters": lambda: CondConv2D(12, (5, 3), num_experts=3, strides=3, use_bias=False),
    "3x3 of strides 2 and 1, many filters": lambda: CondConv2D(12, 3, num_experts=3, strides=(2, 1)),
    "5x3, dilated": lambda: CondConv2D(7, (5, 3), num_experts=2, dilation_rate=2),
    "depthwise 3x3": lambda: DepthwiseCondConv2D(3, num_experts=3, padding="same"),
    "depthwise 5x5 of stride 2": lambda: DepthwiseCondConv2D(5, num_experts=3, strides=2, use_bias=False),
    "depthwise with a multiplier": lambda: DepthwiseCondConv2D(3, num_experts=3, depth_multiplier=2),
}


@pytest.fixture
def no_mixtures(monkeypatch):
    """The few pixels of these images would make every form the static one."""
    monkeypatch.setattr(mobile_layers, "_MIXTURE_PIXELS", dict.fromkeys(mobile_layers._MIXTURE_PIXELS, 0))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("form", ["run time", "static"])
def test_each_layer_equals_its_keras_layer(name, form, no_mixtures):
    model = one_layer(LAYERS[name](), normalization=keras.layers.BatchNormalization(), activation="relu6")
    for batch_size in (1, 3):
        assert_equal(model, images(), batch_size, static_kernels=form == "static")


@pytest.mark.parametrize("mode", ["dynamic", "int8"])
@pytest.mark.parametrize("form", ["run time", "static"])
@pytest.mark.parametrize("name", LAYERS)
def test_experts_keep_eight_bits(name, form, mode, no_mixtures):
    model = one_layer(LAYERS[name](), normalization=keras.layers.BatchNormalization())
    inputs = images()
    expected = np.asarray(model(inputs, training=False))
    static_kernels = form == "static"
    for batch_size in (1, 3):
        network = mobile_network(model, inputs.shape[1:], mode, static_kernels, inputs, batch_size)
        batches = np.split(inputs, len(inputs) // batch_size)
        actual = np.concatenate([network(batch, training=False) for batch in batches])
        error = np.abs(actual - expected).max() / np.abs(expected).max()
        # Not equal, as the experts are rounded to 255 levels; not further away than that explains.
        assert error < 0.03
        assert error > 1e-5 or (static_kernels and "depthwise" in name)  # which are rounded later


# A channel may be dead, its kernel zeros.
@pytest.mark.parametrize("gamma", [[100, 1, 1, 1, 1, 1], [100, 1, 0, 1, 1, 1]])
@pytest.mark.parametrize("mode", ["dynamic", "int8"])
def test_depthwise_experts_of_uneven_channels_keep_the_small_ones(no_mixtures, gamma, mode):
    model = one_layer(DepthwiseCondConv2D(3, num_experts=3), normalization=keras.layers.BatchNormalization())
    model.layers[2].gamma.assign(gamma)
    inputs = images()
    network = mobile_network(model, inputs.shape[1:], mode, images=inputs)
    actual = np.concatenate([network(image[None], training=False) for image in inputs])
    expected = np.asarray(model(inputs, training=False))
    # With one scale for several channels the small ones would be off by a fifth and more.
    np.testing.assert_allclose(actual, expected, atol=0.03 * np.abs(expected[:, 1:]).max(), rtol=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_experts_are_rounded_by_what_their_layer_sees(no_mixtures, seed):
    """Inputs that are all alike show the sums of the rounding errors, and nothing else."""
    set_seed(seed)
    model = one_layer(CondConv2D(64, 1, num_experts=3, use_bias=False), shape=(4, 4, 64))
    pixel = np.abs(np.random.default_rng(seed).normal(size=64)).astype("float32")
    inputs = np.broadcast_to(pixel, (2, 4, 4, 64))
    expected = np.asarray(model(inputs, training=False))
    errors = {}
    for seen in (None, inputs):
        network = mobile_network(model, (4, 4, 64), "dynamic", images=seen)
        errors[seen is None] = np.abs(np.asarray(network(inputs[:1], training=False)) - expected[:1]).mean()
    assert errors[False] < errors[True] / 2


@pytest.mark.parametrize(
    "normalization",
    [
        None,
        lambda: keras.layers.BatchNormalization(scale=False),
        lambda: keras.layers.BatchNormalization(center=False, epsilon=0.1),
        # Not over channels: stays a layer of its own.
        lambda: keras.layers.BatchNormalization(axis=1),
    ],
)
@pytest.mark.parametrize("activation", [None, "silu", "softmax"])
def test_what_follows_is_folded_in_only_where_it_is_equal(normalization, activation):
    layer = CondConv2D(8, 1, num_experts=3, use_bias=True)
    model = one_layer(layer, normalization=normalization and normalization(), activation=activation)
    network = assert_equal(model, images())
    folded = normalization is not None and model.layers[2].axis == -1
    kept = any(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers)
    assert kept == (normalization is not None and not folded)


def test_what_is_left_of_batch_normalization_computes_in_keras_operations():
    """Of a plain convolution: as in a plain network, from which the converter makes the same file as before."""
    x = inputs = keras.Input((8, 8, 4))
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        x = kind()(keras.layers.Conv2D(4, 1)(x))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(CondConv2D(4, 1, num_experts=2)(x)))
    randomize(model)
    network = assert_equal(model, images((8, 8, 4)))
    kinds = [type(layer) for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert kinds == [keras.layers.BatchNormalization] * 2


def test_an_output_with_two_readers_is_not_folded():
    x = inputs = keras.Input((8, 8, 4))
    y = CondConv2D(4, 1, num_experts=2)(x)
    z = keras.layers.BatchNormalization()(y)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([y, z])))
    randomize(model)
    assert_equal(model, images((8, 8, 4)))


@pytest.mark.parametrize("options", [{"groups": 2}, {"data_format": "channels_first"}])
def test_layers_without_a_form_for_the_phone_stay(options):
    layer = CondConv2D(8, 3, num_experts=2, padding="same", **options)
    model = one_layer(layer)
    network = assert_equal(model, images())
    assert not any(isinstance(layer, MobileCondConv) for layer in network.layers)


@pytest.mark.parametrize("own_router", [True, False])
def test_routers(own_router):
    assert_equal(one_layer(CondConv2D(8, 3, num_experts=3), own_router=own_router), images())


def test_a_softmax_head_keeps_its_softmax():
    model = create_model("condconv_mobilenet_v1", width_multiplier=0.25, num_experts=2, classes=5,
                         input_shape=(32, 32, 3), classifier_activation="softmax")  # fmt: skip
    randomize(model)
    inputs = images((32, 32, 3))
    assert_equal(model, inputs)


def test_preprocessing_inside_the_model():
    data = images((6, 6, 3), 8)
    normalization = keras.layers.Normalization()
    normalization.adapt(3 * data + 1)
    nested = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Rescaling(0.5, 0.1), normalization])
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.RandomFlip()(nested(inputs))
    assert_equal(keras.Model(inputs, keras.layers.Flatten()(CondConv2D(4, 3, num_experts=2)(x))), data)
    assert_equal(keras.Model(nested.input, nested.output), data)


class OwnState(keras.layers.Layer):
    """A layer with a state that is no weight, with which a network is not folded."""

    def call(self, inputs):
        return inputs

    def save_own_variables(self, store):
        store["state"] = np.ones(3)


def test_a_network_that_cannot_be_folded():
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.BatchNormalization()(CondConv2D(4, 3, num_experts=2)(OwnState()(inputs)))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    randomize(model)
    assert_equal(model, images((6, 6, 3)))


def test_the_model_is_left_as_it_was():
    model = one_layer(CondConv2D(8, 3, num_experts=3), normalization=keras.layers.BatchNormalization())
    before, nodes = model.get_weights(), [len(calls_of(layer)) for layer in model.layers]
    mobile_network(model, (12, 10, 6), static_kernels=True)
    assert nodes == [len(calls_of(layer)) for layer in model.layers]
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_multiply_adds_by_hand():
    # 16 pixels, 8 to 4 channels, 3 experts: more experts times pixels (48) than static kernels are worth.
    model = one_layer(CondConv2D(4, 1, num_experts=3, use_bias=False), shape=(4, 4, 8))
    routing = 8 * 3
    assert multiply_adds(model, model.input_shape[1:], static_kernels=False) == 16 * 8 * 4 + 3 * 8 * 4 + routing
    assert multiply_adds(model, model.input_shape[1:], static_kernels=True) == 3 * 16 * 8 * 4 + routing
    # 4 pixels: every expert is applied anyway.
    model = one_layer(CondConv2D(4, 1, num_experts=3, use_bias=False), shape=(2, 2, 8))
    assert multiply_adds(model, model.input_shape[1:], static_kernels=False) == 3 * 4 * 8 * 4 + routing
    plain = create_model("mobilenet_v1", width_multiplier=0.25, input_shape=(32, 32, 3))
    assert (
        multiply_adds(plain, (32, 32, 3), False)
        == multiply_adds(plain, (32, 32, 3), True)
        == profile(plain).multiply_adds
    )


@pytest.mark.parametrize("structure", ["tensor", "list", "dict", "sequential"])
def test_models_of_every_structure(structure):
    layers = [CondConv2D(8, 3, num_experts=3), keras.layers.BatchNormalization(), keras.layers.GlobalAveragePooling2D()]
    if structure == "sequential":
        model = keras.Sequential([keras.Input((12, 10, 6)), *layers])
    else:
        x = inputs = keras.Input((12, 10, 6), name="image")
        for layer in layers:
            x = layer(x)
        model = keras.Model({"tensor": inputs, "list": [inputs], "dict": {"image": inputs}}[structure], x)
    randomize(model)
    inputs = images()
    network = mobile_network(model, (12, 10, 6))
    assert network.get_layer(layers[0].name).__class__ is MobileCondConv
    expected = model({"image": inputs} if structure == "dict" else inputs, training=False)
    actual = np.concatenate([network(image[None], training=False) for image in inputs])
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_int8_refuses_a_condconv_layer_inside_another():
    inner = one_layer(CondConv2D(8, 3, num_experts=3))
    outer = keras.Sequential([keras.Input((12, 10, 6)), inner])
    assert_equal(outer, images())
    with pytest.raises(UserError, match="int8 expects CondConv layers that no other layer contains, received: 'cond_"):
        mobile_network(outer, (12, 10, 6), "int8", images=images())


def test_options_of_training_are_folded_away():
    layer = CondConv2D(8, 3, num_experts=3, padding="same")
    options = {"temperature": 2.0, "normalize_inputs": True, "anchored": True, "expert_dropout": 0.5}
    model = with_routing(one_layer(layer, own_router=False), **options)
    for static_kernels in (False, True):
        network = assert_equal(model, images(count=4), batch_size=2, static_kernels=static_kernels)
        (router,) = (layer for layer in network.layers if isinstance(layer, Routing))
        assert [variable.name for variable in router.variables] == ["kernel", "bias"]
