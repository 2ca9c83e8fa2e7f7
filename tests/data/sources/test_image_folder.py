"""Real image files, written by PIL."""

import io
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from absl import logging
from PIL import Image

from condconv_keras.data import Preprocessing, evaluation_batches, open_dataset, training_batches
from condconv_keras.data.sources.image_folder import ImageFolder
from condconv_keras.utils.errors import UserError
from tests.data.splits import small_hashes
from tests.images import encoded, exif, smooth_photo


def _noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _save(path, array, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **kwargs)


def _jpeg(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG")
    return buffer.getvalue()


def _write_splits(root, splits=("train", "validation"), classes=("cat", "dog"), count=3):
    for s, split in enumerate(splits):
        for c, name in enumerate(classes):
            for i in range(count):
                _save(root / split / name / f"{i}.png", _noise(100 * s + 10 * c + i, 5, 7, 3))
    return root


def _examples(dataset, split):
    return list(dataset.examples(split).as_numpy_iterator())


def _contents(examples):
    return sorted((image.tobytes(), int(label)) for image, label in examples)


def test_train_and_validation_folders(tmp_path):
    dataset = open_dataset(str(_write_splits(tmp_path)))
    assert dataset.name == str(tmp_path)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.image_shape == (5, 7, 3)
    assert dataset.splits == {"train": 6, "validation": 6}
    assert not dataset.held_out
    assert dataset.skipped == {"train": 0, "validation": 0}
    assert dataset.decoded_bytes("train") == 6 * 5 * 7 * 3
    for s, split in enumerate(("train", "validation")):
        examples = _examples(dataset, split)
        assert [int(label) for _, label in examples] == [0, 0, 0, 1, 1, 1]
        for (image, label), i in zip(examples, [0, 1, 2] * 2, strict=True):
            np.testing.assert_array_equal(image, _noise(100 * s + 10 * label + i, 5, 7, 3))


@pytest.mark.parametrize(
    ("splits", "expected"),
    [(("train", "val"), "val"), (("train", "test"), "test"), (("test", "train", "validation"), "validation")],
)
def test_the_evaluation_split(splits, expected, tmp_path):
    dataset = open_dataset(str(_write_splits(tmp_path, splits)))
    assert dataset.evaluation_split == expected
    assert set(dataset.splits) == set(splits)


def test_every_format_and_color_mode_is_delivered_as_rgb(tmp_path):
    rgb, gray, alpha = _noise(1, 9, 6, 3), _noise(2, 4, 4), _noise(3, 8, 5, 1)
    palette = Image.fromarray(rgb).convert("P")
    frames = [Image.fromarray(np.full((6, 6, 3), value, np.uint8)) for value in (0, 255)]
    folder = tmp_path / "train" / "all"
    _save(folder / "1.png", rgb)
    _save(folder / "2.png", gray)
    _save(folder / "3.PNG", np.concatenate([_noise(4, 8, 5, 3), alpha], axis=-1))
    _save(folder / "4.bmp", rgb)
    palette.save(folder / "5.png")
    frames[0].save(folder / "6.gif", save_all=True, append_images=frames[1:])
    _save(folder / "7.JPEG", np.full((16, 24, 3), (200, 100, 50), np.uint8), quality=95)
    _save(folder / "8.jpg", np.full((16, 8), 90, np.uint8), quality=95)
    _save(tmp_path / "val" / "all" / "1.png", rgb)
    dataset = open_dataset(str(tmp_path))
    assert dataset.image_shape == (None, None, 3)
    images = [image for image, _ in _examples(dataset, "train")]
    exact = [rgb, np.repeat(gray[..., None], 3, axis=-1), _noise(4, 8, 5, 3), rgb, np.asarray(palette.convert("RGB"))]
    for image, expected in zip(images, [*exact, np.zeros((6, 6, 3))], strict=False):
        np.testing.assert_array_equal(image, expected)
    np.testing.assert_allclose(images[6], np.broadcast_to([200, 100, 50], (16, 24, 3)), atol=2)
    np.testing.assert_allclose(images[7], np.full((16, 8, 3), 90), atol=2)
    assert dataset.decoded_bytes("train") == sum(image.size for image in images)


def test_indices_of_a_palette_are_its_colors(tmp_path):
    """Not gray values, in training and evaluation alike."""
    expected = {"train": [], "val": []}
    for seed, (split, ending) in enumerate((s, e) for s in expected for e in ("bmp", "gif", "png")):
        image = Image.fromarray(_noise(seed, 32, 32, 3)).quantize(64)
        expected[split].append(np.asarray(image.convert("RGB")))
        (tmp_path / split / "a").mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / split / "a" / f"0.{ending}")
    dataset = open_dataset(str(tmp_path))
    preprocessing = Preprocessing((32, 32), 3, 0.0, 1.0)
    ((images, _),) = evaluation_batches(dataset, "val", preprocessing, 3).as_numpy_iterator()
    np.testing.assert_array_equal(images, expected["val"])
    images, _ = next(training_batches(dataset, "train", preprocessing, 3).as_numpy_iterator())
    contents = [sorted(image.astype(np.uint8).tobytes() for image in batch) for batch in (images, expected["train"])]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("apply_orientation", [True, False])
