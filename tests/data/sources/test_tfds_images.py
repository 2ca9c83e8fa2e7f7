"""TFDS data sets that the tests write themselves, read back without a network."""

import socket

import numpy as np
import pytest
import tensorflow_datasets as tfds

from condconv_keras.data import (
    AugmentationOptions,
    Preprocessing,
    evaluation_batches,
    open_dataset,
    steps_per_epoch,
    training_batches,
)
from condconv_keras.data.dataset import Request
from condconv_keras.data.sources.tfds_images import TfdsImages
from condconv_keras.utils.errors import UserError

CLASSES = ["square", "disc", "cross"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("the network is off")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def _examples(seed, count, shape):
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return [(i, {"image": image, "label": i % len(CLASSES)}) for i, image in enumerate(images)]


def _store(data_dir, name="toy_shapes", shape=(6, 5, 1), features=None, splits=None, **kwargs):
    features = features or {"image": tfds.features.Image(shape=shape), "label": tfds.features.ClassLabel(names=CLASSES)}
    tfds.dataset_builders.store_as_tfds_dataset(
        name,
        version="1.2.3",
        features=tfds.features.FeaturesDict(features),
        split_datasets=splits or {"train": _examples(0, 20, shape), "test": _examples(1, 7, shape)},
        data_dir=data_dir,
        **kwargs,
    )


def _contents(dataset, split):
    return sorted((image.tobytes(), int(label)) for image, label in dataset.examples(split).as_numpy_iterator())


def _expected(examples):
    return sorted((example["image"].tobytes(), example["label"]) for _, example in examples)


@pytest.mark.parametrize("name", [pytest.param("toy_shapes", marks=pytest.mark.slow), "toy_shapes:1.2.3"])
def test_a_prepared_set_that_tfds_does_not_know(name, tmp_path):
    _store(tmp_path)
    dataset = open_dataset(name, data_dir=str(tmp_path))
    assert dataset.class_names == tuple(CLASSES)
    assert dataset.image_shape == (6, 5, 1)
    assert dataset.splits == {"train": 20, "test": 7}
    assert not dataset.held_out
    assert dataset.evaluation_split == "test"
    assert dataset.skipped == {"train": 0, "test": 0}
    assert dataset.decoded_bytes("train") == 20 * 6 * 5
    assert _contents(dataset, "train") == _expected(_examples(0, 20, (6, 5, 1)))
    assert _contents(dataset, "test") == _expected(_examples(1, 7, (6, 5, 1)))


def test_a_config(tmp_path):
    _store(tmp_path, config="small")
    assert open_dataset("toy_shapes/small", data_dir=tmp_path).splits == {"train": 20, "test": 7}
    with pytest.raises(UserError, match="Did you mean 'toy_shapes/small'"):
        open_dataset("toy_shapes/smal", data_dir=tmp_path)


def test_a_prepared_set_comes_before_the_registry_and_a_folder(tmp_path, monkeypatch):
    _store(tmp_path, name="fashion_mnist")  # version 1.2.3, which TFDS's own code does not have
    (tmp_path / "work" / "fashion_mnist").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    assert open_dataset("fashion_mnist", data_dir=tmp_path).class_names == tuple(CLASSES)


@pytest.mark.parametrize(("stored", "delivered"), [(1, 1), (3, 3), (4, 3)])
def test_channels(stored, delivered, tmp_path):
    _store(tmp_path, shape=(4, 4, stored))
    dataset = open_dataset("toy_shapes", data_dir=tmp_path)
    assert dataset.image_shape == (4, 4, delivered)
    expected = [example["image"][..., :delivered].tobytes() for _, example in _examples(1, 7, (4, 4, stored))]
    assert [image for image, _ in _contents(dataset, "test")] == sorted(expected)


def test_images_of_different_sizes_are_not_cached(tmp_path):
    splits = {"train": _examples(0, 5, (4, 6, 3)) + [(5 + i, e) for i, e in _examples(1, 5, (9, 3, 3))]}
    features = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(names=CLASSES),
        "id": tfds.features.Scalar(np.int64),
    }
    splits["train"] = [(i, {**example, "id": i}) for i, example in splits["train"]]
    _store(tmp_path, features=features, splits={**splits, "test": splits["train"]})
    dataset = open_dataset("toy_shapes", data_dir=tmp_path)
    assert dataset.image_shape == (None, None, 3)
    assert dataset.decoded_bytes("train") is None
    batches = training_batches(dataset, "train", Preprocessing((8, 8), 3, 0.0, 1.0), 10, seed=1).as_numpy_iterator()
    first, second = (images for images, _ in (next(batches), next(batches)))
    assert not np.array_equal(first, second)
    ((expected, _),) = evaluation_batches(dataset, "train", Preprocessing((8, 8), 3, 0.0, 1.0), 10).as_numpy_iterator()
    for images in (first, second):
        assert sorted(image.tobytes() for image in images) == sorted(image.tobytes() for image in expected)


