"""The script on small photographs that the test writes."""

import numpy as np
import pytest

from condconv_keras.data import open_detection_dataset
from condconv_keras.utils.errors import UserError
from scripts.deepforest_tiles import TRAIN_PHOTOGRAPH, cut_boxes, cut_photograph
from tests import processes
from tests.data.detection_folders import labels_by_id, save_image, write_voc


def test_boxes_are_cut_at_the_borders_of_a_tile():
    boxes = np.array(
        [
            [310.0, 20, 330, 60],  # inside
            [290.0, 0, 350, 30],  # 50 of 60 rows
            [250.0, 0, 310, 30],  # 10 of 60 rows: dropped
            [0.0, 0, 20, 20],  # outside
            [280.0, 280, 320, 320],  # a quarter
            [310.0, 20, 310, 60],  # no height
        ]
    )
    np.testing.assert_array_equal(cut_boxes(boxes, 300, 0), [[10, 20, 30, 60], [0, 0, 50, 30], [0, 280, 20, 300]])


@pytest.fixture
def source(tmp_path):
    """A training photograph of two by two tiles and another of a single one."""
    folder = tmp_path / "source"
    objects = [("Tree", 20, 10, 60, 50, 0), ("Dead", 290, 310, 330, 350, 0)]
    write_voc(folder / f"{TRAIN_PHOTOGRAPH}.xml", objects, size=(450, 400))
    save_image(folder / f"{TRAIN_PHOTOGRAPH}.png", 450, 400)
    write_voc(folder / "other.xml", [("Alive", 0, 0, 100, 150, 0)], size=(300, 300))
    save_image(folder / "other.png", 300, 300, seed=1)
    return folder


def test_tiles(source, tmp_path):
    output, without = tmp_path / "trees", processes.without_frameworks(tmp_path)
    finished = processes.run(
        "-m", "scripts.deepforest_tiles", f"--source={source}", f"--output_dir={output}", **without
    )
    assert "train: 2 boxes, 4 tiles with 3 boxes" in finished.stdout
    assert "validation: 1 boxes, 1 tiles with 1 boxes" in finished.stdout
    dataset = open_detection_dataset(str(output))
    assert dataset.class_names == ("tree",)
    assert dataset.splits == {"train": 4, "validation": 1}
    assert dataset.image_shape == (300, 300, 3)
    train = labels_by_id(dataset, "train")
    photograph = np.zeros((600, 600, 3), np.uint8)
    photograph[:450, :400] = save_image(tmp_path / "again.png", 450, 400)
    places = [(0, 0), (0, 300), (300, 0), (300, 300)]
    for (image, _), (top, left) in zip(train.values(), places, strict=True):
        np.testing.assert_array_equal(image, photograph[top : top + 300, left : left + 300])
    boxes = [label["boxes"] * 300 for _, label in train.values()]
    np.testing.assert_allclose(boxes[0], [[10, 20, 50, 60]], rtol=1e-5)
    assert boxes[1].shape == (0, 4)
    # A quarter of the width lies in one tile, three quarters in the next.
    np.testing.assert_allclose(boxes[2], [[10, 290, 50, 300]], rtol=1e-5)
    np.testing.assert_allclose(boxes[3], [[10, 0, 50, 30]], rtol=1e-5, atol=1e-5)
    ((_, label),) = labels_by_id(dataset, "validation").values()
    np.testing.assert_allclose(label["boxes"], [[0, 0, 0.5, 1 / 3]], rtol=1e-6)
    np.testing.assert_allclose(label["area"], [150 * 100])


def test_a_folder_without_the_photographs_or_one_that_exists(source, tmp_path):
    without = processes.without_frameworks(tmp_path)
    script = ("-m", "scripts.deepforest_tiles", f"--output_dir={tmp_path / 'trees'}")
    processes.assert_refused(
        *script, f"--source={tmp_path}", contains=[f"expected {TRAIN_PHOTOGRAPH}.xml", "received: none"], **without
    )
    assert not (tmp_path / "trees").exists()
    (tmp_path / "trees").mkdir()
    processes.assert_refused(*script, f"--source={source}", contains="exists already", **without)


def test_a_photograph_without_its_image(source):
    (source / "other.png").unlink()
    with pytest.raises(UserError, match=r"expected an image \(\.bmp, .*\) beside '.*other\.xml'"):
        cut_photograph(source / "other.xml")