def test_images_are_turned_as_they_are_seen(apply_orientation, tmp_path, monkeypatch):
    """In training and evaluation alike, or in neither; also where a split is not kept in memory."""
    photo = smooth_photo(20, 30)
    for split, orientation in (("train", 6), ("val", 8)):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a/0.png").write_bytes(encoded(photo, "PNG", exif=exif(orientation)))
    dataset = open_dataset(str(tmp_path), apply_orientation=apply_orientation)
    assert dataset.image_shape == ((30, 20, 3) if apply_orientation else (20, 30, 3))
    assert dataset.decoded_bytes("train") == 1800
    stored = np.asarray(photo)
    expected = {"train": np.rot90(stored, -1), "val": np.rot90(stored)} if apply_orientation else None
    preprocessing = Preprocessing(dataset.image_shape[:2], 3, 0.0, 1.0)
    ((images, _),) = evaluation_batches(dataset, "val", preprocessing, 1).as_numpy_iterator()
    np.testing.assert_array_equal(images[0], expected["val"] if expected else stored)
    for in_memory in (True, False) if apply_orientation else (True,):
        if not in_memory:
            monkeypatch.setattr("condconv_keras.data.input.streams.CACHE_BYTES", 0)
        images, _ = next(training_batches(dataset, "train", preprocessing, 1).as_numpy_iterator())
        np.testing.assert_array_equal(images[0], expected["train"] if expected else stored)


def test_png_values_through_both_pipelines(tmp_path):
    dataset = open_dataset(str(_write_splits(tmp_path)))
    preprocessing = Preprocessing((5, 7), 3, 100.0, 50.0)
    expected = np.stack([_noise(100 + 10 * c + i, 5, 7, 3) for c in range(2) for i in range(3)])
    ((images, labels),) = evaluation_batches(dataset, "validation", preprocessing, 6).as_numpy_iterator()
    np.testing.assert_allclose(images, (expected.astype(np.float32) - 100) / 50, rtol=1e-6)
    np.testing.assert_array_equal(labels, [0, 0, 0, 1, 1, 1])
    images, labels = next(training_batches(dataset, "validation", preprocessing, 6).as_numpy_iterator())
    pixels = np.round(images * 50 + 100).astype(np.uint8)
    assert _contents(zip(pixels, labels, strict=True)) == _contents(zip(expected, [0, 0, 0, 1, 1, 1], strict=True))


def test_hidden_and_other_files_are_ignored_and_nested_ones_found(tmp_path, monkeypatch):
    root = _write_splits(tmp_path)
    _save(root / "train" / "cat" / "more" / "9.png", _noise(9, 5, 7, 3))
    _save(root / "train" / "cat" / ".thumbnails" / "9.png", _noise(9, 5, 7, 3))
    _save(root / "train" / ".cache" / "9.png", _noise(9, 5, 7, 3))
    (root / "train" / "cat" / "._0.png").write_bytes(b"resource fork")
    (root / "train" / "cat" / "labels.txt").write_text("cat")
    warnings = _warnings(monkeypatch)
    dataset = open_dataset(str(root))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.splits == {"train": 7, "validation": 6}
    assert warnings == [f"Not used in {root}: 1 .txt"]


def _warnings(monkeypatch):
    """Returns the list that warnings will be added to."""
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: warnings.append(text % values))
    return warnings


