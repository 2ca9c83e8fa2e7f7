import pytest

from condconv_keras.facts.model_card import ModelCard
from condconv_keras.facts.preprocessing import Preprocessing

CARD = ModelCard("condconv_mobilenet_v1", ("cat", "dog"), Preprocessing((32, 48), 1, 127.5, 127.5, "bilinear", 0.9))


def test_json_round_trip():
    assert ModelCard.from_json(CARD.to_json()) == CARD
    with pytest.raises(ValueError):
        ModelCard.from_json("{}")
