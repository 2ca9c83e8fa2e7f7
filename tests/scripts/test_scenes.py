"""Scenes of digits as a prepared data set: whose digits they have, their boxes, and what is stored."""

import hashlib
import json
import struct

import numpy as np
import pytest
from PIL import Image

from condconv_keras.data import open_detection_dataset
from condconv_keras.data.sources import digit_scenes
from scripts import scenes, tfds_store

COUNTS = {"train": 12, "test": 4}


@pytest.fixture
def numbered(monkeypatch):
    """Digits whose label is their number: 0 to 39 for training, 100 to 109 for the test."""
    ink = np.full((40, 8, 8, 1), 255, np.uint8)
    digits = {"train": (ink, np.arange(40)), "test": (ink[:10], np.arange(100, 110))}
    monkeypatch.setattr(scenes, "digit_splits", lambda: digits)


def _labels(examples):
    return {digit["label"] for example in examples for digit in example["objects"]}


def test_no_test_scene_has_a_digit_of_the_training(numbered):
    splits = scenes.scene_splits(0, COUNTS)
    assert {split: len(examples) for split, examples in splits.items()} == COUNTS
    assert max(_labels(splits["train"])) < 40 <= min(_labels(splits["test"]))


def test_held_out_scenes_have_digits_of_their_own(numbered):
    splits = scenes.scene_splits(5, COUNTS)
    assert {split: len(examples) for split, examples in splits.items()} == {"train": 12, "validation": 5}
    assert {label % 4 for label in _labels(splits["validation"])} == {0}
    assert {label % 4 for label in _labels(splits["train"])} == {1, 2, 3}


def test_a_test_scene_is_one_of_digit_scenes_that_the_embedded_set_has_not():
    (example,) = scenes.scene_splits(0, {"train": 0, "test": 1})["test"]
    placed = digit_scenes.scene_digits("validation", 200)
    assert digit_scenes.SPLITS["validation"] == 200
    image = Image.fromarray(digit_scenes.render("validation", 200, placed)).resize((160, 160), Image.Resampling.BOX)
    np.testing.assert_array_equal(example["image"], np.asarray(image))
    assert [digit["label"] for digit in example["objects"]] == [digit.digit for digit in placed]
    np.testing.assert_allclose([digit["bbox"] * 300 for digit in example["objects"]], [digit.box for digit in placed])


def test_what_is_stored_is_what_was_made(tmp_path):
    splits = scenes.scene_splits(0, {"train": 2, "test": 3})
    tfds_store.store_examples(
        splits, tmp_path, name="scenes", version="1.0.0", features=scenes._features(), homepage="", sources={}
    )
    record = json.loads((tmp_path / "scenes/1.0.0/sources.json").read_text())
    content = hashlib.sha256(b"".join(example["image"].tobytes() for example in splits["test"]))
    for example in splits["test"]:
        content.update(struct.pack("<q", len(example["objects"])))
        for digit in example["objects"]:
            content.update(struct.pack("<q4f", digit["label"], *digit["bbox"]))
    assert record["splits"]["test"] == {"images": 3, "sha256": content.hexdigest()}
    dataset = open_detection_dataset("scenes", data_dir=tmp_path)
    assert dataset.splits == {"train": 2, "test": 3}
    stored = list(dataset.examples("test").as_numpy_iterator())
    made = {tuple(digit["label"] for digit in example["objects"]): example for example in splits["test"]}
    assert len(made) == 3
    for image, label in stored:
        example = made[tuple(label["classes"])]
        np.testing.assert_allclose(label["boxes"], [digit["bbox"] for digit in example["objects"]], atol=1e-6)
        # JPEG with colors at half the resolution.
        assert np.abs(image.astype(float) - example["image"]).mean() < 6
