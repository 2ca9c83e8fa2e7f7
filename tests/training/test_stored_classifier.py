"""A stored classifier as a run trains it: how it is fed, its classifier, its experts."""

import dataclasses
import types

import keras
import numpy as np
import pytest

from condconv_keras import create_model, to_condconv
from condconv_keras.data import Preprocessing
from condconv_keras.facts.model_card import DetectorCard, ModelCard
from condconv_keras.layers.base_cond_conv import BaseCondConv2D
from condconv_keras.training.config import Execution
from condconv_keras.training.plan import TrainingPlan
from condconv_keras.training.stored_classifier import StoredClassifier
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import all_layers
from tests.seeds import set_seed
from tests.training.configs import CONFIG

_L = keras.layers
_NAMES = ("cat", "dog", "owl")
_IMAGES = np.random.default_rng(0).uniform(0, 255, (6, 12, 16, 3)).astype("float32")
_CARD = ModelCard("mine", _NAMES, Preprocessing((12, 16), 3, 127.5, 64.0, "bilinear", 0.9))


def _model(*first, classes=3, size=(12, 16), activation="softmax"):
    set_seed(0)
    return keras.Sequential(
        [
            keras.Input((*size, 3)),
            *first,
            _L.Conv2D(6, 3, name="conv_1", use_bias=False),
            _L.BatchNormalization(name="norm"),
            _L.ReLU(),
            _L.Conv2D(8, 3, activation="relu", name="conv_2"),
            _L.GlobalAveragePooling2D(),
            _L.Dense(classes, activation=activation, name="fc"),
        ],
        name="mine",
    )


def _config(recipe=None, **changes):
    arguments = changes.pop("model_arguments", {})
    changes = {"model": "/m.keras", "model_sha256": "0" * 64, "model_arguments": arguments, **changes}
    # As the flags leave it.
    small = dataclasses.replace(CONFIG.recipe, **{"input_size": None, "crop_fraction": None, **(recipe or {})})
    return dataclasses.replace(CONFIG, recipe=small, **changes)


def _plan(model, card=None, names=_NAMES, **changes):
    config = _config(**changes)
    initial = StoredClassifier(config, model, card)
    dataset = types.SimpleNamespace(class_names=names, image_shape=(None, None, 3))
    plan = TrainingPlan(dataclasses.replace(config, inherited=initial.inherited), dataset)
    plan.router_images = lambda: plan.card.preprocessing.scale_images(_IMAGES)
    plan.network = initial.network(plan)
    return plan


def _outputs(model, images):
    return np.asarray(model(images, training=False))


def test_the_card_says_how_images_are_fed():
    plan = _plan(_model(), _CARD)
    assert plan.card == ModelCard("mine", _NAMES, _CARD.preprocessing, returns="logits")


def test_flags_come_before_the_card_and_the_card_before_the_network():
    given = {"mean": [1.0, 2.0, 3.0], "std": 5.0, "interpolation": "bicubic"}
    plan = _plan(_model(), _CARD, preprocessing=given, recipe={"crop_fraction": 0.5})
    assert plan.card.preprocessing == Preprocessing((12, 16), 3, (1.0, 2.0, 3.0), 5.0, "bicubic", 0.5)
    plan = _plan(_model(_L.Rescaling(1 / 255)), _CARD)
    assert plan.card.preprocessing == _CARD.preprocessing
    plan = _plan(_model(_L.Rescaling(1 / 255)), apply_orientation=False)
    assert plan.card.preprocessing == Preprocessing((12, 16), 3, 0.0, 1.0, apply_orientation=False)
    assert plan.card.model == "mine"


def test_a_network_that_says_nothing_asks_for_flags():
    with pytest.raises(UserError, match=r"expected `mean` and `std` of the pixels that the model in '/m.keras' takes"):
        _plan(_model())
    assert _plan(_model(), preprocessing={"mean": 0.0, "std": 255.0}).card.preprocessing.std == 255.0
    with pytest.raises(UserError, match=r"`mean` has one number for each of 3 channels"):
        _plan(_model(), preprocessing={"mean": [0.0, 1.0], "std": 255.0})


def test_the_size_is_the_networks():
    rescaling = lambda: _L.Rescaling(1 / 255)  # noqa: E731
    with pytest.raises(UserError, match=r"takes images of 12x16 alone. Received: input_size=32"):
        _plan(_model(rescaling()), recipe={"input_size": 32})
    with pytest.raises(UserError, match=r"expected `input_size`: the model in '/m.keras' takes images of any size"):
        _plan(_model(rescaling(), size=(None, None)))
    assert _plan(_model(rescaling(), size=(None, None)), recipe={"input_size": 32}).card.preprocessing.input_size == (
        32,
        32,
    )
    assert _plan(_model(rescaling(), size=(None, None)), _CARD).card.preprocessing.input_size == (12, 16)


