"""What a recipe says of experts: their start, their routers' temperature at every step, their learning rate."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.layers import fold_routing
from condconv_keras.layers.routers import routers
from condconv_keras.training.experts import router_options, router_weights, warn_of_pinned, with_recipe
from condconv_keras.training.optimization import scale_updates
from tests.seeds import set_seed
from tests.training import networks

X = np.random.default_rng(0).normal(1, 2, (8, *networks.SHAPE)).astype(np.float32)


def twin(num_experts=3, activation="sigmoid"):
    """A block of two CondConv layers with one router, and a classifier with its own; biases are not zero."""
    set_seed(0)
    inputs = keras.Input(networks.SHAPE)
    options = {"num_experts": num_experts, "bias_initializer": "random_normal"}
    routing = Routing(num_experts, activation=activation, name="block_routing")(inputs)
    x = DepthwiseCondConv2D(3, padding="same", name="depthwise", **options)(inputs, routing)
    x = CondConv2D(4, 1, activation="relu", name="pointwise", **options)(x, routing)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = CondConv2D(networks.CLASSES, 1, name="classifier", **options)(x)
    return keras.Model(inputs, keras.layers.Flatten()(x))


def plain_outputs(model, depthwise, pointwise, classifier):
    """The outputs of the plain network of kernels and biases, each [bank row]."""
    x = keras.ops.depthwise_conv(X, depthwise[0].reshape(3, 3, 2, 1), padding="same") + depthwise[1]
    x = np.maximum(np.array(x) @ pointwise[0].reshape(2, 4) + pointwise[1], 0)
    return x.mean(axis=(1, 2)) @ classifier[0].reshape(4, -1) + classifier[1]


def banks(model):
    return [[np.array(v) for v in (layer.bank, layer.bias)] for layer in map(model.get_layer, LAYERS)]


LAYERS = ("depthwise", "pointwise", "classifier")


@pytest.mark.parametrize(("start", "activation"), [("alike", "sigmoid"), ("alike", "softmax"), ("anchored", "sigmoid")])
def test_the_network_starts_as_a_plain_one(start, activation):
    model = twin(activation=activation)
    firsts = [[bank[0] for bank in pair] for pair in banks(model)]
    started = with_recipe(model, networks.recipe(expert_start=start, routing_temperature=5.0), starts_anew=True)
    np.testing.assert_allclose(np.array(started(X)), plain_outputs(started, *firsts), rtol=1e-4, atol=1e-5)
    for pair in banks(started)[:2]:
        for bank in pair:
            if start == "anchored":
                assert bank[0].any() and not bank[1:].any()
            else:
                np.testing.assert_array_equal(bank, np.tile(bank[:1], (3, 1)))
    kernel = np.array(started.get_layer("block_routing").kernel)
    if (start, activation) == ("alike", "sigmoid"):
        np.testing.assert_array_equal(kernel[:, 1], -kernel[:, 0])
        assert kernel[:, 0].all() and not kernel[:, 2].any()
    else:
        np.testing.assert_array_equal(kernel, np.array(model.get_layer("block_routing").kernel))


def test_routers_start_scaled_unless_they_are_those_of_a_file():
    kernels = [np.array(router.kernel) for _, router in routers(twin())]
    recipe = networks.recipe(router_scale=0.25)
    for starts_anew, factor in ((True, 0.25), (False, 1.0)):
        model = with_recipe(twin(), recipe, starts_anew)
        for (_, router), kernel in zip(routers(model), kernels, strict=True):
            np.testing.assert_allclose(np.array(router.kernel), factor * kernel, rtol=1e-6)


def test_the_default_recipe_and_a_plain_network_are_left_alone():
    model, plain = twin(), networks.network()
    assert with_recipe(model, networks.recipe(), True) is model
    assert with_recipe(plain, networks.recipe(routing_temperature=9.0, expert_start="anchored"), True) is plain
    assert router_options(networks.recipe()) == {}


def test_options_of_the_recipe():
    recipe = networks.recipe(
        routing_temperature=9.0,
        router_normalization=True,
        expert_dropout=0.1,
        expert_diversity=0.2,
        expert_balance=0.3,
    )
    for _, router in routers(with_recipe(twin(), recipe, True)):
        assert dataclasses.asdict(router.options) == {
            "temperature": 9.0,
            "normalize_inputs": True,
            "anchored": False,
            "expert_dropout": 0.1,
            "diversity_penalty": 0.2,
            "balance_penalty": 0.3,
        }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"routing_temperature": 0.5}, "`routing_temperature` must be a number of at least 1"),
        ({"temperature_epochs": 0}, "`temperature_epochs` must be a positive number"),
        ({"expert_start": "cold"}, "`expert_start` must be one of independent, alike, anchored"),
        ({"expert_dropout": 1.0}, r"`expert_dropout` must be in \[0, 1\)"),
        ({"router_scale": 0, "expert_start": "alike"}, "`router_scale` must be positive where experts start equal"),
    ],
)
def test_recipes_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        networks.recipe(**changes)


@pytest.mark.parametrize("use_bias", [True, False])
def test_weights_of_anchored_experts_are_said_where_they_are_not_anchored(use_bias, capsys):
    inputs = keras.Input(networks.SHAPE)
    routing = Routing(3, use_bias=use_bias, name="routing")(inputs)
    plain = keras.Model(inputs, CondConv2D(4, 1, 3)(inputs, routing))
    anchored = with_recipe(plain, networks.recipe(expert_start="anchored"), True)
    warn_of_pinned(plain)
    warn_of_pinned(anchored)
    assert capsys.readouterr().err == ""
    folded = fold_routing(anchored)
    warn_of_pinned(with_recipe(folded, networks.recipe(routing_temperature=9.0), False))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the weights come from anchored experts")


def heated(recipe, **options):
    model = with_recipe(twin(), recipe, True)
    return networks.training_model(model, recipe, temperature_steps=4.0, **options)


def temperatures(model):
    return [float(router.inverse_temperature) for _, router in routers(model.network)]


def test_every_step_has_its_temperature():
    model = heated(networks.recipe(routing_temperature=10.0, learning_rate=0.01))
    for step, batch in enumerate(networks.batches(6)):
        model.train_step(batch)
        assert temperatures(model) == pytest.approx([0.1 + 0.9 * min(step / 4, 1)] * 2, rel=1e-6)
    assert temperatures(model) == [1, 1]


def test_steps_in_one_execution_and_those_after_a_resume_have_theirs():
    recipe = networks.recipe(routing_temperature=10.0, learning_rate=0.1)
    data = networks.batches(4)
    single, several = heated(recipe), heated(recipe, steps_per_execution=2)
    for batch in data:
        single.train_step(batch)
    stacked = tf.data.Dataset.from_tensor_slices(tuple(tf.stack(part) for part in zip(*data, strict=True)))
    several.fit(stacked.take(2), epochs=1, verbose=0)
    assert temperatures(several) == pytest.approx([0.1 + 0.9 / 4] * 2)
    resumed = heated(recipe, steps_per_execution=2)
    resumed.network.set_weights(several.network.get_weights())
    resumed.optimizer.iterations.assign(2)
    resumed.fit(stacked.skip(2), epochs=1, verbose=0)
    assert temperatures(resumed) == pytest.approx([0.1 + 0.9 * 3 / 4] * 2)
    for value, expected in zip(resumed.network.get_weights(), single.network.get_weights(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)


def test_averages_are_used_at_the_temperature_of_their_step():
    model = heated(networks.recipe(routing_temperature=10.0, ema_decay=0.9))
    for batch in networks.batches(2):
        model.train_step(batch)
    kernel = routers(model.network)[0][1].kernel
    last = np.array(kernel)
    with model.average.in_place():
        assert np.abs(np.array(kernel) - last).max() > 1e-6
        assert temperatures(model) == pytest.approx([0.1 + 0.9 / 4] * 2)
        expected, folded = np.array(model.network(X)), fold_routing(model.network)
    np.testing.assert_allclose(np.array(folded(X)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "rmsprop", "momentum": 0.9}, {"optimizer": "adamw"}],
    ids=lambda changes: changes["optimizer"],
)
def test_routers_move_by_a_factor_of_what_the_optimizer_would(changes):
    moved = {}
    for factor in (1.0, 0.25):
        recipe = networks.recipe(weight_decay=0.0, learning_rate=1e-3, **changes)
        model = networks.training_model(twin(), recipe)
        if factor != 1:
            scale_updates(model.optimizer, router_weights(model.network), factor)
        variables = model.network.trainable_variables
        before = [np.array(v) for v in variables]
        ((images, labels),) = networks.batches(1)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model.network(images)) * tf.cast(labels[:, None], tf.float32))
        gradients = tape.gradient(loss, variables)
        for _ in range(2):
            model.optimizer.apply(gradients, variables)
        moved[factor] = [np.array(v) - b for v, b in zip(variables, before, strict=True)]
    scaled = {id(v) for v in router_weights(model.network)}
    assert len(scaled) == 4
    for variable, whole, part in zip(variables, moved[1.0], moved[0.25], strict=True):
        assert np.abs(whole).max() > 1e-6, variable.path
        np.testing.assert_allclose(part, whole * (0.25 if id(variable) in scaled else 1), rtol=2e-3, atol=1e-7)


def test_penalties_are_part_of_the_loss_of_a_step():
    losses = []
    for factor in (0.0, 2.0, 2.0):
        recipe = networks.recipe(expert_balance=factor)
        model = networks.training_model(with_recipe(twin(), recipe, True), recipe)
        ((images, labels),) = networks.batches(1)
        losses.append(float(model.train_step((images, labels))["loss"]))
    assert losses[1] == losses[2]
    pooled = {"block_routing": np.array(images).mean(axis=(1, 2))}
    model = twin()
    expected = 0.0
    x = keras.Model(model.input, model.get_layer("classifier").input)(images)
    pooled = [pooled["block_routing"], np.array(x).mean(axis=(1, 2))]
    for (_, router), features in zip(routers(model), pooled, strict=True):
        means = (1 / (1 + np.exp(-(features @ np.array(router.kernel) + np.array(router.bias))))).mean(axis=0)
        expected += 2 * means.var() / means.mean() ** 2
    assert losses[1] - losses[0] == pytest.approx(expected, rel=1e-3)
