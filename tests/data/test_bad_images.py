"""Images that are trusted: nothing is opened before it is read, and a bad one is named then."""

import types

import pytest
import tensorflow as tf
from absl import logging

from condconv_keras.data import Preprocessing, evaluation_batches, open_dataset, training_batches
from condconv_keras.data.bad_images import bad_images_named
from condconv_keras.data.sources import image_checks
from condconv_keras.training import fit
from condconv_keras.utils.errors import UserError
from tests.data.splits import write_classes
from tests.images import truncate

PREPROCESSING = Preprocessing((4, 4), 3, 0.0, 1.0)


@pytest.fixture
def said(monkeypatch):
    """The list that warnings are added to."""
    lines = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: lines.append(text % values))
    return lines


@pytest.fixture
def root(tmp_path):
    """A folder of classes, one image of which is cut off."""
    write_classes(tmp_path / "set", {"ant": 8, "bee": 8})
    truncate(tmp_path / "set/bee/05.png")
    return tmp_path / "set"


def test_a_trusted_folder_is_opened_as_it_lies_there(root, said, monkeypatch):
    expected = open_dataset(root, skip_bad_images=True)
    said.clear()
    for name in ("read_file", "ImageMemory"):
        monkeypatch.setattr(image_checks, name, lambda *arguments: pytest.fail("a file is looked at"))
    dataset = open_dataset(root, check_images=False)
    (line,) = said
    assert line.startswith(f"The images of {root} are not checked: one that cannot be decoded stops the run")
    assert dataset.image_shape == (None, None, 3)
    assert sum(dataset.splits.values()) == 16 and dataset.class_names == ("ant", "bee")
    assert {*dataset.example_names("validation")} - {"bee/05.png"} == {*expected.example_names("validation")}
    assert dataset.skipped == {"train": 0, "validation": 0}
    assert dataset.repeated == dataset.decoded_sizes == {"train": None, "validation": None}
    assert dataset.class_counts("train").sum() == dataset.splits["train"]


def test_a_bad_image_is_named_when_it_is_read(root, said):
    dataset = open_dataset(root, check_images=False)
    split = next(split for split in dataset.splits if "bee/05.png" in dataset.example_names(split))
    batches = {
        "training": lambda: training_batches(dataset, split, PREPROCESSING, dataset.splits[split]),
        "evaluation": lambda: evaluation_batches(dataset, split, PREPROCESSING, 4),
    }
    for make in batches.values():
        named = bad_images_named(dataset.with_classes(("bee", "ant"), (1, 0)))
        with pytest.raises(UserError, match=r"cannot decode '.*bee/05\.png' \(.*bad images: 1 of 16") as error, named:
            for _ in make().take(10):
                pass
        assert isinstance(error.value.__context__, tf.errors.InvalidArgumentError)


def test_other_errors_stay_what_they_are(root, said):
    dataset = open_dataset(root, check_images=False)
    for of, error in (
        (dataset, tf.errors.ResourceExhaustedError),
        (open_dataset(root, skip_bad_images=True), tf.errors.InvalidArgumentError),
        (open_dataset("digits"), tf.errors.InvalidArgumentError),
        (None, tf.errors.InvalidArgumentError),
    ):
        with pytest.raises(error, match="no image"), bad_images_named(of):
            raise error(None, None, "no image")
    (root / "bee/05.png").unlink()
    dataset = open_dataset(root, check_images=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="all is well"), bad_images_named(dataset):
        raise tf.errors.InvalidArgumentError(None, None, "all is well")


def test_bad_images_cannot_be_left_out_unchecked(root):
    with pytest.raises(UserError, match="`skip_bad_images` leaves out what the check finds: it is not for `check_im"):
        open_dataset(root, skip_bad_images=True, check_images=False)


def _fail(*arguments):
    raise tf.errors.InvalidArgumentError(None, None, "Invalid PNG data")


def test_a_training_run_names_the_bad_image(root, said, monkeypatch):
    dataset = open_dataset(root, check_images=False)
    loop = types.SimpleNamespace(restore=lambda: 0, run_from=_fail)
    task = types.SimpleNamespace(make_validation=lambda *arguments, repeated: None)
    plan = types.SimpleNamespace(task=task, card=None, dataset=dataset)
    training = types.SimpleNamespace(_plan=plan, _model=types.SimpleNamespace(network=None), _evaluation=())
    vars(training).update(dict.fromkeys(("_strategy", "_run", "termination")))
    monkeypatch.setattr(fit, "TrainingLoop", lambda *arguments: loop)
    monkeypatch.setattr(fit, "Validator", lambda *arguments: None)
    monkeypatch.setattr(fit, "is_chief", lambda strategy: False)
    with pytest.raises(UserError, match=r"^cannot decode '.*bee/05\.png'"):
        fit._Training.run_loop(training)


def test_so_does_what_a_run_reads_before_its_first_step(root, said, monkeypatch):
    monkeypatch.setattr(fit, "check_config", lambda config: None)
    monkeypatch.setattr(fit, "_Training", _fail)
    with pytest.raises(UserError, match=r"^cannot decode '.*bee/05\.png'"):
        fit.train(None, None, open_dataset(root, check_images=False), None, "", {})
