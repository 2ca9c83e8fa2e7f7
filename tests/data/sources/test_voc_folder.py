import numpy as np
import pytest

from condconv_keras.data import open_detection_dataset
from condconv_keras.utils.errors import UserError
from tests.data.detection_folders import labels_by_id, save_image, write_voc
from tests.data.splits import small_hashes

DOG_AND_CAT = [("dog", 4, 5, 12, 15, 0), ("cat", 0, 0, 40, 20, 1)]


def _write(root, name, objects, annotations="Annotations", images="JPEGImages", ending=".png", seed=0, **kwargs):
    write_voc(root / annotations / f"{name}.xml", objects, **kwargs)
    return save_image(root / images / f"{name}{ending}", seed=seed)


def _write_lists(root, **names_of):
    folder = root / "ImageSets" / "Main"
    folder.mkdir(parents=True)
    for split, text in names_of.items():
        (folder / f"{split}.txt").write_text(text)


def test_the_layout_of_pascal_voc(tmp_path):
    pixels = [_write(tmp_path, f"00{i}", DOG_AND_CAT if i else [], seed=i, ending=".JPG") for i in range(4)]
    _write_lists(tmp_path, train="002\n000\n", val="003  1\n", dog_train="001 -1\n")
    dataset = open_detection_dataset(str(tmp_path))
    assert (dataset.class_names, dataset.category_ids) == (("cat", "dog"), (1, 2))
    assert dataset.splits == {"train": 2, "val": 1}
    assert not dataset.held_out
    assert dataset.skipped_boxes == {"train": {}, "val": {}}
    train, val = (labels_by_id(dataset, split) for split in ("train", "val"))
    # The ids are those of the names that the lists have.
    assert (list(train), list(val)) == ([1, 2], [3])
    for (image, _), expected in zip([*train.values(), *val.values()], [pixels[0], pixels[2], pixels[3]], strict=True):
        np.testing.assert_array_equal(image, expected)
    assert train[1][1]["boxes"].shape == (0, 4)
    label = train[2][1]
    np.testing.assert_allclose(label["boxes"], [[5 / 20, 4 / 40, 15 / 20, 12 / 40], [0, 0, 1, 1]], rtol=1e-6)
    assert label["classes"].tolist() == [1, 0]
    assert label["is_crowd"].tolist() == [False, True]
    np.testing.assert_allclose(label["area"], [80, 800], rtol=1e-6)


def test_without_lists_a_part_is_held_out(tmp_path):
    for i in range(5):
        _write(tmp_path, f"{i}", DOG_AND_CAT, seed=i)
    dataset = open_detection_dataset(str(tmp_path), validation_fraction=0.4)
    assert (dataset.splits, dataset.held_out) == ({"train": 2, "validation": 3}, True)
    assert dataset.example_names("validation") == small_hashes([f"JPEGImages/{i}.png" for i in range(5)], 0.4)
    ids = [image_id for split in dataset.splits for image_id in labels_by_id(dataset, split)]
    assert sorted(ids) == [1, 2, 3, 4, 5]


def test_annotations_beside_the_images(tmp_path):
    for split, names in (("train", "ab"), ("validation", "c")):
        for name in names:
            _write(tmp_path, name, DOG_AND_CAT, split, split)
        (tmp_path / split / "._a.xml").write_bytes(b"\x00 of another system")
    assert open_detection_dataset(str(tmp_path)).splits == {"train": 2, "validation": 1}
    flat = open_detection_dataset(str(tmp_path / "train"), validation_fraction=0.5)
    assert (flat.splits, flat.held_out) == ({"train": 1, "validation": 1}, True)


def test_a_class_of_the_evaluation_split_only_is_unknown(tmp_path):
    _write(tmp_path, "a", DOG_AND_CAT, "train", "train")
    _write(tmp_path, "b", [*DOG_AND_CAT, ("cow", 0, 0, 5, 5, 0)], "test", "test")
    dataset = open_detection_dataset(str(tmp_path))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.skipped_boxes == {"train": {}, "test": {"unknown class": 1}}
    assert labels_by_id(dataset, "test")[1][1]["classes"].tolist() == [1, 0]


def test_bad_boxes_are_counted(tmp_path):
    bad = [("cat", 50, 0, 60, 9, 0), ("cat", 3, 3, 3, 9, 0), ("cat", "x", 0, 5, 5, 0), ("cat", "inf", 0, 5, 5, 0)]
    _write(tmp_path, "a", [*DOG_AND_CAT, *bad], "train", "train")
    _write(tmp_path, "b", [], "test", "test", size=None)
    dataset = open_detection_dataset(str(tmp_path))
    assert dataset.skipped_boxes["train"] == {"outside the image": 1, "no area": 1, "not finite": 2}
    assert len(labels_by_id(dataset, "train")[2][1]["classes"]) == 2


def test_missing_corrupt_and_other_images(tmp_path):
    for name in "abcd":
        _write(tmp_path, name, DOG_AND_CAT, "train", "train")
    _write(tmp_path, "e", DOG_AND_CAT, "test", "test")
    (tmp_path / "train" / "a.png").unlink()
    with pytest.raises(UserError, match=r"'.*a\.xml' names the image '.*a\.jpg', which is missing.*1 of 5"):
        open_detection_dataset(str(tmp_path))
    (tmp_path / "train" / "b.png").write_bytes(b"no image")
    write_voc(tmp_path / "train" / "c.xml", DOG_AND_CAT, size=(40, 20))
    dataset = open_detection_dataset(str(tmp_path), skip_bad_images=True)
    assert (dataset.splits, dataset.skipped) == ({"train": 1, "test": 1}, {"train": 3, "test": 0})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation><object>", "expected an XML file"),
        ("<annotation><object><bndbox/></object></annotation>", "expected bndbox/ymin in .*, in every object"),
        (
            "<annotation><object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object>"
            "</annotation>",
            "expected name in .*, in every object",
        ),
        ("<annotation/>", "expected objects in the annotations"),
        ("<html></html>", "expected <annotation> at the root of .* received: <html>"),
        ('<?xml version="1.0" encoding="gb2312"?><annotation/>', "expected an XML file in UTF-8"),
        ('<?xml version="1.0" encoding="martian"?><annotation/>', "expected an XML file in UTF-8"),
    ],
)
def test_a_file_in_another_format(content, message, tmp_path):
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(UserError, match=message) as error:
        open_detection_dataset(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_list_that_is_no_text(tmp_path):
    _write(tmp_path, "a", DOG_AND_CAT)
    _write_lists(tmp_path, train="a\n")
    (tmp_path / "ImageSets/Main/train.txt").write_bytes(b"\xff\xfea")
    with pytest.raises(UserError, match=r"expected a text file in UTF-8, '.*train\.txt' is none"):
        open_detection_dataset(str(tmp_path))


def test_a_list_of_annotations_that_are_missing(tmp_path):
    _write(tmp_path, "a", DOG_AND_CAT)
    _write_lists(tmp_path, train="a\nb\nc\n")
    with pytest.raises(UserError, match=r"names of annotations in '.*train\.txt': '.*b\.xml' and 1 more are missing"):
        open_detection_dataset(str(tmp_path))


def test_a_single_image(tmp_path):
    _write(tmp_path, "a", DOG_AND_CAT)
    with pytest.raises(UserError, match="has a single image: two are needed"):
        open_detection_dataset(str(tmp_path))
