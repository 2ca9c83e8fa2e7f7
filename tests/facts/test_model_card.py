import copy
import dataclasses
import json

import numpy as np
import pytest

from condconv_keras.facts.anchors import SSD_MOBILENET_V1, AnchorScheme
from condconv_keras.facts.model_card import DetectorCard, ModelCard
from condconv_keras.facts.preprocessing import Preprocessing

CARD = ModelCard("condconv_mobilenet_v1", ("cat", "dog"), Preprocessing((32, 48), 1, 127.5, 127.5, "bilinear", 0.9))


def test_json_round_trip():
    assert ModelCard.from_json(CARD.to_json()) == CARD
    with pytest.raises(ValueError):
        ModelCard.from_json("{}")


DETECTOR = DetectorCard("ssd", ("cat", "dog"), CARD.preprocessing, category_ids=(3, 5), anchors=AnchorScheme((8, 16)))


def test_the_card_of_a_detector():
    assert ModelCard.from_json(DETECTOR.to_json()) == DETECTOR
    np.testing.assert_array_equal(DETECTOR.anchor_boxes, AnchorScheme((8, 16)).boxes((32, 48)))
    # As version 0.1 wrote it, and as its programs made it.
    fields = {name: value for name, value in DETECTOR.to_dict().items() if name != "anchors"}
    old = ModelCard.from_json(json.dumps(fields))
    assert old == ModelCard("ssd", ("cat", "dog"), CARD.preprocessing, "detection", (3, 5))
    assert (type(old), old.anchors) == (DetectorCard, SSD_MOBILENET_V1)
    assert old == ModelCard("ssd", ("cat", "dog"), CARD.preprocessing, task="detection", category_ids=(3, 5))
    assert copy.deepcopy(DETECTOR) == DETECTOR


def test_a_card_of_ones_own():
    class Rotated(DetectorCard):
        pass

    assert type(Rotated("ssd", ("cat",), CARD.preprocessing)) is Rotated
    with pytest.raises(ValueError, match=r"`task` of a DetectorCard is 'detection'\. Received: task='classification'"):
        dataclasses.replace(DETECTOR, task="classification")
    with pytest.raises(ValueError, match=r"`task` must be one of .* Received: task='segmentation'"):
        ModelCard("ssd", ("cat",), CARD.preprocessing, "segmentation")


@pytest.mark.parametrize(
    "changes",
    [{"task": "segmentation"}, {"anchors": "x"}, {"anchors": [1]}, {"class_names": "ab"}, {"category_ids": 5}],
)
def test_a_damaged_card_is_a_value_error(changes):
    with pytest.raises(ValueError):
        ModelCard.from_json(json.dumps({**DETECTOR.to_dict(), **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": None},
        {"class_names": [None, "dog"]},
        {"class_names": [True, "dog"]},
        {"class_names": [["cat"], "dog"]},
        {"task": ["detection"]},
        {"preprocessing": None},
        {"preprocessing": []},
        {"category_ids": [1.5, 2]},
        {"category_ids": "35"},
        *(
            {"preprocessing": {**CARD.preprocessing.to_dict(), **changed}}
            for changed in (
                {"channels": 3.0},
                {"channels": True},
                {"mean": 10**400},
                {"std": "1"},
                {"crop_fraction": True},
                {"input_size": [10**9, 8]},
                {"input_size": {"8": 1, "9": 2}},
            )
        ),
    ],
)
def test_a_field_of_another_form_is_a_value_error(changes):
    with pytest.raises(ValueError) as error:
        ModelCard.from_json(json.dumps({**DETECTOR.to_dict(), **changes}))
    assert len(str(error.value).splitlines()) == 1


def test_names_that_are_numbers_are_text():
    assert ModelCard.from_json(json.dumps({**CARD.to_dict(), "class_names": [3, "b"]})).class_names == ("3", "b")


def test_brackets_without_end_are_a_value_error():
    with pytest.raises(ValueError):
        ModelCard.from_json("[" * 100_000)


def test_the_top_classes():
    card = dataclasses.replace(CARD, returns="probabilities")
    assert card.top_classes([[0.25, 0.75], [0.5, 0.5]], k=1) == [[("dog", 0.75)], [("cat", 0.5)]]
    assert card.top_classes(np.array([[0.25, 0.75]])) == [[("dog", 0.75), ("cat", 0.25)]]
    ((best, _),) = dataclasses.replace(CARD, returns="logits").top_classes(np.log([[1.0, 3.0]]))
    assert best == ("dog", pytest.approx(0.75))
    with pytest.raises(ValueError, match="whether outputs are logits"):
        CARD.top_classes([[0.25, 0.75]])
    with pytest.raises(ValueError, match=r"\[images, 2\]"):
        card.top_classes([0.25, 0.75])
