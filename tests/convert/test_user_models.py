"""Models as users have them: masks, frozen parts, vocabularies, layers of several models, files that come back."""

import keras
import numpy as np
import pytest
from keras import layers

from condconv_keras import Routing, to_condconv
from condconv_keras.layers.routers import routers
from condconv_keras.utils.errors import UserError
from condconv_keras.weights.router_fit import router_features
from tests.convert.test_to_condconv import (
    EXPERTS,
    array,
    assert_same,
    branches,
    experts_of,
    image,
    inputs_for,
    nested,
    one_layer,
    randomized,
    shared_layer,
)
from tests.layers.backends import BACKEND, JIT, requires_tensorflow


def trainable_paths(model):
    return sorted(variable.path.rpartition("/")[0] for variable in model.trainable_weights)


def tokens_model():
    """Masked tokens through a dense layer of a model inside, and one whose output the loss sees."""
    inner_inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(10, 8, mask_zero=True)(inner_inputs)
    inner = keras.Model(inner_inputs, layers.Dense(8, activation="tanh", name="dense")(x), name="inner")
    inputs = keras.Input((6,), dtype="int32")
    x = inner(inputs)
    return keras.Model(inputs, [layers.GRU(5)(x), layers.Dense(3, name="tokens")(x)])


def test_masks_pass_through_a_dense_layer(recwarn):
    model = randomized(tokens_model())
    twin = to_condconv(model, EXPERTS, layers=["inner/dense", "tokens"], verbose=False)
    x = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 0, 0, 0, 0]])
    for expected, received in zip(model(x), twin(x), strict=True):
        np.testing.assert_allclose(array(received), array(expected), atol=1e-5)
    for each in (model, twin):
        each.compile(loss=["mse", "mse"])
    truth = [np.ones((2, 5)), np.ones((2, 6, 3))]
    losses = [each.evaluate(x, truth, verbose=0, return_dict=True)["loss"] for each in (model, twin)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert not [str(warning.message) for warning in recwarn if "mask" in str(warning.message)]


class Doubled(keras.Model):
    """A functional model that does more than its graph."""

    def __init__(self, width=2, **kwargs):
        inputs = image()
        super().__init__(inputs, layers.Conv2D(width, 1, name="c")(inputs), **kwargs)

    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)

    def get_config(self):
        return {"name": self.name}


def test_a_call_of_a_models_own():
    with pytest.raises(UserError, match=r"received the Doubled 'doubled.*not what a `call` of its own does"):
        to_condconv(Doubled())
    model = randomized(one_layer(Doubled(name="inner"), layers.Conv2D(3, 1, name="d")))
    with pytest.raises(UserError, match="'c' is that of none; those of the model are d"):
        to_condconv(model, layers="c")
    assert_same(model, to_condconv(model, EXPERTS, verbose=False))


@requires_tensorflow
def test_a_vocabulary_comes_along():
    lookup = layers.IntegerLookup(output_mode="one_hot")
    lookup.adapt(np.array([[5], [7], [9]]))
    inputs = [image(), keras.Input((1,), dtype="int64")]
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs[0])), lookup(inputs[1])])
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    twin = to_condconv(model, EXPERTS, verbose=False)
    images, numbers = np.ones((2, 9, 9, 4), "float32"), np.array([[5], [8]])
    np.testing.assert_allclose(array(twin([images, numbers])), array(model([images, numbers])), atol=1e-5)


