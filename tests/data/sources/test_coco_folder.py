import json

import numpy as np
import pytest
from absl import logging

from condconv_keras.data import open_detection_dataset
from condconv_keras.utils.errors import UserError
from tests.data.detection_folders import CATEGORIES, coco_box, coco_image, labels_by_id, save_image, write_coco
from tests.data.splits import small_hashes
from tests.images import encoded, exif


def _write_splits(root, json_path="annotations/instances_{}.json", image_path="images/{}/{}.png"):
    """Writes two images for each split: one with two boxes, one without; returns the pixels by split and id."""
    pixels = {}
    for split, ids in (("train", (1, 2)), ("val", (3, 4))):
        for image_id in ids:
            pixels[split, image_id] = save_image(root / image_path.format(split, image_id), seed=image_id)
        boxes = [coco_box(ids[0], [4, 5, 8, 10], area=33.5), coco_box(ids[0], [0, 0, 40, 20], 7, iscrowd=1)]
        write_coco(root / json_path.format(split), [coco_image(i) for i in ids], boxes)
    return pixels


def _one_image(root, annotations, **fields):
    """Writes a training image with these annotations and a validation image without any, and opens the folder."""
    for split, image_id in (("train", 1), ("val", 2)):
        save_image(root / split / f"{image_id}.png", seed=image_id)
        boxes = annotations if split == "train" else []
        write_coco(root / split / "instances.json", [coco_image(image_id, **fields)], boxes)
    return open_detection_dataset(str(root))


@pytest.mark.parametrize(
    ("json_path", "image_path"),
    [
        ("annotations/instances_{}.json", "images/{}/{}.png"),
        ("annotations/instances_{}.json", "{}/{}.png"),
        ("annotations/instances_{}.json", "images/{1}.png"),
        ("annotations/instances_{}.json", "{1}.png"),
        ("annotations/instances_{}2017.json", "{}2017/{}.png"),
        ("{}/instances.json", "{}/{}.png"),
        ("{}/instances.json", "{}/images/{}.png"),
    ],
)
def test_layouts(json_path, image_path, tmp_path):
    pixels = _write_splits(tmp_path, json_path, image_path)
    dataset = open_detection_dataset(str(tmp_path))
    assert dataset.name == str(tmp_path)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.category_ids == (3, 7)
    assert dataset.image_shape == (20, 40, 3)
    assert dataset.splits == {"train": 2, "val": 2}
    assert (dataset.held_out, dataset.evaluation_split) == (False, "val")
    assert dataset.skipped == {"train": 0, "val": 0}
    assert dataset.skipped_boxes == {"train": {}, "val": {}}
    assert dataset.decoded_bytes("train") == 2 * 20 * 40 * 3
    for split, ids in (("train", (1, 2)), ("val", (3, 4))):
        examples = labels_by_id(dataset, split)
        assert tuple(examples) == ids
        for image_id, (image, _) in examples.items():
            np.testing.assert_array_equal(image, pixels[split, image_id])
        label = examples[ids[0]][1]
        np.testing.assert_allclose(label["boxes"], [[5 / 20, 4 / 40, 15 / 20, 12 / 40], [0, 0, 1, 1]], rtol=1e-6)
        assert label["classes"].tolist() == [0, 1]
        assert label["is_crowd"].tolist() == [False, True]
        assert label["area"].tolist() == [33.5, 800]
        empty = examples[ids[1]][1]
        assert (empty["boxes"].shape, empty["classes"].shape) == ((0, 4), (0,))
        dtypes = {name: values.dtype for name, values in empty.items()}
        assert dtypes == {
            "boxes": np.float32,
            "classes": np.int32,
            "is_crowd": bool,
            "area": np.float32,
            "image_id": np.int64,
        }