@pytest.mark.parametrize("names", [_NAMES, ("Cat", "DOG", "owl")])
def test_classes_of_the_same_names_keep_the_classifier(names, capsys):
    model = _model()
    expected = _outputs(model, _CARD.preprocessing.scale_images(_IMAGES))
    plan = _plan(model, _CARD, names)
    logits = _outputs(plan.build_network(), plan.card.preprocessing.scale_images(_IMAGES))
    np.testing.assert_allclose(keras.ops.softmax(logits), expected, rtol=1e-5)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("names", [("dog", "cat", "owl"), ("a", "b"), ("owl", "cat", "dog", "eel")])
def test_other_classes_start_with_a_new_classifier(names, capsys):
    plan = _plan(_model(), _CARD, names)
    network, model = plan.build_network(), _model()
    assert network.output_shape == (None, len(names))
    for layer in ("conv_1", "conv_2", "norm"):
        for mine, theirs in zip(
            network.get_layer(layer).get_weights(), model.get_layer(layer).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)
    mine, theirs = (each.get_layer("fc").get_weights()[0] for each in (network, model))
    assert mine.shape != theirs.shape or (mine != theirs).all()
    assert capsys.readouterr().err == (
        f"the classifier 'fc' starts anew: {len(names)} classes, those of the model in '/m.keras' are others\n"
    )


def test_classes_without_names_keep_the_classifier(capsys):
    plan = _plan(_model(_L.Rescaling(1 / 255)), None)
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(
        plan.build_network().get_layer("fc").get_weights()[0], _model().get_layer("fc").get_weights()[0]
    )


def test_experts_compute_what_the_plain_network_does(capsys):
    model = _model()
    expected = _outputs(model, _CARD.preprocessing.scale_images(_IMAGES))
    arguments = {"num_experts": 3, "layers": ["conv_*"], "routing_per": "layer"}
    options = {"routing_temperature": 7.0, "router_scale": 0.5}
    plan = _plan(model, _CARD, model_arguments=arguments, recipe=options)
    network, images = plan.build_network(), plan.card.preprocessing.scale_images(_IMAGES)
    np.testing.assert_allclose(keras.ops.softmax(_outputs(network, images)), expected, rtol=1e-4)
    twins = [layer for layer in network.layers if isinstance(layer, BaseCondConv2D)]
    assert [layer.name for layer in twins] == ["conv_1", "conv_2"]
    for layer in twins:
        assert layer.router.num_experts == 3
        assert layer.router.options.temperature == 7.0
    features = np.asarray(images).mean(axis=(1, 2))
    logits = features @ np.asarray(twins[0].router.kernel) + np.asarray(twins[0].router.bias)
    np.testing.assert_allclose(logits[:, :1].std(axis=0), 0.5, rtol=1e-3)
    assert (
        "mine: 2 of 3 convolutions and dense layers, conv_1 to conv_2, have 3 experts each" in capsys.readouterr().err
    )


def test_experts_of_the_file_are_trained_with_the_recipes_routers():
    twin = to_condconv(_model(), 2, layers="conv_2", verbose=False)
    bank = np.asarray(twin.get_layer("conv_2").bank)
    plan = _plan(twin, _CARD, recipe={"expert_dropout": 0.25})
    layer = plan.build_network().get_layer("conv_2")
    assert layer.router.options.expert_dropout == 0.25
    np.testing.assert_array_equal(layer.bank, bank)
    with pytest.raises(UserError, match="has experts already: leave `num_experts` out"):
        _plan(to_condconv(_model(), 2, layers="conv_2", verbose=False), _CARD, model_arguments={"num_experts": 2})


def test_routing_of_a_plain_network_cannot_be_logged():
    with pytest.raises(UserError, match="`log_routing` is for networks with CondConv layers"):
        _plan(_model(), _CARD, execution=Execution(log_routing=True))


def test_the_recipe_changes_normalization_and_dropout():
    network = _plan(_model(), _CARD, recipe={"bn_momentum": 0.5, "dropout_rate": 0.3}).build_network()
    assert network.get_layer("norm").momentum == 0.5
    assert [layer.rate for layer in network.layers if isinstance(layer, _L.Dropout)] == [0.3]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_spares_pixels_and_logits(precision):
    network = _plan(_model(_L.Rescaling(1 / 255, name="pixels")), precision=precision).build_network()
    policies = {layer.name: layer.dtype_policy.name for layer in all_layers(network, include_self=False)}
    assert {policies[name] for name in ("conv_1", "norm", "conv_2")} == {precision}
    assert policies["pixels"] == policies["fc"] == "float32"
    assert network.outputs[0].dtype == "float32"
    assert all(weight.dtype == "float32" for weight in network.weights)


