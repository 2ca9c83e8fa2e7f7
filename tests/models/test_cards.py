import dataclasses

import keras
import numpy as np
import pytest

from condconv_keras import card_of, create_model
from condconv_keras.facts.model_card import LOGITS, PROBABILITIES
from condconv_keras.layers import fold_routing, with_routing
from condconv_keras.models import build_model
from condconv_keras.models.cards import registered_card
from condconv_keras.models.saving import save_model

SMALL = {"width_multiplier": 0.25, "classes": 4}


@pytest.mark.parametrize("name", ["mobilenet_v1", "ssd300_mobilenet_v1"])
def test_card_of_a_registered_model(name):
    card = registered_card(build_model(name, input_shape=(96, 128, 1), **SMALL))
    assert (card.model, card.class_names) == (name, ("0", "1", "2", "3"))
    assert (card.preprocessing.input_shape, card.preprocessing.mean) == ((96, 128, 1), 127.5)


def test_no_card_of_features_or_of_another_model():
    features = build_model("mobilenet_v1", input_shape=(32, 32, 3), include_top=False, **SMALL)
    assert registered_card(features) is None
    model = build_model("mobilenet_v1", input_shape=(32, 32, 3), **SMALL)
    model.name = "other"
    assert registered_card(model) is None


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A classifier's file whose card differs from the registered one, and the card."""
    model = create_model("mobilenet_v1", input_shape=(64, 64, 3), **SMALL)
    preprocessing = dataclasses.replace(card_of(model).preprocessing, mean=100.0, std=50.0, crop_fraction=0.5)
    card = dataclasses.replace(card_of(model), class_names=("cat", "dog", "cow", "hen"), preprocessing=preprocessing)
    path = tmp_path_factory.mktemp("trained") / "model.keras"
    save_model(model, card, path)
    return path, card


def test_a_created_model_has_the_card_of_its_weights(trained):
    path, card = trained
    assert card_of(create_model("mobilenet_v1", weights=path, input_shape=(64, 64, 3), **SMALL)) == card
    twin = create_model("condconv_mobilenet_v1", weights=path, num_experts=2, input_shape=(96, 32, 3), **SMALL)
    expected = dataclasses.replace(card.preprocessing, input_size=(96, 32))
    assert card_of(twin) == dataclasses.replace(card, model="condconv_mobilenet_v1", preprocessing=expected)


def test_copies_with_other_routers_have_the_card_of_their_model(trained):
    path, card = trained
    arguments = {"num_experts": 2, "start_block": 13, "input_shape": (64, 64, 3), **SMALL}
    model = create_model("condconv_mobilenet_v1", weights=path, **arguments)
    copy = with_routing(model, temperature=2.0)
    expected = dataclasses.replace(card, model="condconv_mobilenet_v1")
    assert [card_of(each) for each in (copy, fold_routing(copy))] == [expected, expected]
    with pytest.raises(ValueError, match="`model` has to be one that `create_model` returned"):
        card_of(with_routing(build_model("condconv_mobilenet_v1", **arguments), temperature=2.0))


def test_classes_and_crop_of_another_head_are_not_taken_over(trained):
    path, card = trained
    arguments = {"weights": path, "width_multiplier": 0.25, "input_shape": (64, 64, 3)}
    other = card_of(create_model("mobilenet_v1", classes=3, **arguments))
    assert (other.class_names, other.preprocessing) == (("0", "1", "2"), card.preprocessing)
    features = card_of(create_model("mobilenet_v1", include_top=False, **arguments))
    assert (features.class_names, features.returns, features.preprocessing) == ((), None, card.preprocessing)
    detector = card_of(create_model("ssd300_mobilenet_v1", classes=4, **{**arguments, "input_shape": (96, 96, 3)}))
    assert detector.class_names == ("0", "1", "2", "3")
    assert (detector.preprocessing.mean, detector.preprocessing.std) == (100.0, 50.0)
    assert detector.preprocessing.crop_fraction == 1.0


@pytest.mark.parametrize(
    ("activation", "returns"), [(None, LOGITS), ("softmax", PROBABILITIES), ("sigmoid", None)], ids=str
)
def test_what_a_created_model_returns(activation, returns):
    model = create_model("mobilenet_v1", input_shape=(32, 32, 3), classifier_activation=activation, **SMALL)
    assert card_of(model).returns == returns


def test_only_created_models_have_a_card():
    model = create_model("mobilenet_v1", input_shape=(32, 32, 3), **SMALL)
    for other in (keras.models.clone_model(model), build_model("mobilenet_v1", **SMALL), 3):
        with pytest.raises(ValueError, match="`create_model` returned"):
            card_of(other)


def test_photographs_to_names(trained):
    """Of images of different sizes, as NumPy crops, resizes by a whole factor and scales them."""
    path, _ = trained
    model = create_model("mobilenet_v1", weights=path, input_shape=(64, 64, 3), **SMALL)
    card = card_of(model)
    photos = [np.random.default_rng(0).uniform(0, 255, (128, side, 3)).astype("float32") for side in (128, 200)]
    # Half of the shorter side is the input's size: nothing is resized.
    expected = np.stack([photos[0][32:96, 32:96], photos[1][32:96, 68:132]])
    np.testing.assert_allclose(card.inputs(photos), (expected - 100) / 50, atol=1e-5)
    logits = model.predict(card.inputs(photos), verbose=0).astype("float64")
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    answers = card.top_classes(logits, k=2)
    for answer, row in zip(answers, probabilities, strict=True):
        best = np.argsort(-row)[:2]
        assert [name for name, _ in answer] == [card.class_names[i] for i in best]
        np.testing.assert_allclose([probability for _, probability in answer], row[best], rtol=1e-5)
