import dataclasses

import numpy as np
import pytest

from condconv_keras.data import open_dataset, open_detection_dataset
from condconv_keras.data.model_labels import with_model_labels
from condconv_keras.facts.model_card import DetectorCard, ModelCard
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.utils.errors import UserError
from tests.data.detection_folders import coco_box, coco_image, labels_by_id, save_image, write_coco
from tests.data.splits import write_classes

CARD = ModelCard("mine", tuple(map(str, range(12))), Preprocessing((4, 4), 3, 0.0, 1.0))


def _labels(dataset, split):
    return [int(label) for _, label in dataset.examples(split)]


def test_numbered_folders_have_the_model_s_numbers(tmp_path):
    write_classes(tmp_path / "test", {str(k): 1 for k in range(12)})
    dataset = open_dataset(str(tmp_path))
    assert _labels(dataset, "test") == list(range(12)) and dataset.class_names[2] == "10"
    labeled, notes = with_model_labels(dataset, CARD)
    assert labeled.class_names == CARD.class_names and labeled.present_classes is None
    assert _labels(labeled, "test") == [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
    assert notes == ["the data set has its classes in another order than the model: they are matched by name"]
    # What was opened stays as it is.
    assert _labels(dataset, "test") == list(range(12))


def test_a_subset_of_the_classes(tmp_path):
    write_classes(tmp_path / "test", {"10": 1, "7": 2})
    labeled, notes = with_model_labels(open_dataset(str(tmp_path)), CARD)
    assert _labels(labeled, "test") == [10, 7, 7]
    assert labeled.present_classes == (7, 10)
    assert notes[-1] == "the data set has 2 of the model's 12 classes"


@pytest.mark.parametrize(
    ("names", "hint"),
    [(tuple("012"), "give the model a card with the names of its classes"), (("zero", "one"), "rename them or leave")],
)
def test_other_classes_are_refused(names, hint, tmp_path):
    write_classes(tmp_path / "test", {"cat": 1, "zero": 1})
    with pytest.raises(UserError) as refusal:
        with_model_labels(open_dataset(str(tmp_path)), dataclasses.replace(CARD, class_names=names))
    text = str(refusal.value)
    assert f"the data set '{tmp_path}' has classes that the model does not have" in text and hint in text
    assert "only in the data: 'cat'" in text and repr(names[1]) in text and "\n" not in text


CATEGORIES = [{"id": 3, "name": "car"}, {"id": 5, "name": "bus"}, {"id": 7, "name": "car"}]


def _open_coco(folder, categories):
    for split in ("train", "val"):
        save_image(folder / split / "1.png")
        boxes = [coco_box(1, [i, 0, 4, 4], category["id"]) for i, category in enumerate(categories)]
        write_coco(folder / split / "instances.json", [coco_image(1)], boxes, categories)
    return open_detection_dataset(str(folder))


def test_two_categories_of_one_name_stay_two(tmp_path):
    dataset = _open_coco(tmp_path, CATEGORIES)
    assert dataset.class_names == ("car (3)", "bus", "car (7)")
    # A card of version 0.1 has the names as they are.
    for names in (("car", "bus", "car"), dataset.class_names):
        card = DetectorCard("ssd", names, CARD.preprocessing, category_ids=(3, 5, 7))
        labeled, notes = with_model_labels(dataset, card)
        assert labels_by_id(labeled, "val")[1][1]["classes"].tolist() == [0, 1, 2] and notes == []


def test_categories_in_another_order_and_fewer_of_them(tmp_path):
    card = DetectorCard("ssd", ("dog", "cat", "cow"), CARD.preprocessing, category_ids=(1, 2, 3))
    dataset = _open_coco(tmp_path, [{"id": 4, "name": "cow"}, {"id": 9, "name": "dog"}])
    labeled, _ = with_model_labels(dataset, card)
    label = labels_by_id(labeled, "val")[1][1]
    assert label["classes"].tolist() == [2, 0] and label["classes"].dtype == np.int32
    np.testing.assert_allclose(label["boxes"][:, 1] * 40, [0, 1], atol=1e-5)
    assert (labeled.category_ids, labeled.present_classes) == ((9, 0, 4), (0, 2))
    assert labels_by_id(dataset, "val")[1][1]["classes"].tolist() == [0, 1]
