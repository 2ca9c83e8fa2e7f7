import pytest

from condconv_keras.data.sources.split_folders import check_classes_are_no_splits, split_folders, split_name
from condconv_keras.utils.errors import UserError


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("train", "Train", "TRAINING", "train_set", "Training Set", "train2017", "train_images", "trainset"), "train"),
        (("validation", "valid", "Valid", "validation-set", "eval", "Evaluation", "dev"), "validation"),
        (("val", "VAL", "val2017", "val_data"), "val"),
        (("test", "Testing", "test.images", "test_2015", "test1"), "test"),
        (("trainer", "trains", "train_cat", "value", "testa", "contest", "cat", "training_day", "dev_kit"), None),
    ],
)
def test_spellings(names, split):
    assert {name: split_name(name) for name in names} == dict.fromkeys(names, split)


def test_the_folders_of_a_data_set(tmp_path):
    for name in ("testing", "Valid", "train", "Train", "cat", ".test"):
        (tmp_path / name).mkdir()
    (tmp_path / "val").touch()
    found = split_folders(tmp_path)
    assert list(found) == ["train", "validation", "test"]
    assert found == {
        "train": [tmp_path / "Train", tmp_path / "train"],
        "validation": [tmp_path / "Valid"],
        "test": [tmp_path / "testing"],
    }


@pytest.mark.parametrize(
    ("names", "training", "other"),
    [
        (["seg_pred", "seg_test", "seg_train"], "seg_train", "seg_test"),
        (["testA", "testB", "trainA", "trainB"], "trainA", "testA"),
        (["train-1", "val-1"], "train-1", "val-1"),
        (["fold1_training", "fold1_valid"], "fold1_training", "fold1_valid"),
        (["segTest", "segTrain"], "segTrain", "segTest"),
    ],
)
def test_splits_under_unknown_names_are_no_classes(names, training, other, tmp_path):
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=f"{training!r} and {other!r} look like splits: call them train and validation"):
        check_classes_are_no_splits(tmp_path, names)


def test_classes_may_have_words_of_splits(tmp_path):
    names = ["bullet train", "contest", "retrain", "test", "test tube", "tester", "tests", "train station", "trainer"]
    names += ["trains", "value", "training"]
    for name in names:
        (tmp_path / name).mkdir()
    check_classes_are_no_splits(tmp_path, names)


def test_splits_inside_of_classes(tmp_path):
    for name in ("data/Train", "data/Val"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UserError, match=rf"'{tmp_path}/data' has splits, 'Train' and 'Val': give '{tmp_path}/data' as"):
        check_classes_are_no_splits(tmp_path, ["data"])
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"'Train' and 'Val': expected SPLIT/CLASS, as Val/data"):
        check_classes_are_no_splits(tmp_path, ["data", "other"])