@pytest.mark.parametrize("images", ["", "images/"])
def test_a_single_file_is_split_by_images(images, tmp_path):
    for image_id in range(10):
        save_image(tmp_path / f"{images}{image_id}.png", seed=image_id)
    boxes = [coco_box(image_id, [image_id, 0, 1, 1]) for image_id in range(10)]
    write_coco(tmp_path / "instances.json", [coco_image(image_id) for image_id in range(10)], boxes)
    first, again = (open_detection_dataset(str(tmp_path), validation_fraction=0.3) for _ in range(2))
    held_out = small_hashes([f"{images}{image_id}.png" for image_id in range(10)], 0.3)
    assert first.example_names("validation") == held_out and len(held_out) == (2 if images else 5)
    assert (first.held_out, first.split_rule, first.moved) == (True, "path_hash", ())
    seen = []
    for split in first.splits:
        examples = labels_by_id(first, split)
        assert list(examples) == list(labels_by_id(again, split))
        seen += examples
        for image_id, (_, label) in examples.items():
            np.testing.assert_allclose(label["boxes"], [[0, image_id / 40, 1 / 20, (image_id + 1) / 40]], rtol=1e-6)
    assert sorted(seen) == list(range(10))


def test_a_seed_permutes_the_images_with_their_boxes(tmp_path):
    for image_id in range(8):
        save_image(tmp_path / "train" / f"{image_id}.png", seed=image_id)
    save_image(tmp_path / "test" / "0.png")
    boxes = [coco_box(image_id, [i, 0, 1, 1 + image_id]) for image_id in range(8) for i in range(image_id)]
    write_coco(tmp_path / "train" / "instances.json", [coco_image(i) for i in range(8)], boxes)
    write_coco(tmp_path / "test" / "instances.json", [coco_image(0)], [])
    dataset = open_detection_dataset(str(tmp_path))
    orders = []
    for seed in (None, 1, 1, 2):
        labels = [label for _, label in dataset.records("train", seed).as_numpy_iterator()]
        orders.append([int(label["image_id"]) for label in labels])
        assert all(len(label["boxes"]) == label["image_id"] for label in labels)
        assert all(np.allclose(label["boxes"][:, 2] * 20, 1 + label["image_id"]) for label in labels)
    assert orders[0] == list(range(8)) and sorted(orders[1]) == list(range(8))
    assert orders[1] == orders[2] and orders[1] != orders[3] and orders[0] != orders[1]


def test_bad_boxes_are_counted_by_reason(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: warnings.append(message % values))
    boxes = [
        coco_box(1, [-10, -10, 20, 20]),  # clipped
        coco_box(1, [50, 0, 5, 5]),
        coco_box(1, [5, 5, 0, 5]),
        coco_box(1, [5, 5, -3, 5]),
        coco_box(1, [float("nan"), 0, 5, 5]),
        coco_box(1, [0, 0, float("inf"), 5]),
        coco_box(1, [0, 0, 5, 5], category_id=99),
        coco_box(77, [0, 0, 5, 5]),
    ]
    dataset = _one_image(tmp_path, boxes)
    assert dataset.skipped_boxes["train"] == {
        "outside the image": 1,
        "no area": 2,
        "not finite": 2,
        "unknown class": 1,
        "of an image that is not listed": 1,
    }
    assert dataset.skipped_boxes["val"] == {}
    assert dataset.left_out("train", "val") == {"skipped_images": 0, "skipped_boxes": 7}
    assert dataset.left_out("val") == {"skipped_images": 0, "skipped_boxes": 0}
    np.testing.assert_allclose(labels_by_id(dataset, "train")[1][1]["boxes"], [[0, 0, 10 / 20, 10 / 40]])
    warning, _ = warnings
    assert "train" in warning and "2 no area" in warning


def test_missing_images(tmp_path):
    _write_splits(tmp_path)
    missing = tmp_path / "images" / "train" / "2.png"
    missing.unlink()
    with pytest.raises(UserError) as error:
        open_detection_dataset(str(tmp_path))
    assert str(error.value) == (
        f"'{tmp_path}/annotations/instances_train.json' names the image '{missing}', which is missing; missing images: "
        "1 of 4. Leave them out with `skip_bad_images=True`"
    )
    dataset = open_detection_dataset(str(tmp_path), skip_bad_images=True)
    assert dataset.splits == {"train": 1, "val": 2}
    assert dataset.skipped == {"train": 1, "val": 0}
    assert list(labels_by_id(dataset, "train")) == [1]


def test_a_corrupt_image(tmp_path):
    _write_splits(tmp_path)
    bad = tmp_path / "images" / "val" / "3.png"
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(UserError, match=rf"cannot decode '{bad}' .*; bad images: 1 of 4\. .*`skip_bad_images=True`"):
        open_detection_dataset(str(tmp_path))
    dataset = open_detection_dataset(str(tmp_path), skip_bad_images=True)
    assert dataset.skipped == {"train": 0, "val": 1}
    assert list(labels_by_id(dataset, "val")) == [4]


