import dataclasses
import hashlib

import pytest

from condconv_keras.data import open_dataset
from condconv_keras.data.record import DataRecord
from condconv_keras.data.split_rule import NEW, SplitRule
from tests.data.splits import small_hashes, write_classes

COUNTS = {"ant": 10, "bee": 10}


def test_the_record_of_a_folder(tmp_path):
    names = write_classes(tmp_path, COUNTS)
    record = DataRecord.of(open_dataset(str(tmp_path)))
    held_out = small_hashes(names, 0.2)
    assert (record.class_names, record.split_rule, record.moved) == (("ant", "bee"), "path_hash", ())
    assert {split: of["examples"] for split, of in record.splits.items()} == {"train": 16, "validation": 4}
    assert record.splits["validation"]["digest"] == hashlib.sha256("\0".join(held_out).encode()).hexdigest()
    assert DataRecord.from_dict(dataclasses.asdict(record)) == record
    assert record.rule == SplitRule("path_hash", ())


def test_data_without_names_are_counted():
    record = DataRecord.of(open_dataset("digits"))
    assert record.splits == {"train": {"examples": 1437, "digest": None}, "test": {"examples": 360, "digest": None}}
    assert (record.split_rule, record.rule) == (None, NEW)
    assert record.changes(open_dataset("digits")) == []


def test_changes_are_named(tmp_path):
    write_classes(tmp_path, COUNTS)
    dataset = open_dataset(str(tmp_path))
    record = DataRecord.of(dataset)
    assert record.changes(open_dataset(str(tmp_path))) == []
    (tmp_path / "bee/06.png").rename(tmp_path / "bee/24.png")  # both are held out
    (tmp_path / "ant/00.png").unlink()
    assert record.changes(open_dataset(str(tmp_path))) == [
        "train had 16 images and has 15",
        "validation has 4 images as before, but not the same ones",
    ]
    dataset.splits = {"train": 16, "test": 3}
    assert record.changes(dataset)[0] == "validation had 4 images and has 0"
    assert record.changes(dataset)[-1] == "test was not there"


@pytest.mark.parametrize(
    "changes",
    [{"split_rule": "by_moon"}, {"splits": {"train": {}}}, {"splits": 3}, {"class_names": None}, {"moved": 1}],
)
def test_what_is_no_record_is_an_error(changes):
    fields = dataclasses.asdict(DataRecord(("a",), None, (), {"train": {"examples": 1, "digest": None}}))
    with pytest.raises(ValueError):
        DataRecord.from_dict({**fields, **changes})
