"""Input pipelines that share batches or start in the middle: the examples of one pipeline from the start."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.data import (
    AugmentationOptions,
    InputShard,
    Preprocessing,
    evaluation_batches,
    open_dataset,
    training_batches,
)
from condconv_keras.data.input.decoding import EncodedImage
from condconv_keras.data.sources.digits import Digits
from condconv_keras.utils.errors import UserError

PREPROCESSING = Preprocessing((8, 8), 1, 127.0, 128.0)
OPTIONS = AugmentationOptions("inception", random_erasing=0.5)
BATCH = 120  # three batches in an epoch of the 360 test digits


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


@pytest.fixture(params=["in memory", "decoded every time"])
def memory(request, monkeypatch):
    if request.param != "in memory":
        monkeypatch.setattr("condconv_keras.data.input.streams.CACHE_BYTES", 0)


def _take(digits, count, options=OPTIONS, **kwargs):
    batches = training_batches(digits, "test", PREPROCESSING, BATCH, options, seed=5, **kwargs)
    return list(itertools.islice(batches.as_numpy_iterator(), count))


def _examples(batches):
    return sorted((image.tobytes(), label.tobytes()) for batch in batches for image, label in zip(*batch, strict=True))


def _assert_equal(batches, others):
    for batch, other in zip(batches, others, strict=True):
        for array, other_array in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, other_array)


@pytest.mark.parametrize("mixing", [{}, {"mixup_alpha": 0.3, "cutmix_alpha": 1.0}])
def test_a_start_within_an_epoch(digits, memory, mixing):
    options = AugmentationOptions("inception", random_erasing=0.5, **mixing)
    reference = _take(digits, 8, options)
    _assert_equal(reference[5:], _take(digits, 3, options, first_epoch=1, first_step=2))
    _assert_equal(reference[1:], _take(digits, 7, options, first_step=1))


def test_a_policy_has_the_same_images_from_the_middle(digits):
    options = AugmentationOptions("inception", policy="randaugment", policy_layers=1)
    reference = _take(digits, 3, options)
    _assert_equal(reference[2:], _take(digits, 1, options, first_step=2))
    assert not np.array_equal(reference[2][0], _take(digits, 3)[2][0])


@pytest.mark.parametrize(("count", "replicas"), [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_shards_are_the_batches_of_one_pipeline(digits, count, replicas):
    reference = _take(digits, 4)
    shards = [_take(digits, 4 * replicas, shard=InputShard(index, count, replicas)) for index in range(count)]
    for step in range(4):
        parts = [shard[step * replicas : (step + 1) * replicas] for shard in shards]
        assert {len(labels) for part in parts for _, labels in part} == {BATCH // (count * replicas)}
        assert _examples(itertools.chain(*parts)) == _examples([reference[step]])


def test_a_shard_starts_within_an_epoch(digits, memory):
    shard = InputShard(1, 2, 2)
    _assert_equal(_take(digits, 9, shard=shard)[4:], _take(digits, 5, shard=shard, first_step=2))


@pytest.mark.parametrize(("first_step", "shard", "count"), [(9, InputShard(), 1), (0, InputShard(0, 4), 11)])
def test_images_that_are_passed_over_or_of_another_shard_are_not_decoded(first_step, shard, count, digits, monkeypatch):
    monkeypatch.setattr("condconv_keras.data.input.streams.CACHE_BYTES", 0)
    decoded = []

    def encode(image):
        tf.py_function(lambda: decoded.append(1), [], [])
        return tf.io.encode_png(image)

    monkeypatch.setattr(Digits, "image", lambda self, record: EncodedImage(encode(record), self.image_shape))
    batches = training_batches(digits, "train", PREPROCESSING, BATCH, first_step=first_step, shard=shard)
    list(itertools.islice(batches, count))
    assert count * shard.batch_size(BATCH) <= len(decoded) < 1000  # of the 1320 of an epoch; some are read ahead


def test_mixing_draws_for_every_batch_of_a_device(digits):
    options = AugmentationOptions(mixup_alpha=1.0)
    labels = [labels for _, labels in _take(digits, 6, options, shard=InputShard(0, 1, 2))]
    assert labels[0].shape == (60, 10) and labels[0].dtype == np.float32
    np.testing.assert_allclose([batch.sum(axis=1) for batch in labels], 1, atol=1e-6)
    # Two classes that differ show the weight.
    weights = {round(float(next(row.max() for row in batch if row.max() < 0.9999)), 4) for batch in labels}
    assert len(weights) == 6
    other = [labels for _, labels in _take(digits, 3, options)]
    assert not np.array_equal(np.sort(other[0], axis=None), np.sort(np.concatenate(labels[:2]), axis=None))


@pytest.mark.parametrize(("count", "replicas", "batch_size"), [(1, 1, 100), (2, 1, 50), (3, 2, 7), (1, 4, 360)])
@pytest.mark.parametrize("scaled", [True, False])
def test_evaluation_shards_hold_every_example_once(digits, count, replicas, batch_size, scaled):
    def batches_of(index):
        shard = InputShard(index, count, replicas)
        return evaluation_batches(digits, "test", PREPROCESSING, batch_size, scaled, repeated=True, shard=shard)

    shards = [list(batches_of(index).as_numpy_iterator()) for index in range(count)]
    lengths = {len(shard) for shard in shards}
    assert len(lengths) == 1 and lengths.pop() % replicas == 0
    batches = [batch for shard in shards for batch in shard]
    assert {len(labels) for _, labels in batches} == {batch_size}
    assert len(batches) * batch_size - 360 < count * replicas * batch_size
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    assert not images[labels == -1].any()
    counted = [(images[labels != -1], labels[labels != -1])]
    assert _examples(counted) == _examples(
        evaluation_batches(digits, "test", PREPROCESSING, 64, scaled).as_numpy_iterator()
    )


def test_a_batch_that_cannot_be_shared_out(digits):
    with pytest.raises(UserError, match=r"\(`batch_size`\) that 8 devices can share equally, received: 100"):
        training_batches(digits, "test", PREPROCESSING, 100, shard=InputShard(0, 2, 4))


@pytest.mark.parametrize("shard", [(1, 1, 1), (-1, 1, 1), (0, 0, 1), (0, 1, 0)])
def test_a_shard_that_does_not_exist(shard):
    with pytest.raises(ValueError, match="0 <= index < count"):
        InputShard(*shard)