def test_an_image_of_another_size(tmp_path):
    _write_splits(tmp_path)
    other = tmp_path / "images" / "val" / "4.png"
    save_image(other, 10, 20)
    message = rf"is for an image of 40x20 pixels, '{other}' has 20x10.*`skip_bad_images=True`"
    with pytest.raises(UserError, match=message):
        open_detection_dataset(str(tmp_path))
    assert open_detection_dataset(str(tmp_path), skip_bad_images=True).skipped == {"train": 0, "val": 1}


def test_a_size_need_not_be_stated(tmp_path):
    dataset = _one_image(tmp_path, [coco_box(1, [4, 5, 8, 10])], height=None, width=None)
    np.testing.assert_allclose(labels_by_id(dataset, "train")[1][1]["boxes"], [[0.25, 0.1, 0.75, 0.3]], rtol=1e-6)


@pytest.mark.parametrize(
    "size", [{"height": -1, "width": -1}, {"height": 0}, {"width": -1}, {"width": 0.0}, {"height": None}]
)
def test_a_size_that_is_not_positive_is_unknown(size, tmp_path):
    dataset = _one_image(tmp_path, [coco_box(1, [4, 5, 8, 10])], **size)
    np.testing.assert_allclose(labels_by_id(dataset, "train")[1][1]["boxes"], [[0.25, 0.1, 0.75, 0.3]], rtol=1e-6)


def test_no_good_image_is_left(tmp_path):
    _write_splits(tmp_path)
    for path in (tmp_path / "images" / "val").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match="no readable image is left in val"):
        open_detection_dataset(str(tmp_path), skip_bad_images=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected a JSON file"),
        ("[]", "expected the lists images, annotations, categories"),
        ('{"images": [], "categories": []}', "expected the lists images, annotations, categories"),
        ('{"images": [], "annotations": [], "categories": []}', "expected categories with different ids"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', r"expected name \(str\) in every entry"),
        ("[" * 100_000, "expected a JSON file"),
    ],
)
def test_a_file_in_another_format(content, message, tmp_path):
    (tmp_path / "instances.json").write_text(content)
    with pytest.raises(UserError, match=message) as error:
        open_detection_dataset(str(tmp_path))
    assert repr(str(tmp_path / "instances.json")) in str(error.value)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (coco_box(1, [0, 0, 5]), "expected bbox as four numbers"),
        (coco_box(1, [0, 0, 5, "x"]), "expected bbox as four numbers"),
        (coco_box(1, [0, 0, 5, 5], area="large"), "expected bbox as four numbers and area as one"),
        (coco_box(1, [0, 0, 5, 10**400]), "expected bbox as four numbers"),
        (coco_box(1, [0, 0, 5, 5], area=10**400), "expected bbox as four numbers and area as one"),
        (coco_box(1, [[0, 0, 5, 5]]), "expected bbox as four numbers"),
        (coco_box(1, [[0], [0], [5], [5]]), "expected bbox as four numbers"),
        (coco_box(1, [0, 0, 5, 5], area=[9]), "expected bbox as four numbers and area as one"),
        (coco_box(True, [0, 0, 5, 5]), r"expected image_id \(int\)"),
        (coco_box(1, [0, 0, 5, 5], iscrowd="0"), "expected iscrowd as 0 or 1"),
        ({"image_id": 1, "category_id": 3}, r"expected bbox \(list\) in every entry of annotations"),
        ({"image_id": "1", "category_id": 3, "bbox": []}, r"expected image_id \(int\)"),
        ("box", r"expected image_id \(int\) in every entry of annotations .* received: box"),
    ],
)
def test_a_bad_annotation_is_one_line(annotation, message, tmp_path):
    with pytest.raises(UserError, match=message) as error:
        _one_image(tmp_path, [annotation])
    assert "\n" not in str(error.value)


