"""What the scripts that write TFDS data sets share, on a data set of seven images."""

import hashlib
import json
import types

import numpy as np
import pytest

from condconv_keras.data import open_dataset
from condconv_keras.utils.errors import UserError
from scripts import glyphs, instruments, tfds_store

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 1), np.uint8)
LABELS = np.array([0, 1, 1, 0, 1, 0, 1])


def test_names_record_and_splits_of_a_stored_data_set(tmp_path):
    splits = {"train": (IMAGES[:4], LABELS[:4]), "test": (IMAGES[4:], LABELS[4:])}
    answer = tfds_store.store(
        splits, tmp_path, name="two", version="1.0.0", class_names="一丁", homepage="", sources={"faces": ["a"]}
    )
    assert answer == f"wrote {tmp_path / 'two' / '1.0.0'}: 4 train, 3 test images"
    dataset = open_dataset("two", data_dir=tmp_path)
    assert dataset.splits == {"train": 4, "test": 3}
    assert dataset.class_names == ("一", "丁")
    stored = sorted((image.tobytes(), int(label)) for image, label in dataset.examples("test").as_numpy_iterator())
    assert stored == sorted((image.tobytes(), int(label)) for image, label in zip(IMAGES[4:], LABELS[4:], strict=True))
    record = json.loads((tmp_path / "two" / "1.0.0" / "sources.json").read_text())
    content = IMAGES[4:].tobytes() + b"".join(int(label).to_bytes(8, "little") for label in LABELS[4:])
    assert record["splits"]["test"] == {"images": 3, "sha256": hashlib.sha256(content).hexdigest()}
    assert record["faces"] == ["a"]


def test_held_out_images_are_the_last_ones_and_replace_the_test():
    splits = {"train": (IMAGES, LABELS), "test": (IMAGES, LABELS), "unseen": (IMAGES, LABELS)}
    assert tfds_store.hold_out(splits, 0) is splits
    held = tfds_store.hold_out(splits, 2)
    assert set(held) == {"train", "validation"}
    for split, part in (("train", slice(5)), ("validation", slice(5, None))):
        np.testing.assert_array_equal(held[split][0], IMAGES[part])
        np.testing.assert_array_equal(held[split][1], LABELS[part])
    with pytest.raises(UserError, match="below the 7 training images, received: 7"):
        tfds_store.hold_out(splits, 7)


def test_a_number_to_hold_out_that_is_too_large_is_named_before_images_are_drawn(tmp_path, monkeypatch):
    flags = types.SimpleNamespace(output_dir=tmp_path, validation_images=60480)
    monkeypatch.setattr(instruments, "FLAGS", flags)
    with pytest.raises(UserError, match=r"below the number of training images, 60480 at most, received: 60480"):
        instruments.main(["instruments"])
    monkeypatch.setattr(glyphs, "FLAGS", types.SimpleNamespace(output_dir=tmp_path, validation_images=8000))
    monkeypatch.setattr(glyphs, "installed_faces", lambda: ([None] * 20, {}))
    with pytest.raises(UserError, match=r"below the number of training images, 8000 at most, received: 8000"):
        glyphs.main(["glyphs"])


def test_versions_of_packages(monkeypatch):
    monkeypatch.setattr(tfds_store, "dpkg", lambda *words: {"b": "1.2-3"}.get(words[-1], ""))
    assert tfds_store.package_versions(("a", "b")) == {"b": "1.2-3"}


def test_without_dpkg(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert tfds_store.package_versions(("bash",)) == {}


def test_what_an_interrupted_preparation_leaves_is_no_data_set(tmp_path):
    (tmp_path / "two" / "incomplete.ABC_1.0.0").mkdir(parents=True)
    assert tfds_store.new_data_set(tmp_path, "two") == tmp_path
    (tmp_path / "two" / "1.0.0").mkdir()
    with pytest.raises(UserError, match="holds a two already"):
        tfds_store.new_data_set(tmp_path, "two")
