"""Opening a data set by name: which source it means, what is imported, and what is said about a wrong name."""

import subprocess
import sys

import numpy as np
import pytest

from condconv_keras.data import (
    DetectionDataset,
    ImageDataset,
    Preprocessing,
    opening,
    register_source,
    training_batches,
)
from condconv_keras.data.dataset import slice_records
from condconv_keras.data.opening import embedded_names, find_source, is_folder, open_dataset, open_detection_dataset
from condconv_keras.data.sources.annotated_folder import DetectionFolder
from condconv_keras.data.sources.digit_scenes import DigitScenes
from condconv_keras.data.sources.digits import Digits
from condconv_keras.data.sources.image_folder import ImageFolder
from condconv_keras.data.sources.tfds_detection import TfdsDetection
from condconv_keras.data.sources.tfds_images import TfdsImages
from condconv_keras.utils.errors import UserError
from tests.data.detection_folders import save_image, write_voc

HEAVY = ("tensorflow", "keras", "tensorflow_datasets", "sklearn")


def _imported_by(code):
    """Runs `code` in a fresh process and returns which heavy packages it has imported."""
    report = f"import sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    process = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return process.stdout.split()


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "from condconv_keras.data import open_dataset, Preprocessing, training_batches, evaluation_batches\n"
        "Preprocessing((8, 8), 1, 0.0, 1.0)"
    )
    assert _imported_by(code) == []


def test_asking_the_table_imports_nothing_heavy(tmp_path):
    code = f"""
from condconv_keras.data.opening import find_source
for name in ("digits", "digit_scenes", "fashion_mnist", {str(tmp_path)!r}):
    source = find_source(name, {str(tmp_path)!r})
    source.may_hold_out(name), source.checks_images
"""
    assert _imported_by(code) == []


def test_a_wrong_name_imports_no_tensorflow():
    code = """
from condconv_keras.data import open_dataset
try:
    open_dataset("fashion_mnits", data_dir="no_such_folder")
except ValueError as error:
    assert "fashion_mnist" in str(error)
else:
    raise AssertionError
"""
    assert _imported_by(code) == ["tensorflow_datasets"]


def test_digits_import_no_tfds():
    assert _imported_by("from condconv_keras.data import open_dataset; open_dataset('digits')") == ["sklearn"]


