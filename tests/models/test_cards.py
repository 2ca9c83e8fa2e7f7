import pytest

from condconv_keras.models import build_model
from condconv_keras.models.cards import registered_card

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
