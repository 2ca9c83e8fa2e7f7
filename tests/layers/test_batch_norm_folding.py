"""`fold`: networks without batch normalizations that compute the same."""

import gc
import weakref

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing, fold
from condconv_keras.layers import BatchNormalization, with_routing
from condconv_keras.layers.batch_norm_folding import folded_if_possible
from condconv_keras.models import build_model
from condconv_keras.utils.keras_graph import all_layers
from tests.models.randomize import images, randomize

BACKEND = keras.backend.backend()
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow's graphs")
LAYERS = {
    "convolution": lambda: keras.layers.Conv2D(5, 3, strides=2, padding="same", use_bias=False),
    "1x1 of stride 2": lambda: keras.layers.Conv2D(6, 1, strides=2),
    "in groups": lambda: keras.layers.Conv2D(6, 3, groups=2),
    "depthwise": lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False),
    "dense": lambda: keras.layers.Dense(7),
    "mixed 1x1": lambda: CondConv2D(5, 1, num_experts=3, use_bias=False),
    "mixed 1x1 with a bias": lambda: CondConv2D(5, 1, num_experts=3),
    "mixed 3x3": lambda: CondConv2D(5, 3, num_experts=2, padding="same", use_bias=False),
    "mixed, in groups": lambda: CondConv2D(6, 3, num_experts=2, groups=2, use_bias=False),
    "mixed depthwise": lambda: DepthwiseCondConv2D(3, num_experts=3, padding="same", use_bias=False),
    "mixed depthwise of stride 2": lambda: DepthwiseCondConv2D(5, 2, strides=2, depth_multiplier=2),
    "mixed depthwise, dilated": lambda: DepthwiseCondConv2D(3, 2, dilation_rate=2, use_bias=False),
}
ACTIVATIONS = {
    "none": lambda: [],
    "relu6": lambda: [keras.layers.Activation("relu6")],
    "ReLU(6)": lambda: [keras.layers.ReLU(6.0)],
    "silu": lambda: [keras.layers.Activation("silu")],
}


def array(value):
    return keras.ops.convert_to_numpy(value)


def normalizations(model):
    return [layer for layer in all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]


def chain(*layers, size=8, channels=4):
    inputs = x = keras.Input((size, size, channels))
    for layer in layers:
        x = layer(x)
    model = keras.Model(inputs, x)
    randomize(model)
    return model


def assert_same(model, folded, x, tolerance=1e-5):
    expected, received = (keras.tree.flatten(each(x, training=False)) for each in (model, folded))
    assert len(expected) == len(received)
    for one, other in zip(expected, received, strict=True):
        one, other = array(one), array(other)
        assert one.shape == other.shape
        np.testing.assert_allclose(other, one, rtol=0, atol=tolerance * np.abs(one).max(initial=1e-3))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_takes_up_what_follows(layer, activation):
    kind = BatchNormalization if activation == "relu6" else keras.layers.BatchNormalization
    model = chain(LAYERS[layer](), kind(name="norm"), *ACTIVATIONS[activation]())
    before = model.get_weights()
    folded = fold(model)
    assert not normalizations(folded)
    assert [each.name for each in folded.layers] == [each.name for each in model.layers]
    assert type(folded.get_layer("norm")) is keras.layers.Identity
    for batch in (1, 3, 20):
        assert_same(model, folded, images(8, 4, batch))
    if activation == "relu6":
        outputs = array(folded(images(8, 4, 20)))
        assert outputs.min() == 0
        assert outputs.max() > 0.5
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(array(weight), value)


@pytest.mark.parametrize("options", [{"center": False}, {"scale": False}, {"epsilon": 0.5, "center": False}])
def test_normalizations_without_a_part(options):
    for layer in (keras.layers.Conv2D(3, 3), CondConv2D(3, 1, num_experts=2)):
        model = chain(layer, keras.layers.BatchNormalization(**options))
        folded = fold(model)
        assert not normalizations(folded)
        assert_same(model, folded, images(8, 4, 3))


@pytest.mark.parametrize("kind", [CondConv2D, DepthwiseCondConv2D])
def test_channels_first(kind):
    arguments = {"num_experts": 2, "padding": "same", "data_format": "channels_first", "use_bias": False}
    layer = kind(5, 3, **arguments) if kind is CondConv2D else kind(3, **arguments)
    model = chain(layer, keras.layers.BatchNormalization(axis=1), keras.layers.ReLU(), size=8, channels=8)
    folded = fold(model)
    assert not normalizations(folded)
    for batch in (1, 3):
        assert_same(model, folded, images(8, 8, batch))
    other = chain(kind(8, 3, **arguments) if kind is CondConv2D else layer.from_config(layer.get_config()),
                  keras.layers.BatchNormalization(axis=-1), size=8, channels=8)  # fmt: skip
    assert len(normalizations(fold(other))) == 1
    assert_same(other, fold(other), images(8, 8, 3))


def _two_readers(inputs):
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    return keras.layers.Add()([x, keras.layers.BatchNormalization()(x)])