def test_everything_that_is_not_used_is_counted(tmp_path, monkeypatch):
    root = _write_splits(tmp_path)
    for name in ("README.md", "1.PNG", "train/2.png", "train/cat/3.heic", "validation/dog/4.heic", "extra/5.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    warnings = _warnings(monkeypatch)
    assert open_dataset(str(root)).splits == {"train": 6, "validation": 6}
    expected = "2 .heic, 2 .png outside of the classes, 1 .md, 1 folder 'extra'"
    assert warnings == [f"Not used in {root}: {expected}"]


def test_web_p_and_endings_in_any_case_are_images_like_others(tmp_path):
    root = _write_classes(tmp_path, {"a": 3, "b": 3})
    pixels = {}
    for name, kind in (("a/x.webp", "WEBP"), ("b/y.WebP", "WEBP"), ("a/z.Bmp", "BMP"), ("b/w.jfif", "JPEG")):
        pixels[name] = np.full((3, 3, 3), 40 * len(pixels), np.uint8)
        Image.fromarray(pixels[name]).save(root / name, kind, lossless=True)
    dataset = open_dataset(str(root), validation_fraction=0.2)
    examples = [example for split in dataset.splits for example in _examples(dataset, split)]
    assert len(examples) == 10
    for name, expected in pixels.items():
        found = [int(label) for image, label in examples if (np.abs(image - expected.astype(int)) <= 2).all()]
        assert found == ["ab".index(name[0])]


def test_images_behind_links_are_used(tmp_path):
    root = _write_classes(tmp_path / "set", {"a": 2, "b": 6})
    _write_classes(tmp_path, {"store": 6, "c": 2})
    (root / "a" / "linked").symlink_to(tmp_path / "store")
    (root / "a" / "round").symlink_to(root)
    (root / "c").symlink_to(tmp_path / "c")
    dataset = open_dataset(str(root))
    labels = [label for split in dataset.splits for _, label in _examples(dataset, split)]
    assert dataset.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(np.bincount(labels), [8, 6, 2])


def test_a_name_that_is_not_utf_8(tmp_path):
    root = _write_splits(tmp_path)
    folder = os.fsencode(root / "validation/cat")
    os.rename(folder + b"/0.png", folder + b"/caf\xe9.png")
    examples = _examples(open_dataset(str(root)), "validation")
    expected = [(_noise(100 + 10 * c + i, 5, 7, 3), c) for c in range(2) for i in range(3)]
    assert _contents(examples) == _contents(expected)
    os.rename(os.fsencode(root / "train/cat"), os.fsencode(root / "train") + b"/\xe9")
    os.rename(os.fsencode(root / "validation/cat"), os.fsencode(root / "validation") + b"/\xe9")
    with pytest.raises(UserError, match=r"names of classes in UTF-8, rename the folder '\\udce9' in '.*train'"):
        open_dataset(str(root))


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("Train", "Val"), {"train": 6, "val": 6}),
        (("training", "testing"), {"train": 6, "test": 6}),
        (("TRAIN", "valid", "Test"), {"train": 6, "validation": 6, "test": 6}),
        (("train_set", "test_set"), {"train": 6, "test": 6}),
        (("Testing",), {"test": 6}),
    ],
)
def test_splits_of_another_spelling(splits, expected, tmp_path):
    root = _write_splits(tmp_path, splits)
    dataset = open_dataset(str(root))
    assert (dataset.class_names, dataset.splits, dataset.held_out) == (("cat", "dog"), expected, False)
    assert ImageFolder.may_hold_out(str(root)) is (len(splits) < 2)
    for s, split in enumerate(expected if len(expected) == 2 else ()):
        values = [_noise(100 * s + 10 * c + i, 5, 7, 3) for c in range(2) for i in range(3)]
        for (image, _), value in zip(_examples(dataset, split), values, strict=True):
            np.testing.assert_array_equal(image, value)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("Train/cat", "train/cat", "val/cat"), "expected one folder of train in '.*', received: Train, train"),
        (("Train/cat",), r"expected validation or val or test beside Train in .* give '.*Train'"),
        (("seg_train/cat", "seg_test/cat"), "'seg_train' and 'seg_test' look like splits"),
        (("data/train/cat", "data/val/cat"), "has splits, 'train' and 'val': give '.*data' as the data set"),
        (("cat/train", "cat/test", "dog/train"), "expected SPLIT/CLASS, as test/cat"),
        (("Test/one", "Control/one"), "the split 'Test' and Control: move or rename"),
        (("set/cat", "set/dog", "__MACOSX"), "one folder in which others lie, cat, dog: give '.*set' as the data set"),
    ],
)
def test_splits_are_never_taken_for_classes(folders, message, tmp_path):
    for folder in folders:
        _save(tmp_path / folder / "1.png", _noise(1, 3, 3, 3))
    with pytest.raises(UserError, match=message):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("images/train/1.png", "labels/train/1.txt", "data.yaml"), "is laid out for YOLO"),
        (("train/images/1.png", "train/labels/1.txt", "valid/images/2.png", "valid/labels/2.txt"), "laid out for YOLO"),
        (("data.yaml", "train/images/1.png", "valid/images/2.png"), "is laid out for YOLO"),
        (
            ("train/1.jpg", "train/_annotations.coco.json", "valid/2.jpg"),
            "annotations of boxes, which are for detectors",
        ),
        (("annotations/instances_train.json", "images/1.png"), "annotations of boxes, which are for detectors"),
        (("Annotations/1.xml", "JPEGImages/1.jpg"), "annotations of boxes, which are for detectors"),
        (("train/1.jpg", "train/1.xml", "valid/2.jpg", "valid/2.xml"), "annotations of boxes, which are for detectors"),
    ],
)
def test_layouts_of_detection_data_are_refused_as_what_they_are(files, message, tmp_path):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(UserError, match=message) as error:
        open_dataset(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_link_that_may_be_a_class_and_leads_nowhere(tmp_path):
    root = _write_classes(tmp_path, {"a": 3, "b": 3})
    (root / "c").symlink_to(tmp_path / "none")
    with pytest.raises(UserError, match=r"the link '.*/c' leads nowhere"):
        open_dataset(str(root))


def test_a_folder_called_by_a_name_that_begins_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _write_classes(tmp_path / "~set", {"a": 3})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sum(open_dataset("~set").splits.values()) == sum(open_dataset("~/~set").splits.values()) == 3


def _write_classes(root, counts):
    for c, (name, count) in enumerate(counts.items()):
        for i in range(count):
            _save(root / name / f"{i:02}.png", _noise(1000 * c + i, 3, 3, 3))
    return root


def test_one_folder_is_split_by_class(tmp_path):
    counts = {"ant": 10, "bee": 25, "cow": 2}
    root = str(_write_classes(tmp_path, counts))
    dataset, again = open_dataset(root), open_dataset(tmp_path)
    train, validation = _examples(dataset, "train"), _examples(dataset, "validation")
    # Of the two cows none has a small hash: the one with the smaller is moved.
    names = [f"{name}/{i:02}.png" for name, count in counts.items() for i in range(count)]
    assert dataset.example_names("validation") == [*small_hashes(names, 0.2), "cow/00.png"]
    assert (dataset.moved, dataset.split_rule, dataset.held_out) == (("cow/00.png",), "path_hash", True)
    np.testing.assert_array_equal(np.bincount([label for _, label in validation]), [2, 5, 1])
    expected = [(_noise(1000 * c + i, 3, 3, 3), c) for c, n in enumerate(counts.values()) for i in range(n)]
    assert _contents(train + validation) == _contents(expected)
    for split in dataset.splits:
        assert [image.tobytes() for image, _ in _examples(dataset, split)] == [
            image.tobytes() for image, _ in _examples(again, split)
        ]
    assert open_dataset(root, validation_fraction=0.4).splits == {"train": 7 + 17 + 1, "validation": 3 + 8 + 1}


def test_the_split_of_a_class_does_not_depend_on_other_classes(tmp_path):
    held_out = []
    for counts in ({"bee": 10}, {"ant": 5, "bee": 10}):
        dataset = open_dataset(str(_write_classes(tmp_path / str(len(counts)), counts)))
        bee = len(counts) - 1
        numbers = {_noise(1000 * bee + i, 3, 3, 3).tobytes(): i for i in range(10)}
        held_out.append({numbers[image.tobytes()] for image, label in _examples(dataset, "validation") if label == bee})
    assert held_out[0] == held_out[1] and len(held_out[0]) == 2


BAD_FILES = {
    "half.jpg": _jpeg(_noise(0, 64, 64, 3))[:2000],
    "end.jpg": _jpeg(_noise(0, 64, 64, 3))[:-100],
    "empty.jpg": b"",
    "text.jpg": b"this is no image\n",
    "half.bmp": encoded(np.zeros((9, 9, 3), np.uint8), "BMP")[:200],
    "packed.bmp": encoded(np.zeros((9, 9), np.uint8), "BMP").replace(b"\1\0\x08\0\0", b"\1\0\x08\0\1"),
    "half.gif": encoded(_noise(0, 40, 40), "GIF")[:1200],
}
REASONS = {
    "empty.jpg": "Input is empty",
    "text.jpg": "Unknown image file format",
    "half.bmp": "the BMP file ends before its pixels do",
    "packed.bmp": "expected a BMP image that is not compressed, received compression 1",
    "half.gif": "the GIF file ends before its first image does",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_or_skipped(name, tmp_path, monkeypatch):
    root = _write_splits(tmp_path)
    (root / "train" / "dog" / name).write_bytes(BAD_FILES[name])
    (root / "validation" / "dog" / name).write_bytes(BAD_FILES[name])
    with pytest.raises(UserError) as error:
        open_dataset(str(root))
    message = str(error.value)
    assert repr(str(root / "train" / "dog" / name)) in message
    assert "bad images: 2 of 14" in message
    assert "`skip_bad_images=True`" in message
    reason = REASONS.get(name, "Invalid JPEG data")
    assert reason in message
    assert "\n" not in message and "{{" not in message and "Op:" not in message
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: warnings.append(text % args))
    dataset = open_dataset(str(root), skip_bad_images=True)
    assert dataset.splits == {"train": 6, "validation": 6}
    assert dataset.skipped == {"train": 1, "validation": 1}
    assert len(warnings) == 2 and str(root / "train" / "dog" / name) in warnings[0] and reason in warnings[0]
    assert len(_examples(dataset, "train")) == 6


def test_a_class_of_bad_files_only(tmp_path):
    root = _write_splits(tmp_path, count=1)
    (root / "validation" / "dog" / "0.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"no readable image is left in validation of .* for: dog"):
        open_dataset(str(root), skip_bad_images=True)


def test_images_of_each_class_are_counted(tmp_path):
    dataset = open_dataset(str(_write_classes(tmp_path, {"ant": 10, "bee": 25, "cow": 2})))
    assert dataset.class_counts("validation").tolist() == [2, 5, 1]
    relabeled = dataset.with_classes(("cow", "dog", "bee", "ant"), (3, 2, 0))
    assert relabeled.class_counts("train").tolist() == [1, 0, 20, 8]
    assert relabeled.class_counts("train").tolist() == super(ImageFolder, relabeled).class_counts("train").tolist()


def test_the_same_image_on_both_sides_is_counted(tmp_path):
    root = _write_splits(tmp_path)
    shutil.copy(root / "train" / "cat" / "1.png", root / "validation" / "cat" / "again.png")
    assert open_dataset(str(root)).repeated == {"train": 0, "validation": 1}


def test_different_classes(tmp_path):
    root = _write_splits(tmp_path)
    (root / "train" / "dog").rename(root / "train" / "wolf")
    with pytest.raises(UserError, match="differ: only in train: wolf; only in validation: dog"):
        open_dataset(str(root))


def test_an_empty_class(tmp_path):
    root = _write_splits(tmp_path)
    (root / "train" / "cow").mkdir()
    (root / "validation" / "cow").mkdir()
    with pytest.raises(UserError, match=f"the class folder '{root / 'train' / 'cow'}' has no image"):
        open_dataset(str(root))


def test_no_classes(tmp_path):
    _save(tmp_path / "1.png", _noise(0, 3, 3, 3))
    with pytest.raises(UserError, match=f"one folder of images per class in '{tmp_path}'"):
        open_dataset(str(tmp_path))


def test_train_without_an_evaluation_folder(tmp_path):
    root = _write_splits(tmp_path, splits=("train",))
    with pytest.raises(UserError, match=f"validation or val or test beside train .* give '{root / 'train'}'"):
        open_dataset(str(root))


def test_a_class_of_one_image_cannot_be_split(tmp_path):
    with pytest.raises(UserError, match="class 'bee' has a single image"):
        open_dataset(str(_write_classes(tmp_path, {"ant": 3, "bee": 1})))


def test_progress_goes_to_standard_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("condconv_keras.data.sources.image_checks.PROGRESS_FROM", 5)
    open_dataset(str(_write_splits(tmp_path)))
    captured = capsys.readouterr()
    assert captured.out == "" and "Checking images: 100%" in captured.err


def test_a_file_of_another_format_since_the_check_is_refused(tmp_path):
    """The graph that reads ordinary files would take the indices of a palette for gray values."""
    for i in range(4):
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.fromarray(_noise(i, 8, 8, 3)).save(tmp_path / f"a/{i}.png")
    dataset = open_dataset(str(tmp_path))
    path = dataset.paths("train")[0]
    Image.fromarray(_noise(9, 8, 8, 3)).quantize(16).save(path, "BMP")
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected a JPEG or PNG file, as when it was checked"):
        list(dataset.examples("train"))
    reopened = open_dataset(str(tmp_path))
    expected = np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(next(iter(reopened.examples("train")))[0], expected)


@pytest.mark.parametrize("orientations", [(1, 6), (1, 1)])
def test_images_are_turned_if_one_of_them_is(orientations, tmp_path):
    (tmp_path / "a").mkdir()
    for i, orientation in enumerate(orientations):
        (tmp_path / f"a/{i}.png").write_bytes(encoded(smooth_photo(4, 6), "PNG", exif=exif(orientation)))
    dataset = open_dataset(str(tmp_path))
    stored = np.asarray(smooth_photo(4, 6))
    for split in dataset.splits:
        for path, (image, _) in zip(dataset.paths(split), dataset.examples(split), strict=True):
            orientation = orientations[int(path[-5])]
            np.testing.assert_array_equal(image, np.rot90(stored, -1) if orientation == 6 else stored)


def test_images_without_classes_beside_splits_are_not_used(tmp_path, monkeypatch):
    root = _write_splits(tmp_path, ("train", "val"))
    _save(root / "test" / "1.png", _noise(1, 3, 3, 3))
    warnings = _warnings(monkeypatch)
    assert open_dataset(str(root)).splits == {"train": 6, "val": 6}
    assert warnings == [f"Not used in {root}: 1 folder 'test'"]
    shutil.rmtree(root / "val")
    with pytest.raises(UserError, match=r"one folder of images per class in '.*test', found no folder"):
        open_dataset(str(root))


def test_classes_that_lie_a_folder_deeper_are_said(tmp_path, monkeypatch):
    warnings = _warnings(monkeypatch)
    _write_classes(tmp_path / "said", {"animals/cat": 2, "animals/dog": 2, "cars/bus": 2, "cars/van": 2})
    assert open_dataset(str(tmp_path / "said")).class_names == ("animals", "cars")
    said = "; folders in them, such as animals/cat, cars/bus, are none"
    assert warnings == [f"The classes are the 2 folders in {tmp_path / 'said'}{said}"]
    # Not where there are images beside the folders.
    open_dataset(str(_write_classes(tmp_path / "deeper", {"cat": 2, "cat/a": 2, "cat/b": 2, "dog/c": 2, "dog/d": 2})))
    assert len(warnings) == 1


def test_class_folders_of_splits_that_are_spelled_otherwise_are_the_same(tmp_path, monkeypatch):
    """As of an archive of macOS beside one of Linux; the order may be another one, too."""
    root = _write_splits(tmp_path, classes=("caf\u00e9", "ape"))
    (root / "validation" / "caf\u00e9").rename(root / "validation" / "Cafe\u0301")
    warnings = _warnings(monkeypatch)
    dataset = open_dataset(str(root))
    assert dataset.class_names == ("ape", "caf\u00e9")
    examples = _examples(dataset, "validation")
    assert [int(label) for _, label in examples] == [0, 0, 0, 1, 1, 1]
    # The first class that was written is the café.
    values = [_noise(100 + 10 * c + i, 5, 7, 3) for c in (1, 0) for i in range(3)]
    for (image, _), value in zip(examples, values, strict=True):
        np.testing.assert_array_equal(image, value)
    assert warnings == [
        "Class folders of validation that are spelled otherwise than in train: 'Cafe\u0301' is 'caf\u00e9'"
    ]
    # Where it tells two apart, the spelling counts.
    root = _write_splits(tmp_path / "twins", classes=("Cat", "cat"))
    assert open_dataset(str(root)).class_names == ("Cat", "cat")


def test_what_would_be_taken_for_a_part_of_the_data(tmp_path, monkeypatch):
    classes, splits = _write_classes(tmp_path / "c", {"a": 3, "b": 3}), _write_splits(tmp_path / "s")
    (tmp_path / "link").symlink_to("c")
    monkeypatch.chdir(tmp_path)
    for root, place, expected in (
        (classes, "c/run", True),
        (classes, "link/runs/1", True),
        (classes, "c/a/run", True),
        (classes, "c/.runs/1", False),
        (classes, "run", False),
        (classes, "c_run", False),
        (splits, "s/run", False),
        (splits, "s/train/run", True),
        (splits, "s/validation/cat/run", True),
    ):
        assert open_dataset(str(root)).takes_in(place) is expected, place