def test_a_train_split_alone_is_split(tmp_path):
    _store(tmp_path, splits={"train": _examples(0, 20, (6, 5, 1))})
    dataset = open_dataset("toy_shapes", data_dir=tmp_path, validation_fraction=0.3)
    assert dataset.splits == {"train": 14, "validation": 6}
    assert (dataset.held_out, dataset.split_rule, dataset.example_names("train")) == (True, "slice", None)
    both = _contents(dataset, "train") + _contents(dataset, "validation")
    assert sorted(both) == _expected(_examples(0, 20, (6, 5, 1)))


@pytest.mark.parametrize(
    "features",
    [
        {"image": tfds.features.Image(shape=(6, 5, 1))},
        {"image": tfds.features.Image(shape=(6, 5, 1)), "label": tfds.features.Scalar(np.int64)},
        {
            "image": tfds.features.Image(shape=(6, 5, 1)),
            "label": tfds.features.ClassLabel(names=CLASSES),
            "other": tfds.features.ClassLabel(names=CLASSES),
        },
    ],
)
def test_a_set_without_one_image_and_one_label(features, tmp_path):
    examples = [(i, {key: example.get(key, 0) for key in features}) for i, example in _examples(0, 3, (6, 5, 1))]
    _store(tmp_path, features=features, splits={"train": examples})
    with pytest.raises(UserError, match=r"not for image classification: .* received the features .*image \(Image\)"):
        open_dataset("toy_shapes", data_dir=tmp_path)


def test_a_missing_file(tmp_path):
    _store(tmp_path)
    (path,) = tmp_path.rglob("*train*tfrecord*")
    path.unlink()
    with pytest.raises(UserError, match=f"'toy_shapes' lacks 1 of its files, such as '{path}'"):
        open_dataset("toy_shapes", data_dir=tmp_path)


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with pytest.raises(UserError) as error:
        open_dataset("fashion_mnist", data_dir=tmp_path)
    message = str(error.value)
    assert f"'fashion_mnist' is not prepared in '{tmp_path}/fashion_mnist/" in message
    assert "cannot be downloaded: no network connection to fashion-mnist." in message


def test_a_failed_download_is_one_line(tmp_path):
    with pytest.raises(
        UserError, match=r"'imagenet2012' is not prepared in .*Manual directory .* does not exist"
    ) as error:
        open_dataset("imagenet2012", data_dir=tmp_path)
    assert "\n" not in str(error.value)


def test_a_registered_set_for_another_task_is_not_downloaded(tmp_path):
    with pytest.raises(UserError, match="'coco' is not for image classification"):
        TfdsImages(Request("coco", tmp_path))


def test_an_unknown_version(tmp_path):
    with pytest.raises(UserError, match=r"cannot be loaded at version 9\.9\.9"):
        open_dataset("fashion_mnist:9.9.9", data_dir=tmp_path)


@pytest.mark.parametrize("with_data_dir", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_imagenet_under_the_mocking_of_tfds(with_data_dir, tmp_path):
    """TFDS draws the images at random and encodes them as its feature does: everything after that is real."""
    with tfds.testing.mock_data(num_examples=10):
        dataset = open_dataset("imagenet2012", data_dir=tmp_path if with_data_dir else None)
        assert dataset.splits == {"train": 10, "validation": 10}
        assert (dataset.train_split, dataset.evaluation_split) == ("train", "validation")
        assert (len(dataset.class_names), dataset.class_names[0]) == (1000, "tench")
        assert dataset.image_shape == (None, None, 3)
        ((encoded, _),) = dataset.records("train").take(1)
        assert encoded.dtype == "string"
        assert steps_per_epoch(dataset, "train", 4) == 2
        options = AugmentationOptions("inception", mixup_alpha=0.2)
        preprocessing = Preprocessing((16, 16), 3, 127.0, 128.0)
        batches = training_batches(dataset, "train", preprocessing, 4, options).take(5)
        for images, labels in batches.as_numpy_iterator():
            assert (images.shape, labels.shape) == ((4, 16, 16, 3), (4, 1000))
            assert np.abs(images).max() <= 1.01 and images.std() > 0.1
        evaluated = list(evaluation_batches(dataset, "validation", preprocessing, 4).as_numpy_iterator())
        assert [len(labels) for _, labels in evaluated] == [4, 4, 2]


def test_what_is_not_prepared_is_not_downloaded_unless_it_may_be(tmp_path):
    with pytest.raises(UserError, match=r"'mnist' is not prepared in .*, and not downloaded now"):
        open_dataset("mnist", data_dir=tmp_path, download=False)
    assert not list(tmp_path.iterdir())