class Pair(layers.Layer):
    """A layer with layers inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = layers.Dense(4, name="first"), layers.Dense(4, name="second")

    def build(self, input_shape):
        self.first.build(input_shape)
        self.second.build(input_shape)

    def call(self, inputs):
        return self.second(self.first(inputs))


@pytest.mark.parametrize("kind", ["model", "sequential", "layer"])
def test_flags_of_what_is_inside_stay(kind):
    made = [layers.Dense(4, name="first"), layers.Conv2D(4, 1, name="second")]
    inner = {
        "model": lambda: one_layer(*made),
        "sequential": lambda: keras.Sequential([image(9, 9, 4), *made]),
        "layer": Pair,
    }[kind]()
    model = one_layer(inner, layers.Conv2D(2, 1, name="out"))
    inner.trainable = False
    part = inner.second if kind == "layer" else inner.get_layer("second")
    part.trainable = True
    twin = to_condconv(model, EXPERTS, layers="out", verbose=False)
    own = [v for v in twin.trainable_weights if "out" not in v.path]
    assert len(own) == len(model.trainable_weights) - 2 == 2
    assert twin.layers[1].trainable is False
    if kind != "layer":
        twin = to_condconv(model, EXPERTS, layers="first", verbose=False)
        assert not twin.layers[1].get_layer("first").trainable_weights
        assert twin.layers[1].get_layer("second").trainable_weights


def test_the_given_model_keeps_its_flags():
    model = keras.Sequential([image(), layers.Conv2D(4, 3, name="a"), layers.Conv2D(4, 3, name="b")])
    model.get_layer("a").trainable = False
    to_condconv(model, verbose=False)
    assert [layer.trainable for layer in model.layers] == [False, True]


def test_an_activation_with_weights_is_copied():
    model = randomized(one_layer(layers.Conv2D(3, 1, activation=layers.PReLU()), layers.Dense(2)))
    before = array(model(inputs_for(model)))
    twin = to_condconv(model, EXPERTS, verbose=False)
    assert_same(model, twin)
    twin.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=JIT)
    twin.fit(inputs_for(model), np.ones((3, 9, 9, 2)), verbose=0)
    np.testing.assert_array_equal(array(model(inputs_for(model))), before)


@pytest.mark.parametrize(("frozen", "trainable"), [(["a"], True), (["b"], True), (["a", "b"], False)])
def test_a_shared_router_is_frozen_with_all_of_its_layers(frozen, trainable):
    model = one_layer(layers.Conv2D(4, 1, name="a"), layers.Conv2D(4, 1, name="b"))
    for name in frozen:
        model.get_layer(name).trainable = False
    twin = to_condconv(model, EXPERTS, layers="*", routing={"r": "*"}, verbose=False)
    assert bool(twin.get_layer("r").trainable_weights) == trainable
    assert bool(twin.get_layer("a").trainable_weights) == ("a" not in frozen)


def test_layers_that_are_used_elsewhere_too(tmp_path):
    """Calls in other models are none of this one's: those of files that came back, and of a second head."""
    model = keras.Sequential([image(), layers.Conv2D(4, 1, name="a"), layers.Conv2D(4, 1, name="b")])
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    assert_same(model, to_condconv(model, EXPERTS, layers="*", routing={"r": "*"}, verbose=False))
    dense = layers.Dense(3, name="dense")
    first = one_layer(layers.Flatten(), dense, shape=(1, 1, 4))
    one_layer(dense)
    assert_same(first, to_condconv(first, EXPERTS, layers="dense", verbose=False))


def test_blocks_of_one_name_in_several_models():
    def side(name):
        made = [layers.Conv2D(4, 1, name="block_1_a"), layers.Conv2D(4, 1, name="block_1_b")]
        inputs = image()
        return keras.Model(inputs, made[1](made[0](inputs)), name=name)

    inputs = image()
    left, right = side("left"), side("right")
    model = randomized(keras.Model(inputs, left(inputs) + right(inputs)))
    twin = to_condconv(model, EXPERTS, layers="*", routing="block", verbose=False)
    assert_same(model, twin)
    found = [
        [layer.name for layer in twin.get_layer(name).layers if isinstance(layer, Routing)]
        for name in ("left", "right")
    ]
    assert [len(names) for names in found] == [1, 1]


