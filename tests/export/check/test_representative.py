import collections
import itertools
import os

import numpy as np
import pytest
from PIL import Image

from condconv_keras.data import Preprocessing, open_dataset
from condconv_keras.export.check.representative import (
    DatasetImages,
    FolderImages,
    Photographs,
    check_images,
    folder_images,
)
from condconv_keras.utils.errors import UserError
from tests.images import encoded, exif, smooth_photo, truncate, write_digit_folder

GRAY = Preprocessing((8, 8), 1, 127.5, 127.5)


def _contents(images):
    return [np.asarray(image).tobytes() for image in images]


def test_a_data_set_is_calibrated_on_training_and_checked_on_held_out_images():
    dataset = open_dataset("digits")
    splits = {split: set(_contents(image for image, _ in dataset.examples(split))) for split in ("train", "test")}
    source = DatasetImages(dataset)
    calibration = _contents(source.calibration())
    assert len(calibration) == 128
    assert set(calibration) <= splits["train"]
    assert set(_contents(source.check())[:16]) <= splits["test"]
    assert calibration == _contents(source.calibration())


def test_the_images_of_a_folder_that_is_sorted_by_class_are_of_all_classes(tmp_path):
    write_digit_folder(tmp_path, per_class=30, classes=range(8))
    dataset = open_dataset(str(tmp_path))
    for split, images in (
        ("train", DatasetImages(dataset).calibration()),
        ("validation", itertools.islice(DatasetImages(dataset).check(), 16)),
    ):
        labels = {np.asarray(image).tobytes(): int(label) for image, label in dataset.examples(split)}
        assert len({labels[content] for content in _contents(images)}) > 4
    files = folder_images(tmp_path)
    names = collections.Counter(path.parent.name for path in files._calibration_paths())
    assert set(names.values()) == {16}
    checked = check_images(files, GRAY)
    assert len(checked) == 16
    assert not set(_contents(checked)) & set(_contents(GRAY.evaluation_images(files.calibration())))


def test_a_folder_needs_no_classes(tmp_path):
    paths = write_digit_folder(tmp_path / "a/b", per_class=5)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden/x.png").write_text("no image")
    assert folder_images(tmp_path).paths == sorted(paths)
    images = GRAY.evaluation_images(folder_images(tmp_path).calibration())
    assert images.shape == (15, 8, 8, 1)
    assert images.dtype == np.float32
    assert len(check_images(folder_images(tmp_path), GRAY)) == 15


def test_held_out_images_are_never_calibrated_on(tmp_path):
    paths = write_digit_folder(tmp_path, per_class=10)
    dataset = open_dataset(str(tmp_path))
    calibrated = folder_images(tmp_path, dataset).paths
    held_out = {record.decode() for record, _ in dataset.records("validation").as_numpy_iterator()}
    assert len(held_out) == 8  # those of a small hash: 3, 4 and 1 of the three digits
    assert {str(path) for path in calibrated} == {str(path) for path in paths} - held_out


def test_a_folder_with_splits_is_calibrated_on_its_training_split(tmp_path):
    train = write_digit_folder(tmp_path / "train", per_class=3)
    write_digit_folder(tmp_path / "test", per_class=3)
    assert folder_images(tmp_path).paths == sorted(train)
    with pytest.raises(UserError, match="is held out"):
        folder_images(tmp_path / "test", open_dataset(str(tmp_path)))


@pytest.mark.parametrize(("training", "other"), [("Train", "Val"), ("training", "testing")])
def test_a_training_split_of_another_spelling(training, other, tmp_path):
    train = write_digit_folder(tmp_path / training, per_class=3)
    write_digit_folder(tmp_path / other, per_class=3)
    assert folder_images(tmp_path, open_dataset(str(tmp_path))).paths == sorted(train)


def test_images_of_every_format_and_name_calibrate(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my images").mkdir()
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/my images/caf\xe9.WebP")
    with open(odd, "wb") as file:
        Image.fromarray(np.full((4, 6), 90, np.uint8)).save(file, "WEBP", lossless=True)
    (image,) = folder_images("~/my images").calibration()
    np.testing.assert_array_equal(image, np.full((4, 6, 3), 90))


def test_bad_calibration_data_is_named(tmp_path):
    with pytest.raises(UserError, match="has no image"):
        folder_images(tmp_path)
    path = write_digit_folder(tmp_path, per_class=2)[0]
    truncate(path)
    with pytest.raises(UserError, match=path.name):
        list(FolderImages([path]).calibration())
    write_digit_folder(tmp_path / "set/test", per_class=2)
    with pytest.raises(UserError, match=r"needs training images, .* has the splits test"):
        DatasetImages(open_dataset(str(tmp_path / "set"))).calibration()


def test_photographs_serve_where_there_is_no_data_set():
    color = Preprocessing((48, 32), 3, 127.5, 127.5)
    images = check_images(Photographs(), color)
    assert images.shape == (16, 48, 32, 3)
    assert len(set(_contents(images))) == 16
    assert images.min() >= 0
    assert 100 < images.max() <= 255
    calibration = color.evaluation_images(Photographs().calibration())
    assert len(calibration) == 128
    assert not set(_contents(calibration)) & set(_contents(images))


def test_equal_images_do_not_count_twice(tmp_path):
    """A check of one image, however often it is stored, could not see kernels that never change."""
    path = write_digit_folder(tmp_path, per_class=1, classes=[3])[0]
    images = check_images(FolderImages([path] * 20), GRAY)
    assert len(set(_contents(images))) == len(images) == 16


def test_a_small_held_out_split_is_filled_up(tmp_path):
    write_digit_folder(tmp_path, per_class=5)
    images = check_images(DatasetImages(open_dataset(str(tmp_path))), GRAY)
    assert len(images) == 15


def test_the_images_of_a_folder_are_turned_as_the_model_s_are(tmp_path):
    photo = smooth_photo(8, 12)
    (tmp_path / "0.png").write_bytes(encoded(photo, "PNG", exif=exif(8)))
    for apply_orientation, expected in ((True, np.rot90(photo)), (False, np.asarray(photo))):
        files = folder_images(tmp_path, None, apply_orientation)
        for (image,) in (files.calibration(), files.check()):
            np.testing.assert_array_equal(image, expected)