def test_folders_and_scenes_import_no_tfds(tmp_path):
    boxes, classes = tmp_path / "boxes", tmp_path / "classes"
    for name in "ab":
        save_image(boxes / f"{name}.png")
        write_voc(boxes / f"{name}.xml", [("cat", 1, 1, 9, 9, 0)])
        for number in range(2):
            save_image(classes / name / f"{number}.png")
    code = f"""
import sys
from condconv_keras.data import open_dataset, open_detection_dataset
open_detection_dataset("digit_scenes")
assert "tensorflow" not in sys.modules
open_detection_dataset({str(boxes)!r})
open_dataset({str(classes)!r}, data_dir={str(tmp_path)!r})
assert "tensorflow_datasets" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_which_source_a_name_means(tmp_path, monkeypatch):
    for name in ("digits", "images", "prepared"):
        (tmp_path / name).mkdir()
    data = tmp_path / "data" / "prepared" / "1.0.0"
    data.mkdir(parents=True)
    (data / "dataset_info.json").touch()
    monkeypatch.chdir(tmp_path)
    expected = {
        ("digits", ImageDataset): Digits,
        ("digit_scenes", DetectionDataset): DigitScenes,
        ("images", ImageDataset): ImageFolder,
        ("images", DetectionDataset): DetectionFolder,
        ("prepared", ImageDataset): TfdsImages,
        ("mnist", ImageDataset): TfdsImages,
        ("coco/2017", DetectionDataset): TfdsDetection,
    }
    assert {(name, kind): find_source(name, "data", kind) for name, kind in expected} == expected
    assert find_source("prepared", None, ImageDataset) is ImageFolder
    assert [name for name in ("digits", "images", "prepared", "mnist") if is_folder(name, "data")] == ["images"]


def test_what_sources_say_before_they_are_opened(tmp_path):
    facts = {
        source: (source.uses_data_dir, source.checks_images, source.made_by_this_process, source.may_hold_out("name"))
        for source in (Digits, DigitScenes, ImageFolder, DetectionFolder, TfdsImages, TfdsDetection)
    }
    assert facts == {
        Digits: (False, False, False, False),
        DigitScenes: (False, False, True, False),
        ImageFolder: (False, True, False, True),
        DetectionFolder: (False, True, False, True),
        TfdsImages: (True, False, False, True),
        TfdsDetection: (True, False, False, True),
    }
    # Of a folder: one split to train on and one to evaluate on.
    for split, may_hold_out in (("test", True), ("train", False)):
        (tmp_path / split).mkdir()
        assert ImageFolder.may_hold_out(str(tmp_path)) is may_hold_out


def test_the_default_of_a_kind():
    assert (embedded_names(ImageDataset), embedded_names(DetectionDataset)) == (("digits",), ("digit_scenes",))


@pytest.mark.parametrize(
    ("name", "close"), [("digts", "digits"), ("fashion-mnist", "fashion_mnist"), ("cifar", "cifar10")]
)
def test_a_wrong_name_suggests_close_ones(name, close, tmp_path):
    with pytest.raises(UserError, match=f"unknown data set or folder '{name}'. Did you mean .*'{close}'"):
        open_dataset(name, data_dir=tmp_path)


def test_a_wrong_name_of_a_set_for_detection(tmp_path):
    with pytest.raises(UserError, match=r"unknown data set or folder 'digit_scene'\. Did you mean 'digit_scenes'"):
        open_detection_dataset("digit_scene", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "../none"])
@pytest.mark.parametrize("open_by_name", [open_dataset, open_detection_dataset])
def test_a_missing_folder(name, open_by_name):
    with pytest.raises(UserError, match=f"expected a folder of images, there is none at '{name}'"):
        open_by_name(name)


def test_a_folder_without_annotations(tmp_path):
    save_image(tmp_path / "train" / "cat" / "1.png")
    with pytest.raises(UserError, match=r"expected COCO annotations \(.*\) or Pascal VOC .* found neither"):
        open_detection_dataset(str(tmp_path))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_a_wrong_validation_fraction(fraction):
    with pytest.raises(UserError, match=f"`validation_fraction` must be between 0 and 1. Received: {fraction}"):
        open_dataset("digits", validation_fraction=fraction)
    with pytest.raises(UserError, match=f"`validation_fraction` must be between 0 and 1. Received: {fraction}"):
        open_detection_dataset("digit_scenes", validation_fraction=fraction)


def test_a_folder_with_the_name_of_the_embedded_set(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert open_detection_dataset("digit_scenes").splits == {"train": 10000, "validation": 200}
    assert capsys.readouterr().err == ""
    (tmp_path / "digit_scenes").mkdir()
    assert open_detection_dataset("digit_scenes").splits == {"train": 10000, "validation": 200}
    said = "'digit_scenes' is the embedded data set; the folder of this name is './digit_scenes'"
    assert capsys.readouterr().err == f"warning: {said}\n"


def test_a_set_for_the_other_task():
    with pytest.raises(UserError) as error:
        open_dataset("digit_scenes")
    assert str(error.value) == (
        "expected images with labels, such as 'digits'; 'digit_scenes' has boxes: it is for detectors"
    )
    with pytest.raises(UserError) as error:
        open_detection_dataset("digits")
    assert str(error.value) == (
        "expected images with boxes, such as 'digit_scenes'; 'digits' has labels, for classifiers"
    )


class Stripes(ImageDataset):
    """Stripes that stand or lie, drawn when they are opened."""

    embedded_name = "stripes"

    def __init__(self, request):
        shape, splits = (16, 16, 1), {"train": 200, "test": 50}
        super().__init__(name=request.name, class_names=("standing", "lying"), image_shape=shape, splits=splits)

    def read_records(self, split, shuffle_seed):
        labels = np.arange(self.splits[split], dtype=np.int32) % 2
        wave = (np.arange(16) + labels.cumsum()[:, None]) % 8 < 4
        images = np.where(labels[:, None, None] == 0, wave[:, None, :], wave[:, :, None])
        return slice_records(np.uint8(255 * images)[..., None], labels, shuffle_seed)


@pytest.fixture
def own_table(monkeypatch):
    monkeypatch.setattr(opening, "SOURCES", [*opening.SOURCES])


def test_a_source_of_ones_own(own_table, tmp_path, monkeypatch):
    (tmp_path / "stripes").mkdir()
    monkeypatch.chdir(tmp_path)
    assert register_source(Stripes) is Stripes
    stripes = open_dataset("stripes")
    assert repr(stripes) == "Stripes(name='stripes', splits={'train': 200, 'test': 50})"
    (first, label), (second, other) = stripes.examples("test").take(2).as_numpy_iterator()
    assert (label, other) == (0, 1)
    np.testing.assert_array_equal(first[0, :, 0], [255] * 4 + [0] * 4 + [255] * 4 + [0] * 4)
    np.testing.assert_array_equal(first, np.broadcast_to(first[:1], (16, 16, 1)))
    np.testing.assert_array_equal(second, np.broadcast_to(second[:, :1], (16, 16, 1)))
    images, labels = next(
        training_batches(stripes, "train", Preprocessing((16, 16), 1, 0.0, 255.0), 50).as_numpy_iterator()
    )
    np.testing.assert_array_equal((images == images[:, :1]).all(axis=(1, 2, 3)), labels == 0)
    assert not is_folder("stripes", None) and not Stripes.may_hold_out("stripes")
    assert embedded_names(ImageDataset) == ("digits", "stripes")
    with pytest.raises(UserError, match="expected images with boxes, such as 'digit_scenes'; 'stripes' has labels"):
        open_detection_dataset("stripes")


def test_what_is_no_source(own_table):
    for wrong in (dict, "stripes", opening.Dataset):
        with pytest.raises(ValueError, match="`source` is a subclass of ImageDataset or DetectionDataset"):
            register_source(wrong)
    register_source(Stripes)
    with pytest.raises(ValueError, match=r"`embedded_name` is one that no other source has\. Received: 'stripes'"):
        register_source(Stripes)
    assert opening.SOURCES.count(Stripes) == 1