def _returned(inputs):
    x = keras.layers.Conv2D(4, 3)(inputs)
    return [x, keras.layers.BatchNormalization()(x)]


def _called_twice(inputs):
    layer = CondConv2D(4, 1, num_experts=2)
    return keras.layers.BatchNormalization()(layer(layer(inputs)))


def _shared_normalization(inputs):
    normalization = keras.layers.BatchNormalization()
    return normalization(keras.layers.Conv2D(4, 1)(normalization(keras.layers.Conv2D(4, 1)(inputs))))


def _with_an_activation(inputs):
    return keras.layers.BatchNormalization()(CondConv2D(4, 1, num_experts=2, activation="relu")(inputs))


def _of_the_batch(inputs):
    return keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 1)(inputs), training=True)


def _before(inputs):
    return keras.layers.Conv2D(4, 3)(keras.layers.BatchNormalization()(inputs))


@pytest.mark.parametrize(
    "make",
    [_two_readers, _returned, _called_twice, _shared_normalization, _with_an_activation, _of_the_batch, _before],
)
def test_what_would_not_be_equal_is_left(make):
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, make(inputs))
    randomize(model)
    folded = fold(model)
    assert len(normalizations(folded)) == len(normalizations(model))
    assert_same(model, folded, images(8, 4, 3))


def test_a_softmax_and_an_activation_that_several_read_are_left():
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.BatchNormalization()(CondConv2D(4, 1, num_experts=2)(inputs))
    x = keras.layers.Activation("softmax", name="softmax")(x)
    x = keras.layers.BatchNormalization()(DepthwiseCondConv2D(3, num_experts=2, use_bias=False)(x))
    model = keras.Model(inputs, [x, keras.layers.Activation("relu", name="relu")(x)])
    randomize(model)
    folded = fold(model)
    assert not normalizations(folded)
    for name in ("softmax", "relu"):
        assert type(folded.get_layer(name)) is keras.layers.Activation
    assert_same(model, folded, images(8, 4, 5))


def test_models_inside_models():
    inner = keras.Sequential(
        [keras.Input((8, 8, 4)), CondConv2D(4, 1, num_experts=2), keras.layers.BatchNormalization()], name="inner"
    )
    middle_inputs = keras.Input((8, 8, 4))
    x = keras.layers.DepthwiseConv2D(3, padding="same")(inner(middle_inputs))
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    middle = keras.Model(middle_inputs, x, name="middle")
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, {"a": middle(middle(inputs)), "b": keras.ops.mean(inputs, axis=1)})
    randomize(model)
    folded = fold(model)
    assert not normalizations(folded)
    assert [layer.name for layer in all_layers(folded)] == [layer.name for layer in all_layers(model)]
    assert_same(model, folded, images(8, 4, 5))


def test_options_of_routers_are_folded_too():
    inputs = keras.Input((8, 8, 4))
    x = CondConv2D(4, 1, num_experts=3)(inputs, Routing(3, name="router")(inputs))
    model = with_routing(
        keras.Model(inputs, keras.layers.BatchNormalization()(x)), temperature=5, normalize_inputs=True
    )
    randomize(model)
    folded = fold(model)
    assert not normalizations(folded)
    assert [weight.name for weight in folded.get_layer("router").weights] == ["kernel", "bias"]
    assert_same(model, folded, images(8, 4, 3))


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2",
        "condconv_mobilenet_v1",
        "condconv_mobilenet_v2",
        pytest.param("condconv_mnasnet_a1", marks=pytest.mark.slow),
        "condconv_efficientnet_lite0",
        pytest.param("condconv_resnet50", marks=pytest.mark.slow),
    ],
)
@on_tensorflow  # JAX has no float64 unless it is told
def test_networks_of_the_zoo(name, tmp_path):
    keras.utils.set_random_seed(0)
    # In float32 a deep network with random weights makes as much of one rounding as of any error.
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = build_model(name, input_shape=(32, 32, 3), classes=5)
    finally:
        keras.config.set_dtype_policy(before)
    randomize(model)
    folded = fold(model)
    assert not normalizations(folded)
    x = images(32, 3, 3).astype("float64")
    assert_same(model, folded, x, 1e-6)
    assert_same(model, folded, x[:1], 1e-6)
    folded.save(tmp_path / "folded.keras")
    loaded = keras.saving.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(array(loaded(x)), array(folded(x)))


