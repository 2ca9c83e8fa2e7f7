import subprocess
import sys

import pytest

from condconv_keras.data import open_dataset, open_detection_dataset
from condconv_keras.utils.errors import UserError
from tests.data.detection_folders import save_image, write_voc


def test_a_folder_without_annotations(tmp_path):
    save_image(tmp_path / "train" / "cat" / "1.png")
    with pytest.raises(UserError, match=r"expected COCO annotations \(.*\) or Pascal VOC .* found neither"):
        open_detection_dataset(str(tmp_path))


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match="expected a folder of images, there is none at"):
        open_detection_dataset(str(tmp_path / "missing"))


def test_an_unknown_name(tmp_path):
    with pytest.raises(UserError, match="unknown data set or folder 'digit_scene'"):
        open_detection_dataset("digit_scene", data_dir=tmp_path)


@pytest.mark.parametrize("fraction", [0, 1, -0.1])
def test_a_validation_fraction_out_of_range(fraction):
    with pytest.raises(UserError, match="expected a validation fraction between 0 and 1"):
        open_detection_dataset("digit_scenes", validation_fraction=fraction)


def test_a_folder_with_the_name_of_the_embedded_set(tmp_path, monkeypatch):
    (tmp_path / "digit_scenes").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_detection_dataset("digit_scenes").splits == {"train": 10000, "validation": 200}


def test_folders_and_scenes_import_no_tfds(tmp_path):
    for name in "ab":
        save_image(tmp_path / f"{name}.png")
        write_voc(tmp_path / f"{name}.xml", [("cat", 1, 1, 9, 9, 0)])
    code = f"""
import sys
from condconv_keras.data import open_detection_dataset
open_detection_dataset("digit_scenes")
assert "tensorflow" not in sys.modules
open_detection_dataset({str(tmp_path)!r})
assert "tensorflow_datasets" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_set_for_detection_is_not_for_classification():
    with pytest.raises(UserError):
        open_dataset("digit_scenes")