def test_images_with_the_same_id(tmp_path):
    write_coco(tmp_path / "instances.json", [coco_image(1), coco_image(1)], [])
    with pytest.raises(UserError, match=r"expected images with different ids in .*, 1 is there twice"):
        open_detection_dataset(str(tmp_path))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (coco_image(-1), "expected image ids from 0 to .* received: -1"),
        (coco_image(2**70), "expected image ids from 0 to"),
        ({**coco_image(1), "height": "20"}, "expected height and width as numbers"),
        ({**coco_image(1), "height": [20]}, "expected height and width as numbers"),
        ({**coco_image(1), "height": 10**400}, "expected height and width as numbers"),
    ],
)
def test_a_bad_image_is_one_line(image, message, tmp_path):
    write_coco(tmp_path / "instances.json", [image, coco_image(5)], [])
    with pytest.raises(UserError, match=message) as error:
        open_detection_dataset(str(tmp_path))
    assert "\n" not in str(error.value)


def test_no_box_at_all(tmp_path):
    for name in ("1.png", "2.png"):
        save_image(tmp_path / name)
    boxes = [coco_box(1, [90, 0, 5, 5]), coco_box(2, [0, 0, 0, 5])]
    write_coco(tmp_path / "instances.json", [coco_image(1), coco_image(2)], boxes)
    with pytest.raises(
        UserError, match=r"expected boxes in the annotations of .* no image of train has one that can be"
    ):
        open_detection_dataset(str(tmp_path))


def test_annotations_of_crowds_only_are_refused_before_an_image_is_read(tmp_path):
    boxes = [coco_box(i, [5, 5, 10, 10], iscrowd=1) for i in range(8)]
    write_coco(tmp_path / "instances.json", [coco_image(i) for i in range(8)], boxes)
    for i in range(8):
        (tmp_path / f"{i}.png").touch()
    with pytest.raises(UserError, match=r"no image of train has one .*: [5-7] of crowds or difficult objects$"):
        open_detection_dataset(str(tmp_path))


def test_what_is_left_is_nothing_to_learn_from(tmp_path):
    boxes = [coco_box(1, [5, 5, 10, 10], iscrowd=1), coco_box(1, [5, 5, 0, 10]), coco_box(1, [50, 5, 9, 10])]
    with pytest.raises(UserError) as error:
        _one_image(tmp_path, boxes)
    assert str(error.value) == (
        f"expected boxes in the annotations of '{tmp_path}', no image of train has one that can be used; "
        "received: 1 no area, 1 of crowds or difficult objects, 1 outside the image"
    )


def test_a_split_with_nothing_to_find_is_said(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: warnings.append(message % values))
    _one_image(tmp_path, [coco_box(1, [5, 5, 10, 10])])
    assert warnings == [f"No box of val of {tmp_path} is to be found: there is no AP to measure"]


@pytest.mark.parametrize("root", [False, True])
def test_the_layout_of_roboflow(root, tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: warnings.append(message % values))
    for split, image_id in (("", 1), ("", 2)) if root else (("train", 1), ("valid", 2), ("test", 3)):
        save_image(tmp_path / split / f"{image_id}_jpg.rf.ab12.jpg", seed=image_id)
    images = [coco_image(i, f"{i}_jpg.rf.ab12.jpg") for i in (1, 2, 3)]
    if root:
        write_coco(tmp_path / "_annotations.coco.json", images[:2], [coco_box(i, [4, 5, 8, 10]) for i in (1, 2)])
        assert sum(open_detection_dataset(str(tmp_path)).splits.values()) == 2
        return
    for split, image in zip(("train", "valid", "test"), images, strict=True):
        boxes = [coco_box(image["id"], [4, 5, 8, 10])]
        write_coco(tmp_path / split / "_annotations.coco.json", [image], boxes)
    (tmp_path / "README.roboflow.txt").touch()
    dataset = open_detection_dataset(str(tmp_path))
    assert (dataset.splits, dataset.held_out) == ({"train": 1, "validation": 1, "test": 1}, False)
    assert dataset.evaluation_split == "validation"
    image, label = labels_by_id(dataset, "validation")[2]
    np.testing.assert_array_equal(image, save_image(tmp_path / "again.png", seed=2))
    np.testing.assert_allclose(label["boxes"], [[0.25, 0.1, 0.75, 0.3]], rtol=1e-6)
    assert warnings == [f"Not used in {tmp_path}: 1 .txt"]