@on_tensorflow
@pytest.mark.parametrize("activation", ["relu6", "silu"])
@pytest.mark.parametrize("layer", [name for name in LAYERS if name.startswith("mixed")])
def test_any_batch_and_the_gradient_of_the_images(layer, activation):
    import tensorflow as tf

    # Large maps are computed one image after the other.
    model = chain(LAYERS[layer](), keras.layers.BatchNormalization(), *ACTIVATIONS[activation](), size=40)
    folded = fold(model)
    signature = [tf.TensorSpec((None, 40, 40, 4))]

    def gradient(network):
        @tf.function(input_signature=signature)
        def compute(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = network(x, training=False)
                loss = tf.reduce_sum(outputs**2)
            return outputs, tape.gradient(loss, x)

        return compute

    functions = gradient(model), gradient(folded)
    for batch in (0, 1, 3):
        (expected, expected_slope), (received, slope) = (each(images(40, 4, batch)) for each in functions)
        assert received.shape == expected.shape == (batch, *expected.shape[1:])
        for one, other in ((expected, received), (expected_slope, slope)):
            np.testing.assert_allclose(other, one, rtol=0, atol=2e-5 * np.abs(one).max(initial=1e-3))


@on_tensorflow
def test_reading_a_bank_copies_nothing():
    """As every call would, of all experts, once a variable was updated in part."""
    model = chain(CondConv2D(64, 3, num_experts=8), keras.layers.BatchNormalization())
    for network in (model, fold(model)):
        reads = [network.layers[1].bank.value.read_value() for _ in range(2)]
        first, second = (np.frombuffer(memoryview(read), "float32").ctypes.data for read in reads)
        assert first == second


def test_each_network_can_be_used_after_the_other():
    """Keras's trainer on JAX uses the memory of a model's variables again."""
    model = chain(keras.layers.Conv2D(4, 1), CondConv2D(4, 1, num_experts=2), keras.layers.BatchNormalization())
    x = images(8, 4, 3)
    folded, heated = fold(model), with_routing(model, temperature=2)
    expected = model.predict(x, verbose=0)
    for each in (folded, heated, model, folded):
        each.predict(x, verbose=0)
    np.testing.assert_allclose(folded.predict(x, verbose=0), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_shared_bias_of_a_layer_with_its_own_router_is_copied():
    folded = fold(chain(CondConv2D(4, 1, num_experts=2), keras.layers.BatchNormalization()))
    heated = with_routing(folded, temperature=2)
    heated.layers[1].router.inverse_temperature.assign(1.0)
    assert np.abs(array(folded.layers[1].shared_bias)).min() > 0
    assert_same(folded, heated, images(8, 4, 3))
    assert_same(folded, fold(folded), images(8, 4, 3))


def test_a_copy_is_given_back():
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 1)(keras.ops.relu(inputs)))
    model = keras.Model(inputs, x + 1.0)
    copies = weakref.WeakSet([fold(model)])
    gc.collect()
    assert not copies


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_a_model_that_is_called_to_be_trained_is_left(kind):
    layers = [keras.layers.Conv2D(4, 1), keras.layers.BatchNormalization()]
    inner = keras.Sequential([keras.Input((8, 8, 4)), *layers])
    if kind == "functional":
        inner = keras.Model(inner.inputs, inner.outputs)
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, inner(inputs, training=True))
    assert len(normalizations(fold(model))) == 1


class OwnState(keras.layers.Layer):
    """A layer with a state that is no weight."""

    def call(self, inputs):
        return inputs

    def save_own_variables(self, store):
        store["state"] = np.ones(3)

    def load_own_variables(self, store):
        pass


class Bare(keras.layers.Layer):
    """A layer without a configuration."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


@pytest.mark.parametrize("make", [OwnState, lambda: keras.layers.Lambda(lambda x: x + 1), lambda: Bare(keras.ops.relu)])
def test_a_layer_that_cannot_be_copied_is_one_line(make):
    inputs = keras.Input((8, 8, 4))
    layer = make()
    model = keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 1)(layer(inputs))))
    with pytest.raises(ValueError, match=f"A network is folded whose layers.* Received: .*{layer.name}") as error:
        fold(model)
    assert "\n" not in str(error.value)
    assert folded_if_possible(model).model is model


def test_a_named_argument_and_losses():
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(4, 1, kernel_regularizer="l2", activity_regularizer="l2")(inputs)
    model = keras.Model(inputs, keras.layers.BatchNormalization()(inputs=x))
    folded = fold(model)
    assert_same(model, folded, images(8, 4, 3))
    assert not normalizations(folded)
    assert not folded.losses


def test_an_activation_of_another_precision_stays():
    layers = CondConv2D(4, 1, num_experts=2, dtype="mixed_bfloat16"), keras.layers.BatchNormalization(dtype="float32")
    model = chain(*layers, keras.layers.Activation("sigmoid", dtype="float32", name="last"))
    folded = fold(model)
    assert type(folded.get_layer("last")) is keras.layers.Activation
    assert array(folded(images(8, 4, 3))).dtype == np.float32


def test_mixed_precision_stays():
    model = chain(
        CondConv2D(4, 1, num_experts=2, dtype="mixed_bfloat16"), keras.layers.BatchNormalization(dtype="mixed_bfloat16")
    )
    folded = fold(model)
    assert folded.layers[1].compute_dtype == "bfloat16"
    assert_same(model, folded, images(8, 4, 3), 2e-2)


def test_a_subclassed_model_is_refused():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="Received: 'own'"):
        fold(Own(name="own"))