@pytest.mark.parametrize("stored", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_the_precision_is_that_of_the_run(stored, precision):
    keras.config.set_dtype_policy(stored)
    try:
        model = _model(_L.Rescaling(1 / 255))
    finally:
        keras.config.set_dtype_policy("float32")
    network = _plan(model, precision=precision).build_network()
    assert network.get_layer("conv_1").dtype_policy.name == precision
    assert network.outputs[0].dtype == network.get_layer("fc").compute_dtype == "float32"


def test_a_classifier_inside_is_trained_alone_and_in_the_precision():
    inputs = keras.Input((12, 16, 3))
    outer = keras.Model(inputs, _model()(_L.Rescaling(1 / 255)(inputs)))
    plan = _plan(outer, precision="mixed_bfloat16", recipe={"freeze_epochs": 1})
    plan.dataset = types.SimpleNamespace(**vars(plan.dataset), train_split="train")
    plan.steps_per_epoch = 4
    network = plan.build_network()
    policies = {layer.name: layer.dtype_policy.name for layer in all_layers(network)}
    assert (policies["conv_1"], policies["fc"]) == ("mixed_bfloat16", "float32")
    training = plan.make_training_model(network)
    training.freeze(True)
    assert {weight.path.split("/")[-2] for weight in network.trainable_weights} == {"fc"}
    training.freeze(False)
    assert {weight.path.split("/")[-2] for weight in network.trainable_weights} == {"conv_1", "norm", "conv_2", "fc"}


def test_what_cannot_be_trained_is_one_clear_line():
    frozen = _model(_L.Rescaling(1 / 255))
    frozen.trainable = False
    with pytest.raises(UserError, match=r"expected weights to train, all layers of the model in '/m.keras' are frozen"):
        _plan(frozen)
    quantized = _model(_L.Rescaling(1 / 255))
    quantized.get_layer("fc").quantize("int8")
    with pytest.raises(UserError, match="expected floating-point weights to train, the layer 'fc' is quantized"):
        _plan(quantized)
    with pytest.raises(UserError, match="expected `mean` and `std`"):
        _plan(_model(_L.Rescaling(1 / 255)), preprocessing={"mean": 127.5})


def test_frozen_layers_stay_frozen():
    model = _model(_L.Rescaling(1 / 255))
    model.get_layer("conv_1").trainable = False
    plan = _plan(model, recipe={"freeze_epochs": 1})
    dataset = plan.dataset
    plan.dataset = types.SimpleNamespace(**vars(dataset), train_split="train")
    plan.steps_per_epoch = 4
    training = plan.make_training_model(plan.build_network())
    names = lambda: {weight.path.split("/")[-2] for weight in training.network.trainable_weights}  # noqa: E731
    training.freeze(True)
    assert names() == {"fc"}
    training.freeze(False)
    assert names() == {"norm", "conv_2", "fc"}


@pytest.mark.parametrize(
    "make, card, message",
    [
        (
            lambda: keras.Sequential([_L.Dense(3)]),
            None,
            "expected a functional or sequential model that knows its input",
        ),
        (lambda: keras.Sequential([keras.Input((5,)), _L.Dense(3)]), None, "expected a model of one input"),
        (lambda: keras.Sequential([keras.Input((8, 8, 4)), _L.Flatten(), _L.Dense(3)]), None, "1 or 3"),
        (
            _model,
            DetectorCard("d", _NAMES, _CARD.preprocessing),
            "expected a classifier in `model`, '/m.keras' has the",
        ),
    ],
)
def test_what_is_no_classifier_of_images_is_one_clear_line(make, card, message):
    with pytest.raises(UserError, match=message) as error:
        _plan(make(), card)
    assert "\n" not in str(error.value)


def test_a_network_of_the_zoo_is_trained_as_it_is():
    model = create_model(
        "condconv_mobilenet_v1", width_multiplier=0.25, num_experts=2, classes=3, input_shape=(32, 32, 3)
    )
    weights = [np.asarray(weight) for weight in model.weights]
    plan = _plan(model, dataclasses.replace(_CARD, preprocessing=Preprocessing((32, 32), 3, 127.5, 127.5)))
    for mine, theirs in zip(plan.build_network().weights, weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
