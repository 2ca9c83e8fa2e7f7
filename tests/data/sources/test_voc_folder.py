import numpy as np
import pytest
from absl import logging
from PIL import Image

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


@pytest.mark.parametrize(
    "content",
    [
        b"a b\r\nc\r\n",
        "\ufeffa b\nc\n".encode(),
        "a b\nc\n".encode("utf-16"),
        b"a b  1\nc -1\n",
        b"a b.jpg\nC.PNG 1\n",
        b"  a b\n\nc  \nc\n",
    ],
)
def test_lists_as_editors_save_them(content, tmp_path):
    for name in ("a b", "c", "d"):
        _write(tmp_path, name, DOG_AND_CAT)
    _write_lists(tmp_path, val="d\n")
    (tmp_path / "ImageSets/Main/train.txt").write_bytes(content)
    dataset = open_detection_dataset(str(tmp_path))
    assert {split: list(labels_by_id(dataset, split)) for split in dataset.splits} == {"train": [1, 2], "val": [3]}


def test_lists_of_another_spelling(tmp_path):
    for name in "abcd":
        _write(tmp_path, name, DOG_AND_CAT)
    _write_lists(tmp_path, Train="a\nb\n", valid="c\n", trainval="a\nb\nc\n")
    assert open_detection_dataset(str(tmp_path)).splits == {"train": 2, "validation": 1}
    (tmp_path / "ImageSets/Main/training.txt").write_text("d\n")
    with pytest.raises(UserError, match=r"one list of train, received: '.*Train\.txt' and '.*training\.txt'"):
        open_detection_dataset(str(tmp_path))


def test_the_list_of_training_and_validation_images_is_that_of_training_where_there_is_no_other(tmp_path):
    for name in "abc":
        _write(tmp_path, name, DOG_AND_CAT)
    _write_lists(tmp_path, trainval="a\nb\n", test="c\n")
    assert open_detection_dataset(str(tmp_path)).splits == {"train": 2, "test": 1}


def test_a_list_of_annotations_that_are_missing(tmp_path):
    _write(tmp_path, "a", DOG_AND_CAT)
    _write_lists(tmp_path, train="a\nb\nc\n")
    with pytest.raises(UserError, match=r"names of annotations in '.*train\.txt': '.*b\.xml' and 1 more are missing"):
        open_detection_dataset(str(tmp_path))


def test_a_single_image(tmp_path):
    _write(tmp_path, "a", DOG_AND_CAT)
    with pytest.raises(UserError, match="has a single image: two are needed"):
        open_detection_dataset(str(tmp_path))


def _write_as(path, annotation, file_name, kind, seed):
    """Writes an annotation with a `<filename>`, or none, and an image in a format; returns its pixels."""
    write_voc(annotation, DOG_AND_CAT, size=None)
    stated = "" if file_name is None else f"<filename>{file_name}</filename>"
    annotation.write_text(annotation.read_text().replace("<filename>wrong.tif</filename>", stated))
    pixels = save_image(path, seed=seed)
    Image.fromarray(pixels).save(path, kind, lossless=True)
    return pixels


@pytest.mark.parametrize(
    ("annotation", "file", "stated"),
    [
        ("a.xml", "a.Jpg", None),
        ("a.xml", "a.webp", "a.jpg"),
        ("a.XML", "A.BMP", "a.bmp"),
        ("a.jpg.xml", "a.jpg", "a.jpg"),
        ("a.xml", "photo.png", "photo.png"),
        ("a.xml", "photo.jpeg", "photo"),
        ("a.xml", "photo.PNG", "images/photo.jpg"),
        ("a.xml", "sub/photo.png", "sub/photo.png"),
        ("a.xml", "photo.png", "C:\\me\\photo.png"),
        ("é.xml", "e\u0301.png", None),
        ("Annotations/a.xml", "images/a.png", None),
        ("annotations/deep/a.xml", "Images/deep/a.png", None),
        ("annotations/a.xml", "JPEGImages/a.png", None),
        ("xmls/a.xml", "images/a.png", None),
    ],
)
def test_the_image_of_an_annotation(annotation, file, stated, tmp_path):
    pixels = _write_as(tmp_path / "train" / file, tmp_path / "train" / annotation, stated, "PNG", 1)
    _write_as(tmp_path / "test/b.png", tmp_path / "test/b.xml", None, "PNG", 2)
    dataset = open_detection_dataset(str(tmp_path))
    ((image, _),) = labels_by_id(dataset, "train").values()
    np.testing.assert_array_equal(image, pixels)