@pytest.mark.parametrize(
    ("json_path", "image_path"),
    [
        ("annotations/instances_{}.json", "images/{}/{}.png"),
        ("Annotations/instances_{}.json", "{}/{}.png"),
        ("{}/instances.json", "{}/images/{}.png"),
    ],
)
def test_splits_of_another_spelling(json_path, image_path, tmp_path):
    for split, image_id in (("Training", 1), ("Valid", 2)):
        save_image(tmp_path / image_path.format(split, image_id), seed=image_id)
        write_coco(tmp_path / json_path.format(split), [coco_image(image_id)], [coco_box(image_id, [4, 5, 8, 10])])
    dataset = open_detection_dataset(str(tmp_path))
    assert (dataset.splits, dataset.held_out) == ({"train": 1, "validation": 1}, False)
    assert list(labels_by_id(dataset, "validation")) == [2]


def test_the_images_of_a_split_whose_folder_is_spelled_in_another_way(tmp_path):
    for split, image_id in (("Train", 1), ("val", 2)):
        pixels = save_image(tmp_path / "images" / split / "a.png", seed=image_id)
        write_coco(
            tmp_path / f"annotations/instances_{split.lower()}2017.json",
            [coco_image(image_id, "a.png")],
            [coco_box(image_id, [4, 5, 8, 10])],
        )
    np.testing.assert_array_equal(labels_by_id(open_detection_dataset(str(tmp_path)), "val")[2][0], pixels)


@pytest.mark.parametrize(
    ("stated", "file"),
    [
        ("a.jpg", "a.Jpg"),
        ("a.png", "a.webp"),
        ("A.JPG", "a.jpg"),
        ("x\\a.png", "x/a.png"),
        ("x/a.jpg", "x/a.jfif"),
        ("/home/me/data/x/a.png", "x/a.png"),
        ("C:\\data\\a.png", "a.PNG"),
        ("https://host/bucket/x/a.png", "x/a.png"),
        ("https://host/bucket/x/a%20b.png?size=9", "a b.png"),
        ("é a's.png", "e\u0301 a's.png"),
        ("a", "a.png"),
    ],
)
def test_an_image_that_is_spelled_in_another_way(stated, file, tmp_path):
    save_image(tmp_path / "other.png", seed=9)
    pixels = save_image(tmp_path / file, seed=1)
    images = [coco_image(1, stated), coco_image(2, "other.png")]
    write_coco(tmp_path / "instances.json", images, [coco_box(i, [4, 5, 8, 10]) for i in (1, 2)])
    dataset = open_detection_dataset(str(tmp_path))
    found = {i: e for split in dataset.splits for i, e in labels_by_id(dataset, split).items()}
    np.testing.assert_array_equal(found[1][0], pixels)


def test_an_image_in_a_format_that_is_not_read(tmp_path):
    (tmp_path / "1.heic").touch()
    save_image(tmp_path / "2.png")
    boxes = [coco_box(i, [4, 5, 8, 10]) for i in (1, 2)]
    write_coco(tmp_path / "instances.json", [coco_image(1), coco_image(2)], boxes)
    with pytest.raises(
        UserError, match=r"1\.png', which is missing \(there is '1\.heic', which is not read\); missing"
    ):
        open_detection_dataset(str(tmp_path))


def test_names_that_no_file_can_have(tmp_path):
    odd = [coco_image(3, "a\0.png"), coco_image(4, "\ud800.png"), coco_image(5, "x" * 300), coco_image(6, "..")]
    for split, images in (("train", [coco_image(1), *odd]), ("val", [coco_image(1)])):
        save_image(tmp_path / split / "1.png")
        write_coco(tmp_path / split / "instances.json", images, [coco_box(1, [4, 5, 8, 10])])
    with pytest.raises(UserError, match="which is missing; missing images: 4 of 6"):
        open_detection_dataset(str(tmp_path))
    assert open_detection_dataset(str(tmp_path), skip_bad_images=True).skipped == {"train": 4, "val": 0}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_with_a_byte_order_mark(encoding, tmp_path):
    _write_splits(tmp_path)
    path = tmp_path / "annotations/instances_train.json"
    path.write_text(path.read_text(), encoding=encoding)
    assert open_detection_dataset(str(tmp_path)).splits == {"train": 2, "val": 2}


