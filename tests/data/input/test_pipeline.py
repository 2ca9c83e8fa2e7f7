import itertools
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from condconv_keras.data import (
    AugmentationOptions,
    Preprocessing,
    evaluation_batches,
    open_dataset,
    steps_per_epoch,
    training_batches,
)
from condconv_keras.utils.errors import UserError

RAW = Preprocessing((8, 8), 1, 0.0, 1.0)


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


@pytest.fixture
def folder(tmp_path):
    """Twelve images whose only pixel value is their number."""
    for number in range(12):
        path = tmp_path / "images" / "train" / f"class_{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((3 + number % 3, 4, 3), number, np.uint8)).save(path)
    shutil.copytree(tmp_path / "images" / "train", tmp_path / "images" / "val")
    return tmp_path / "images"


def _take(batches, count):
    return list(itertools.islice(batches.as_numpy_iterator(), count))


def _contents(batches):
    examples = (example for images, labels in batches for example in zip(images, labels, strict=True))
    return sorted((image.tobytes(), int(label)) for image, label in examples)


def _split_contents(dataset, split):
    return sorted(
        (image.astype(np.float32).tobytes(), int(label)) for image, label in dataset.examples(split).as_numpy_iterator()
    )


def _assert_equal(batches, others):
    for (images, labels), (other_images, other_labels) in zip(batches, others, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


@pytest.mark.parametrize("batch_size", [1, 7, 360, 1000])
def test_evaluation_sees_every_image_once(digits, batch_size):
    batches = list(evaluation_batches(digits, "test", RAW, batch_size).as_numpy_iterator())
    sizes = [len(labels) for _, labels in batches]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert sizes[-1] == (360 % batch_size or batch_size)
    assert _contents(batches) == _split_contents(digits, "test")


def test_evaluation_order_is_fixed(digits):
    _assert_equal(*(list(evaluation_batches(digits, "test", RAW, 50).as_numpy_iterator()) for _ in range(2)))


@pytest.mark.parametrize("scaled", [True, False])
def test_scaling(digits, scaled):
    preprocessing = Preprocessing((8, 8), 1, 127.0, 128.0)
    batches = evaluation_batches(digits, "test", preprocessing, 32, scaled=scaled)
    assert batches.element_spec[0].shape.as_list() == [None, 8, 8, 1]
    assert batches.element_spec[1].dtype == tf.int32
    images = np.concatenate([images for images, _ in batches.as_numpy_iterator()])
    assert images.dtype == np.float32
    limits = (-127 / 128, 1) if scaled else (0, 255)
    np.testing.assert_allclose((images.min(), images.max()), limits)


def test_training_is_scaled_and_of_static_shape(digits):
    batches = training_batches(digits, "train", Preprocessing((12, 10), 3, 127.0, 128.0), 16)
    assert batches.element_spec[0].shape.as_list() == [16, 12, 10, 3]
    assert batches.element_spec[1].shape.as_list() == [16]
    assert batches.cardinality() == tf.data.INFINITE_CARDINALITY
    ((images, labels),) = _take(batches, 1)
    assert (images.dtype, labels.dtype) == (np.float32, np.int32)
    np.testing.assert_allclose((images.min(), images.max()), (-127 / 128, 1))


def test_an_epoch_is_the_split_in_a_new_order(digits):
    steps = steps_per_epoch(digits, "train", 479)
    assert steps == 3  # 1437 = 3 * 479
    batches = _take(training_batches(digits, "train", RAW, 479), 2 * steps)
    first, second = batches[:steps], batches[steps:]
    assert _contents(first) == _contents(second) == _split_contents(digits, "train")
    stored = list(evaluation_batches(digits, "train", RAW, 479).as_numpy_iterator())
    for one, other in itertools.combinations((first, second, stored), 2):
        same = np.concatenate([labels for _, labels in one]) == np.concatenate([labels for _, labels in other])
        assert np.mean(same) < 0.2  # about a tenth by chance


def test_the_remainder_is_dropped_and_no_image_repeats_within_an_epoch(folder):
    dataset = open_dataset(str(folder))
    steps = steps_per_epoch(dataset, "train", 5)
    assert steps == 2
    batches = _take(training_batches(dataset, "train", Preprocessing((4, 4), 1, 0.0, 1.0), 5), 20 * steps)
    epochs = [batches[e * steps : (e + 1) * steps] for e in range(20)]
    numbers = [{round(float(image[0, 0, 0])) for images, _ in epoch for image in images} for epoch in epochs]
    assert all(len(of_epoch) == 10 for of_epoch in numbers)
    assert len({frozenset(of_epoch) for of_epoch in numbers}) > 1


@pytest.mark.parametrize(
    ("in_memory", "augmentation"),
    [
        (True, "none"),
        (False, "pad_crop"),
        (True, "inception"),
        pytest.param(False, "none", marks=pytest.mark.slow),
        pytest.param(True, "pad_crop", marks=pytest.mark.slow),
        pytest.param(False, "inception", marks=pytest.mark.slow),
    ],
)
def test_seed_and_epoch_decide_alone(digits, in_memory, augmentation, monkeypatch):
    if not in_memory:
        monkeypatch.setattr("condconv_keras.data.input.streams.CACHE_BYTES", 0)
    preprocessing = Preprocessing((16, 16), 1, 0.0, 1.0)

    def batches(count, global_seed, **kwargs):
        tf.random.set_seed(global_seed)
        return _take(
            training_batches(digits, "test", preprocessing, 175, AugmentationOptions(augmentation), **kwargs), count
        )

    reference = batches(6, global_seed=1, seed=5)
    _assert_equal(reference, batches(6, global_seed=2, seed=5))
    _assert_equal(reference[4:], batches(2, global_seed=3, seed=5, first_epoch=2))
    (images, _), (other_images, _) = reference[0], batches(1, global_seed=1, seed=6)[0]
    assert not np.array_equal(images, other_images)


def test_augmentation_differs_between_epochs(folder):
    dataset = open_dataset(str(folder))
    image = np.arange(16 * 16, dtype=np.uint8).reshape(16, 16)
    for path in folder.rglob("*.png"):
        Image.fromarray(image).save(path)  # only the augmentation can tell the images apart
    dataset = open_dataset(str(folder))
    options = AugmentationOptions("pad_crop")
    batches = _take(training_batches(dataset, "train", Preprocessing((16, 16), 1, 0.0, 1.0), 12, options), 2)
    assert len({image.tobytes() for image in batches[0][0]}) > 6
    assert not np.array_equal(batches[0][0], batches[1][0])


def test_images_in_memory_are_read_once(folder):
    dataset = open_dataset(str(folder))
    iterator = training_batches(dataset, "train", Preprocessing((4, 4), 3, 0.0, 1.0), 12).as_numpy_iterator()
    first = next(iterator)
    shutil.rmtree(folder)
    assert _contents([next(iterator)]) == _contents([first])
    assert _contents([next(iterator)]) == _contents([first])


def test_large_splits_are_not_kept_in_memory(folder, monkeypatch):
    monkeypatch.setattr("condconv_keras.data.input.streams.CACHE_BYTES", 0)
    dataset = open_dataset(str(folder))
    iterator = training_batches(dataset, "train", Preprocessing((4, 4), 3, 0.0, 1.0), 12).as_numpy_iterator()
    next(iterator)
    shutil.rmtree(folder)
    with pytest.raises(tf.errors.NotFoundError):
        list(itertools.islice(iterator, 100))


def test_fit_gets_whole_epochs(digits):
    batches = training_batches(digits, "train", RAW, 479)
    seen = []
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    train_step = model.train_step
    model.train_step = lambda data: (seen.append([array.numpy() for array in data]), train_step(data))[1]
    model.fit(batches, steps_per_epoch=3, epochs=2, verbose=0)
    _assert_equal(seen, _take(batches, 6))


@pytest.mark.parametrize("batch_size", [0, 361])
def test_a_batch_size_that_does_not_fit(digits, batch_size):
    for call in (steps_per_epoch, lambda dataset, split, size: training_batches(dataset, split, RAW, size)):
        with pytest.raises(UserError, match=f"from 1 to the 360 examples of 'digits' test, received: {batch_size}"):
            call(digits, "test", batch_size)


def test_wrong_arguments(digits):
    with pytest.raises(UserError, match="has the splits train, test; received: 'val'"):
        training_batches(digits, "val", RAW, 4)
    with pytest.raises(UserError, match="has the splits train, test; received: 'val'"):
        evaluation_batches(digits, "val", RAW, 4)
    with pytest.raises(UserError, match="at least 1, received: 0"):
        evaluation_batches(digits, "test", RAW, 0)


def test_iterators_do_not_wait_for_the_thread_that_tunes_them(digits):
    for batches in (training_batches(digits, "train", RAW, 479), evaluation_batches(digits, "test", RAW, 100)):
        assert batches.options().autotune.enabled is False
