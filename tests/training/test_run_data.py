"""The data of a run after they have changed: what is held out, what is said, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest

from condconv_keras.data import open_dataset, open_detection_dataset
from condconv_keras.data.record import DataRecord
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.training.config import TrainConfig
from condconv_keras.training.run_data import continued_dataset, labeled_dataset, open_run_dataset, split_rule
from condconv_keras.utils.errors import UserError
from tests.data.detection_folders import coco_box, coco_image, labels_by_id, save_image, write_coco
from tests.data.splits import small_hashes, write_classes
from tests.training.configs import CONFIG

COUNTS = {f"k{k:02}": 10 for k in range(1, 5)}


def _names(dataset, split):
    return set(dataset.example_names(split))


def _trained_on(folder, **changes):
    """The configuration of a run on a folder as `config.json` has it, and the data set."""
    config = dataclasses.replace(CONFIG, dataset=str(folder), **changes)
    dataset = open_dataset(str(folder), validation_fraction=config.validation_fraction)
    config = dataclasses.replace(config, data=DataRecord.of(dataset))
    return TrainConfig.from_json(config.to_json()), dataset


def _reopened(config, dataset=None, fraction=None):
    return open_run_dataset(config, dataset, None, fraction, False)


def test_config_json_names_the_rule_and_what_was_held_out(tmp_path):
    names = write_classes(tmp_path, COUNTS)
    config, dataset = _trained_on(tmp_path)
    stored = json.loads(config.to_json())["data"]
    assert (stored["split_rule"], stored["moved"]) == ("path_hash", [])
    assert stored["splits"]["validation"]["examples"] == len(small_hashes(names, 0.2)) == dataset.splits["validation"]
    assert len(stored["splits"]["validation"]["digest"]) == 64
    assert config.differences(dataclasses.replace(config, data=None)) == []
    assert _reopened(config)[1] == []


def test_the_images_of_a_run_are_trusted_as_it_did(tmp_path):
    write_classes(tmp_path / "set", COUNTS)
    config, _ = _trained_on(tmp_path / "set", check_images=False)
    checked = dataclasses.replace(config, check_images=True)
    for of_run, given, skipped, is_checked in (
        (config, None, False, False),
        (config, True, False, True),
        (config, None, True, True),  # what is left out has to be found
        (checked, None, False, True),
        (checked, False, False, False),
    ):
        dataset, remarks = open_run_dataset(of_run, None, None, None, skipped, check_images=given)
        assert dataset.image_shape == ((4, 4, 3) if is_checked else (None, None, 3))
        assert remarks == []
    write_classes(tmp_path / "other", COUNTS)
    assert open_run_dataset(config, tmp_path / "other", None, None, False)[0].image_shape == (4, 4, 3)
    with pytest.raises(UserError, match="`skip_bad_images` leaves out what the check finds"):
        open_run_dataset(config, None, None, None, True, check_images=False)
    with pytest.raises(UserError, match="`check_images` is for a folder of images by class"):
        open_run_dataset(config, "digits", None, None, False, check_images=False)


def test_no_image_that_was_trained_on_is_held_out_when_images_are_added(tmp_path):
    write_classes(tmp_path, COUNTS)
    config, before = _trained_on(tmp_path)
    write_classes(tmp_path, dict.fromkeys(COUNTS, 3), first=10)
    now, remarks = _reopened(config)
    assert sum(now.splits.values()) == 52
    assert not _names(before, "train") & _names(now, "validation")
    assert not _names(before, "validation") & _names(now, "train")
    (remark,) = remarks
    assert f"'{tmp_path}' are no longer those that the run was trained on" in remark
    assert f"train had {before.splits['train']} images and has {now.splits['train']}" in remark


def test_nor_when_images_and_classes_are_removed(tmp_path):
    write_classes(tmp_path, {**COUNTS, "cow": 2})
    config, before = _trained_on(tmp_path)
    assert config.data.moved == ("cow/00.png",)
    (tmp_path / "cow/00.png").unlink()
    (tmp_path / "k01/03.png").unlink()
    now, remarks = _reopened(config)
    # The only image of the class that was held out is gone: none takes its place.
    assert _names(now, "validation") == _names(before, "validation") - {"cow/00.png", "k01/03.png"}
    assert not _names(before, "train") & _names(now, "validation") and len(remarks) == 1


def test_nor_when_a_class_was_all_below_the_fraction(tmp_path):
    write_classes(tmp_path, {"ant": 2})
    fraction = 1 - 1e-6
    config, before = _trained_on(tmp_path, validation_fraction=fraction)
    assert _names(before, "train") == set(config.data.moved) == {"ant/00.png"}
    write_classes(tmp_path, {"ant": 30}, first=2)
    assert "ant/00.png" in _names(_reopened(config)[0], "train")
    # A split that is no run's has another one for training.
    assert "ant/00.png" in _names(open_dataset(str(tmp_path), validation_fraction=fraction), "validation")


def test_a_run_of_version_0_1_keeps_its_split(tmp_path):
    names = write_classes(tmp_path, {"ant": 10})
    config = dataclasses.replace(CONFIG, dataset=str(tmp_path))
    fields = json.loads(config.to_json())
    del fields["data"]
    old = TrainConfig.from_json(json.dumps(fields))
    dataset, remarks = _reopened(old)
    places = np.random.default_rng(0).permutation(10)[:2]
    assert _names(dataset, "validation") == {names[i] for i in places} != set(small_hashes(names, 0.2))
    assert dataset.split_rule == "place" and "the run is of version 0.1" in remarks[0]
    # And it goes on with it, under its name.
    goes_on = continued_dataset(old, dataset)
    record = DataRecord.of(goes_on)
    assert record.rule == split_rule(dataclasses.replace(old, data=record)) == split_rule(old)
    with pytest.raises(UserError, match="was split by 'path_hash', the run by 'place'"):
        continued_dataset(old, open_dataset(str(tmp_path)))


def test_the_folder_of_a_run_by_another_name_is_the_same(tmp_path, monkeypatch):
    names = write_classes(tmp_path / "d", COUNTS)
    config, _ = _trained_on(tmp_path / "d", validation_fraction=0.4)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("d")
    for name in ("d", "./d/", "link", str(tmp_path / "d")):
        now, remarks = _reopened(config, name)
        assert _names(now, "validation") == set(small_hashes(names, 0.4)) and remarks == []
    # A copy is split alike, and one of which some are gone: whether it is one cannot be known then.
    for count in (10, 9):
        names = write_classes(tmp_path / f"copy_{count}", dict.fromkeys(COUNTS, count))
        copy, remarks = _reopened(config, f"copy_{count}")
        assert _names(copy, "validation") == set(small_hashes(names, 0.4))
        assert len(remarks) == (0 if count == 10 else 1)


def test_a_part_of_the_folder_that_a_run_was_trained_on(tmp_path):
    """All of its images have been learned, those that are held out of it by themselves among them."""
    for split in ("train", "val"):
        write_classes(tmp_path / split, COUNTS)
    config, _ = _trained_on(tmp_path)
    assert _reopened(config)[1] == []
    (remark,) = _reopened(config, str(tmp_path / "train"))[1]
    assert f"may have seen that part, as the run was trained on other data, '{tmp_path}'" in remark
    # All of a folder is evaluated where its name says so.
    write_classes(tmp_path / "other" / "test", COUNTS)
    assert _reopened(config, str(tmp_path / "other"))[1] == []


def test_the_data_of_a_run_that_are_gone(tmp_path):
    write_classes(tmp_path / "d", COUNTS)
    config, _ = _trained_on(tmp_path / "d")
    (tmp_path / "d").rename(tmp_path / "moved")
    with pytest.raises(UserError) as refusal:
        _reopened(config)
    assert str(refusal.value) == (
        f"the data of the run are no longer in '{tmp_path / 'd'}': give their place as `dataset`"
    )
    assert _reopened(config, str(tmp_path / "moved"))[1] == []


def test_a_smaller_part_holds_out_nothing_that_a_run_moved_into_training(tmp_path):
    write_classes(tmp_path, {"ant": 2, "bee": 20})
    config, before = _trained_on(tmp_path, validation_fraction=0.9)
    assert config.data.moved == ("ant/00.png",)
    for fraction in (0.9, 0.85, 0.5, 0.1):
        assert _names(_reopened(config, fraction=fraction)[0], "validation") <= _names(before, "validation")


def test_a_larger_part_than_that_of_the_run_is_refused(tmp_path):
    write_classes(tmp_path, COUNTS)
    config, before = _trained_on(tmp_path)
    with pytest.raises(UserError, match=r"`validation_fraction=0\.5` would hold out images .* it held out 0\.2"):
        _reopened(config, fraction=0.5)
    assert _names(_reopened(config, fraction=0.1)[0], "validation") < _names(before, "validation")


def test_a_model_without_a_run_says_nothing_of_its_data(tmp_path):
    write_classes(tmp_path / "d", COUNTS)
    _, remarks = _reopened(None, str(tmp_path / "d"))
    assert "put its class folders into one called test" in remarks[0]
    write_classes(tmp_path / "s/test", COUNTS)
    assert _reopened(None, str(tmp_path / "s"))[1] == []


def test_what_is_to_be_known_is_printed_with_the_labels(tmp_path, capsys):
    write_classes(tmp_path / "test", {"dog": 1, "cat": 1})
    dataset = open_dataset(str(tmp_path))
    card = ModelCard("mine", ("dog", "cat"), Preprocessing((4, 4), 3, 0.0, 1.0))
    labeled = labeled_dataset(dataset, card, ["a remark"])
    assert [int(label) for _, label in labeled.examples("test")] == [1, 0]
    first, second = capsys.readouterr().err.splitlines()
    assert first == "warning: a remark" and "in another order" in second
    with pytest.raises(UserError, match="only in the data: 'cat'"):
        labeled_dataset(dataset, ModelCard("mine", ("dog",), card.preprocessing), ["a remark"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("rename", "difference"),
    [
        (("k01", "zk01"), "only in the data: 'zk01'; only in the run: 'k01'"),
        (("k03", "../k03"), "only in the run: 'k03'"),
        ((None, "new"), "only in the data: 'new'"),
    ],
)
def test_a_run_does_not_go_on_with_other_classes(rename, difference, tmp_path):
    write_classes(tmp_path / "d", COUNTS)
    config, _ = _trained_on(tmp_path / "d")
    before, after = rename
    if before is None:
        write_classes(tmp_path / "d", {after: 3})
    else:
        (tmp_path / "d" / before).rename(tmp_path / "d" / after)
    now = open_dataset(config.dataset, split_rule=split_rule(config))
    with pytest.raises(UserError) as refusal:
        continued_dataset(config, now)
    text = str(refusal.value)
    assert f"({difference})" in text and config.dataset in text and "`model_dir`" in text and "\n" not in text


def test_a_run_goes_on_with_other_images_and_says_so(tmp_path, capsys):
    write_classes(tmp_path, COUNTS)
    config, before = _trained_on(tmp_path)
    unchanged = continued_dataset(config, before)
    assert unchanged.class_names == before.class_names and capsys.readouterr().err == ""
    (tmp_path / sorted(_names(before, "train"))[0]).unlink()
    continued_dataset(config, open_dataset(str(tmp_path), split_rule=split_rule(config)))
    count = before.splits["train"]
    assert f"warning: the data in '{tmp_path}' are no longer" in (said := capsys.readouterr().err)
    assert f"train had {count} images and has {count - 1}\n" in said


def test_a_detector_s_run_goes_on_with_its_categories_by_name(tmp_path):
    def write(categories):
        for split in ("train", "val"):
            save_image(tmp_path / split / "1.png")
            boxes = [coco_box(1, [0, 0, 4, 4], category["id"]) for category in categories if category["name"] == "cat"]
            write_coco(tmp_path / split / "instances.json", [coco_image(1)], boxes, categories)
        return open_detection_dataset(str(tmp_path))

    before = write([{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}])
    config = dataclasses.replace(CONFIG, dataset=str(tmp_path), task="detection", data=DataRecord.of(before))
    now = write([{"id": 5, "name": "dog"}, {"id": 6, "name": "cat"}])
    assert labels_by_id(now, "train")[1][1]["classes"].tolist() == [1]
    goes_on = continued_dataset(config, now)
    assert labels_by_id(goes_on, "train")[1][1]["classes"].tolist() == [0]
    assert (goes_on.class_names, goes_on.category_ids) == (("cat", "dog"), (6, 5))
    with pytest.raises(UserError, match="only in the data: 'cow'; only in the run: 'dog'"):
        continued_dataset(config, write([{"id": 1, "name": "cat"}, {"id": 2, "name": "cow"}]))