def test_the_formats_of_images(tmp_path):
    pixels = [
        _write_as(tmp_path / f"{i}.{ending}", tmp_path / f"{i}.xml", None, kind, i)
        for i, (ending, kind) in enumerate([("webp", "WEBP"), ("Png", "PNG"), ("BMP", "BMP")])
    ]
    dataset = open_detection_dataset(str(tmp_path))
    found = {i: image for split in dataset.splits for i, (image, _) in labels_by_id(dataset, split).items()}
    for i, expected in enumerate(pixels, start=1):
        np.testing.assert_array_equal(found[i], expected)


def test_two_images_of_one_annotation(tmp_path):
    pixels = [_write(tmp_path, "a", DOG_AND_CAT, ending=ending, seed=i) for i, ending in enumerate((".png", ".jpg"))]
    _write(tmp_path, "b", DOG_AND_CAT)
    path = tmp_path / "Annotations/a.xml"
    with pytest.raises(UserError, match=r"one image for '.*a\.xml' in '.*JPEGImages', received: a\.jpg, a\.png"):
        open_detection_dataset(str(tmp_path))
    path.write_text(path.read_text().replace("wrong.tif", "a.jpg"))
    dataset = open_detection_dataset(str(tmp_path))
    found = {i: image for split in dataset.splits for i, (image, _) in labels_by_id(dataset, split).items()}
    np.testing.assert_array_equal(found[1], pixels[1])


def test_two_annotations_of_one_image(tmp_path):
    for name in "ab":
        write_voc(tmp_path / f"{name}.xml", DOG_AND_CAT)
    save_image(tmp_path / "wrong.png")
    with pytest.raises(UserError, match=r"'.*wrong\.png' is that of '.*a\.xml' and of '.*b\.xml'"):
        open_detection_dataset(str(tmp_path))


def test_the_layout_of_roboflow(tmp_path):
    for split, name in (("train", "a"), ("valid", "b"), ("test", "c")):
        _write(tmp_path, f"{name}_jpg.rf.12ab", DOG_AND_CAT, split, split, ending=".jpg")
    dataset = open_detection_dataset(str(tmp_path))
    assert dataset.splits == {"train": 1, "validation": 1, "test": 1}
    assert (dataset.evaluation_split, dataset.held_out) == ("validation", False)


def test_difficult_objects_only(tmp_path):
    for i, difficult in enumerate((1, "True", "true", 1)):
        _write(tmp_path, f"{i}", [("dog", 4, 5, 12, 15, difficult)])
    with pytest.raises(
        UserError, match=r"no image of train has one that can be used; .* of crowds or difficult objects"
    ):
        open_detection_dataset(str(tmp_path))


@pytest.mark.parametrize("size", ["", "<size/>", "<size><width>0</width><height>0</height></size>"])
def test_a_size_that_is_not_known(size, tmp_path):
    for name in "ab":
        _write(tmp_path, name, DOG_AND_CAT, size=None)
        path = tmp_path / f"Annotations/{name}.xml"
        path.write_text(path.read_text().replace("<object>", f"{size}<object>", 1))
    assert sum(open_detection_dataset(str(tmp_path)).splits.values()) == 2


def test_what_is_not_used_is_counted(tmp_path, monkeypatch):
    for name in "abc":
        _write(tmp_path, name, DOG_AND_CAT)
    save_image(tmp_path / "JPEGImages/d.png")
    (tmp_path / "JPEGImages/e.heic").touch()
    _write_lists(tmp_path, train="a\n", val="b\n", dog_train="a 1\n")
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: warnings.append(message % values))
    open_detection_dataset(str(tmp_path))
    expected = "2 .png without an annotation, 1 .heic, 1 .txt, 1 .xml"
    assert f"Not used in {tmp_path}: {expected}" in warnings


@pytest.mark.parametrize("files", [("images/train/1.png", "labels/train/1.txt"), ("train/images/1.png", "data.yaml")])
def test_the_layout_of_yolo_is_named(files, tmp_path):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(
        UserError, match=r"found neither; it is laid out for YOLO, which is not read: convert it to COCO"
    ):
        open_detection_dataset(str(tmp_path))


def test_lists_of_splits_that_lie_a_folder_deeper(tmp_path):
    """As in VOCdevkit: without them what is held out would be trained on."""
    write_voc(tmp_path / "VOC2007/Annotations/1.xml", [("cat", 1, 2, 9, 9, 0)])
    (tmp_path / "VOC2007/ImageSets/Main").mkdir(parents=True)
    (tmp_path / "VOC2007/ImageSets/Main/trainval.txt").write_text("1\n")
    with pytest.raises(UserError, match=rf"those in '{tmp_path}/VOC2007' have lists of their splits: give that folder"):
        open_detection_dataset(str(tmp_path))