def test_a_name_of_a_category_that_utf_8_cannot_write(tmp_path):
    write_coco(tmp_path / "instances.json", [coco_image(1)], [], [{"id": 1, "name": "\ud800"}])
    with pytest.raises(UserError, match="names of categories as UTF-8 has them"):
        open_detection_dataset(str(tmp_path))


def test_images_without_an_annotation_are_counted(tmp_path, monkeypatch):
    _write_splits(tmp_path)
    for name in ("images/val/9.png", "images/val/9.webp", "images/test/8.png", "images/train/7.heic", "captions.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: warnings.append(message % values))
    open_detection_dataset(str(tmp_path))
    expected = "2 .png without an annotation, 1 .heic, 1 .json, 1 .webp without an annotation"
    assert f"Not used in {tmp_path}: {expected}" in warnings


def test_different_categories(tmp_path):
    _write_splits(tmp_path)
    write_coco(tmp_path / "annotations" / "instances_val.json", [coco_image(3)], [], [{"id": 3, "name": "cow"}])
    with pytest.raises(UserError, match=r"the categories of '.*_train\.json' and '.*_val\.json' differ"):
        open_detection_dataset(str(tmp_path))


def test_splits_of_other_names(tmp_path):
    write_coco(tmp_path / "annotations" / "instances_mine.json", [coco_image(1)], [])
    with pytest.raises(UserError, match=r"expected annotations of train, validation, val, test .* received: mine"):
        open_detection_dataset(str(tmp_path))


def test_two_years_of_a_split(tmp_path):
    for year in ("2014", "2017"):
        write_coco(tmp_path / "annotations" / f"instances_train{year}.json", [coco_image(1)], [])
    with pytest.raises(UserError, match=r"of train .*instances_train2014\.json' and '.*instances_train2017\.json'"):
        open_detection_dataset(str(tmp_path))


def _turned_image(root, orientation, stated, boxes, shape=(20, 40)):
    """Writes an image for training, of ones inside of the stored pixels [4:10, 6:14], and one to evaluate on."""
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[4:10, 6:14] = 1
    (root / "train").mkdir()
    (root / "train/1.png").write_bytes(encoded(pixels, "PNG", exif=exif(orientation)))
    save_image(root / "val/2.png")
    height, width = stated
    write_coco(root / "train/instances.json", [coco_image(1, height=height, width=width)], boxes)
    write_coco(root / "val/instances.json", [coco_image(2)], [])
    return str(root)


STORED_BOX = [6, 4, 8, 6]
TURNED_BOXES = {5: [4, 6, 6, 8], 6: [10, 6, 6, 8], 7: [10, 26, 6, 8], 8: [4, 26, 6, 8]}


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("frame", ["stored", "turned"])
def test_boxes_are_in_the_frame_whose_size_is_stated(orientation, frame, tmp_path):
    stated, box = ((20, 40), STORED_BOX) if frame == "stored" else ((40, 20), TURNED_BOXES[orientation])
    root = _turned_image(tmp_path, orientation, stated, [coco_box(1, box, area=31.5)])
    dataset = open_detection_dataset(root)
    image, label = labels_by_id(dataset, "train")[1]
    assert image.shape == (40, 20, 3)
    ymin, xmin, ymax, xmax = np.round(label["boxes"][0] * (40, 20, 40, 20)).astype(int)
    assert image[ymin:ymax, xmin:xmax].sum() == image.sum() == 3 * 6 * 8 == 3 * (ymax - ymin) * (xmax - xmin)
    assert label["area"].tolist() == [31.5]


def test_boxes_of_images_that_are_left_as_they_are_stored(tmp_path):
    root = _turned_image(tmp_path, 6, (20, 40), [coco_box(1, STORED_BOX)])
    image, label = labels_by_id(open_detection_dataset(root, apply_orientation=False), "train")[1]
    assert image.shape == (20, 40, 3)
    np.testing.assert_allclose(label["boxes"], [[4 / 20, 6 / 40, 10 / 20, 14 / 40]], rtol=1e-6)


def test_the_turned_size_is_that_of_another_image_where_none_is_turned(tmp_path):
    root = _turned_image(tmp_path, 6, (40, 20), [coco_box(1, STORED_BOX)])
    with pytest.raises(UserError, match=r"is for an image of 20x40 pixels, .*1\.png' has 40x20"):
        open_detection_dataset(root, apply_orientation=False)


@pytest.mark.parametrize(
    ("orientation", "stated", "shape"),
    [(2, (20, 40), (20, 40)), (3, (20, 40), (20, 40)), (6, (30, 30), (30, 30)), (6, (None, None), (20, 40))],
)
def test_boxes_that_may_be_in_either_frame_are_refused(orientation, stated, shape, tmp_path):
    root = _turned_image(tmp_path, orientation, stated, [coco_box(1, STORED_BOX)], shape)
    with pytest.raises(UserError) as refusal:
        open_detection_dataset(root)
    path, source = tmp_path / "train/1.png", tmp_path / "train/instances.json"
    assert str(refusal.value) == (
        f"'{path}' is turned as its EXIF orientation {orientation} says, and the size in '{source}' does not show "
        "whether its boxes are for the turned image. If they are for the image as it is stored, use all images so with "
        "`apply_orientation=False`. Leave such images out with `skip_bad_images=True`"
    )
    label = labels_by_id(open_detection_dataset(root, apply_orientation=False), "train")[1][1]
    height, width = shape
    np.testing.assert_allclose(label["boxes"], [[4 / height, 6 / width, 10 / height, 14 / width]], rtol=1e-6)
    with pytest.raises(UserError, match="no readable image is left in train"):
        open_detection_dataset(root, skip_bad_images=True)


def test_an_image_without_boxes_is_turned(tmp_path):
    root = _turned_image(tmp_path, 3, (20, 40), [])
    path = tmp_path / "train/instances.json"
    content = json.loads(path.read_text())
    save_image(path.parent / "3.png")
    content["images"].append(coco_image(3, "3.png"))
    content["annotations"].append(coco_box(3, STORED_BOX))
    path.write_text(json.dumps(content))
    write_coco(tmp_path / "val/instances.json", [coco_image(2)], [coco_box(2, STORED_BOX)])
    image, label = labels_by_id(open_detection_dataset(root), "train")[1]
    assert image[10:16, 26:34].sum() == image.sum() == 3 * 6 * 8
    assert len(label["boxes"]) == 0


@pytest.mark.parametrize("folder", ["images", "images/default"])
def test_the_layout_of_cvat(folder, tmp_path):
    for i in range(4):
        save_image(tmp_path / folder / f"{i}.png", seed=i)
    boxes = [coco_box(i, [4, 5, 8, 10]) for i in range(4)]
    write_coco(tmp_path / "annotations/instances_default.json", [coco_image(i) for i in range(4)], boxes)
    dataset = open_detection_dataset(str(tmp_path))
    assert (sum(dataset.splits.values()), dataset.held_out) == (4, True)


def test_ids_as_tables_write_them(tmp_path):
    for image_id in (1, 2):
        save_image(tmp_path / f"{image_id}.png")
    boxes = [coco_box(float(i), [4, 5, 8, 10], category_id=7.0) for i in (1, 2)]
    categories = [{"id": 7.0, "name": "dog"}, {"id": 3.0, "name": "cat"}]
    write_coco(tmp_path / "instances.json", [{**coco_image(i), "id": float(i)} for i in (1, 2)], boxes, categories)
    dataset = open_detection_dataset(str(tmp_path))
    assert (dataset.class_names, dataset.category_ids) == (("cat", "dog"), (3, 7))
    labels = [label for split in dataset.splits for _, label in labels_by_id(dataset, split).values()]
    assert [label["classes"].tolist() for label in labels] == [[1], [1]]
    write_coco(tmp_path / "instances.json", [{**coco_image(1), "id": 1.5}], boxes, categories)
    with pytest.raises(UserError, match=r"expected id \(int\) in every entry of images"):
        open_detection_dataset(str(tmp_path))


def test_boxes_that_are_parts_of_the_sides_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected boxes in pixels in '.*train/instances\.json', all coordinates"):
        _one_image(tmp_path, [coco_box(1, [0.1, 0.2, 0.5, 0.3]), coco_box(1, [0, 0, 1, 1])])
    # The first pixel.
    label = labels_by_id(_one_image(tmp_path, [coco_box(1, [0, 0, 1, 1])]), "train")[1][1]
    np.testing.assert_allclose(label["boxes"], [[0, 0, 1 / 20, 1 / 40]], rtol=1e-6)


@pytest.mark.parametrize(
    ("file", "image", "stated"),
    [
        ("result.json", "images/{}.png", "images\\{}.png"),
        ("labels.json", "data/{}.png", "{}.png"),
        ("annotations/train.json", "train/{}.png", "{}.png"),
    ],
)
def test_layouts_of_other_programs(file, image, stated, tmp_path):
    pixels = {i: save_image(tmp_path / image.format(i), seed=i) for i in range(4)}
    images = [coco_image(i, stated.format(i)) for i in range(4)]
    write_coco(tmp_path / file, images, [coco_box(i, [4, 5, 8, 10]) for i in range(4)])
    dataset = open_detection_dataset(str(tmp_path))
    found = {i: e for split in dataset.splits for i, e in labels_by_id(dataset, split).items()}
    assert {i: image.tobytes() for i, (image, _) in found.items()} == {i: p.tobytes() for i, p in pixels.items()}


def test_a_split_may_lack_categories_of_the_training_split(tmp_path):
    _write_splits(tmp_path)
    val = tmp_path / "annotations/instances_val.json"
    write_coco(val, [coco_image(3)], [coco_box(3, [4, 5, 8, 10], 7)], CATEGORIES[:1])
    dataset = open_detection_dataset(str(tmp_path))
    assert (dataset.class_names, dataset.category_ids) == (("cat", "dog"), (3, 7))
    assert labels_by_id(dataset, "val")[3][1]["classes"].tolist() == [1]
    # One of another id is another one.
    write_coco(val, [coco_image(3)], [], [{"id": 3, "name": "dog"}])
    with pytest.raises(UserError, match=r"differ: only in the latter 'dog' \(3\)$"):
        open_detection_dataset(str(tmp_path))


def test_two_entries_of_one_image_are_refused(tmp_path):
    """The second would be the image without the boxes of the first."""
    save_image(tmp_path / "1.png")
    write_coco(tmp_path / "instances.json", [coco_image(1), coco_image(2, "1.png")], [coco_box(1, [4, 5, 8, 10])])
    with pytest.raises(
        UserError, match=r"an image for each annotation, '.*1\.png' is that of '1\.png \(id 1\)' and of"
    ):
        open_detection_dataset(str(tmp_path))


def test_annotations_that_lie_a_folder_deeper(tmp_path):
    write_coco(tmp_path / "set" / "instances.json", [coco_image(1)], [])
    with pytest.raises(UserError, match=rf"found some in '{tmp_path}/set': give that folder as the data set"):
        open_detection_dataset(str(tmp_path))


def test_categories_that_differ_in_their_spelling_only_are_said(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: warnings.append(message % values))
    for i in (1, 2):
        save_image(tmp_path / f"{i}.png", seed=i)
    boxes = [coco_box(i, [4, 5, 8, 10], i) for i in (1, 2)]
    # A name may be a number.
    categories = [{"id": 1, "name": "traffic light"}, {"id": 2, "name": "Traffic_Light"}, {"id": 4, "name": 7}]
    write_coco(tmp_path / "instances.json", [coco_image(1), coco_image(2)], boxes, categories)
    dataset = open_detection_dataset(str(tmp_path))
    assert dataset.class_names == ("traffic light", "Traffic_Light", "7")
    said = "differ in their spelling only, and are not one: 'traffic light' and 'Traffic_Light'"
    assert warnings == [f"Classes of {tmp_path} that {said}"]


def test_names_that_begin_with_the_folder_itself(tmp_path):
    pixels = {}
    for split, stated in (("train", "train/{}.png"), ("val", "val\\{}.png")):
        images = [coco_image(i, stated.format(i)) for i in (1, 2)]
        pixels |= {(split, i): save_image(tmp_path / split / f"{i}.png", seed=len(pixels) + i) for i in (1, 2)}
        write_coco(tmp_path / split / "instances.json", images, [coco_box(1, [4, 5, 8, 10])])
    dataset = open_detection_dataset(str(tmp_path))
    for split in dataset.splits:
        for i, (image, _) in labels_by_id(dataset, split).items():
            np.testing.assert_array_equal(image, pixels[split, i])