def test_blocks_in_two_steps():
    model = randomized(one_layer(layers.Conv2D(4, 1, name="block_1_a"), layers.Conv2D(4, 1, name="block_1_b")))
    once = to_condconv(model, EXPERTS, layers="*_a", routing="block", verbose=False)
    twice = to_condconv(once, EXPERTS, layers="*_b", routing="block", verbose=False)
    assert_same(model, twice)
    assert [layer.name for layer in twice.layers if isinstance(layer, Routing)] == [
        "block_1_routing",
        "block_1_routing_2",
    ]


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("block_7_expand", "block_7"),
        ("block3a_dwconv", "block3a"),
        ("conv4_block2_1_conv", "conv4_block2"),
        ("expanded_conv_3_project", "expanded_conv_3"),
        ("convnext_tiny_stage_0_block_1_depthwise_conv", "convnext_tiny_stage_0_block_1"),
        ("conv_pw_12", "block_12"),
        ("conv_dw_12", "block_12"),
        ("block14_sepconv1", "block14"),
    ],
)
def test_names_of_blocks(name, block):
    twin = to_condconv(one_layer(layers.Conv2D(4, 1, name=name)), 2, routing="block", verbose=False)
    assert [layer.name for layer in twin.layers if isinstance(layer, Routing)] == [f"{block}_routing"]


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no optional inputs in a compiled model there")
def test_an_optional_input():
    inputs = [image(name="a"), keras.Input((9, 9, 4), name="b", optional=True)]

    class First(layers.Layer):
        def call(self, inputs):
            return inputs[0] if inputs[1] is None else inputs[0] + inputs[1]

        def compute_output_shape(self, input_shape):
            return input_shape[0]

    model = randomized(keras.Model(inputs, layers.Conv2D(3, 3, name="conv")(First()(inputs))))
    twin = to_condconv(model, EXPERTS, layers="conv", verbose=False)
    x = np.ones((2, 9, 9, 4), "float32")
    np.testing.assert_allclose(array(twin([x, None])), array(model([x, None])), atol=1e-5)


@pytest.mark.parametrize(
    ("network", "routing"),
    [(branches, "layer"), (branches, {"r": ["left", "gate"]}), (nested, "layer"), (shared_layer, "layer")],
)
def test_images_center_and_scale_the_logits(network, routing):
    model = randomized(network())
    images = inputs_for(model, 5, 16)
    twin = to_condconv(model, EXPERTS, layers="*", routing=routing, images=images, router_scale=0.5, verbose=False)
    found = [router for _, router in routers(twin)]
    assert len(found) >= 2
    for router, features in zip(found, router_features(twin, found, images), strict=True):
        logits = features @ array(router.kernel) + array(router.bias)
        assert np.abs(logits.mean(axis=0)).max() < 1e-3
        np.testing.assert_allclose(logits.std(axis=0), 0.5, rtol=1e-3)


def test_images_that_are_all_alike_leave_the_routers_as_they_are():
    model = randomized(branches())
    images = np.repeat(inputs_for(model, batch=1), 8, axis=0)
    twin = to_condconv(model, EXPERTS, layers="*", images=images, verbose=False)
    assert max(np.abs(array(layer.router.kernel)).max() for layer in experts_of(twin)) < 10


def test_a_model_that_cannot_be_counted_is_converted(capsys):
    inputs = keras.Input(batch_shape=(8, 9, 9, 4))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    model = keras.Model(inputs, keras.ops.reshape(x, (8, -1)))
    twin = to_condconv(model, 2, layers="conv")
    assert "have 2 experts each: parameters" in capsys.readouterr().err
    assert experts_of(twin)


@keras.saving.register_keras_serializable(package="tests")
class Bottleneck(layers.Layer):
    """A block that calls its layers in code, as those of many networks of KerasHub."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.reduce, self.expand = layers.Conv2D(4, 1), layers.Conv2D(8, 3, padding="same")

    def build(self, input_shape):
        self.reduce.build(input_shape)
        self.expand.build((*input_shape[:-1], 4))

    def call(self, inputs):
        return inputs + self.expand(self.reduce(inputs))


def test_convolutions_in_layers_with_code_of_their_own_are_named(capsys):
    inputs = keras.Input((16, 16, 3))
    inner_inputs = keras.Input((16, 16, 8))
    inner = keras.Model(inner_inputs, Bottleneck()(Bottleneck()(inner_inputs)), name="inner")
    model = keras.Model(inputs, inner(layers.Conv2D(8, 3, padding="same", name="stem")(inputs)))
    randomized(model)
    assert_same(model, to_condconv(model, EXPERTS))
    said = capsys.readouterr().err
    assert "1 of 1 convolutions and dense layers, stem, have" in said
    assert said.endswith(
        "; 4 more lie in layers with a `call` of their own (Bottleneck) and stay plain: a graph of layers alone can be "
        "rewritten\n"
    )
    plain = keras.Sequential([inputs, layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()])
    to_condconv(plain, EXPERTS)
    assert "stay" not in capsys.readouterr().err
