"""From the records of a data set to batches of what is made of them: endless for training, once for evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from condconv_keras.data.dataset import Dataset
from condconv_keras.data.input.decoding import DecodedImage
from condconv_keras.data.input.service import check_service, through_service
from condconv_keras.data.input.shard import InputShard
from condconv_keras.data.input.tuning import PARALLEL_BATCHES, PARALLEL_CALLS, untuned
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import tensorflow as tf

CACHE_BYTES = 2**30  # a split whose decoded images fit is kept in memory
SHUFFLE_BUFFER = 16384  # records, where the split is larger, is not in memory, and is not permuted as it is read
ONE_PIPELINE = InputShard()


def steps_per_epoch(dataset: Dataset, split: str, batch_size: int) -> int:
    """Returns the number of full batches in an epoch; raises a `UserError` if there is none."""
    dataset.check_split(split)
    examples = dataset.splits[split]
    if not 1 <= batch_size <= examples:
        raise UserError(
            f"expected a batch size (`batch_size`) from 1 to the {examples} examples of {dataset.name!r} {split}, "
            f"received: {batch_size}"
        )
    return examples // batch_size


@dataclasses.dataclass(frozen=True)
class InputPosition:
    """Where a training stream starts.

    Attributes:
        seed: int.
        first_epoch, first_step: ints, the epoch, and within it the batch of the whole run, from 0.
    """

    seed: int = 0
    first_epoch: int = 0
    first_step: int = 0


START = InputPosition()


def training_stream(
    dataset: Dataset,
    split: str,
    batch_size: int,
    prepare: Callable[..., tuple[Any, Any]],
    finish: Callable[..., tuple[Any, Any]],
    made_by: object,
    position: InputPosition = START,
    shard: InputShard = ONE_PIPELINE,
    data_service: str | None = None,
) -> tf.data.Dataset:
    """Returns endless batches of what two functions make of a data set's images and labels.

    What `training_batches` says of order, seeds, shards and the tf.data service holds for every such stream.

    Args:
        dataset: an `ImageDataset`.
        split: the name of one of its splits.
        batch_size: int, of the whole run, at most the number of examples.
        prepare: function of an image (`DecodedImage` or `EncodedImage`), its label and an integer seed of shape [2]
            that returns a pair of structures of tensors whose shapes are those of every example.
        finish: function of a batch of both and of their seeds [batch, 2] that returns the pair that is trained on.
        made_by: what `prepare` and `finish` depend on besides the data set, its `repr` telling others apart.
        position: `InputPosition`.
        shard, data_service: as in `training_batches`.

    Returns:
        A `tf.data.Dataset` of infinite cardinality.

    Raises:
        UserError: as `training_batches`.
    """
    steps = steps_per_epoch(dataset, split, batch_size)
    device_batch_size = shard.batch_size(batch_size)
    if data_service is not None:
        check_service(data_service)
    in_memory = _fits_in_memory(dataset, split)
    # Created outside of `epoch`, so that all epochs read the same cache.
    cache = dataset.examples(split).cache() if in_memory else None
    buffer_size = dataset.splits[split] if in_memory else min(dataset.splits[split], SHUFFLE_BUFFER)
    first_epoch, first_step = position.first_epoch, position.first_step

    @tf.autograph.experimental.do_not_convert
    def epoch(index: tf.Tensor) -> tf.data.Dataset:
        # tf.data mixes the graph's seed, by default the global one, into every shuffle: fix that of this function.
        tf.compat.v1.set_random_seed(1)
        epoch_seed = tf.stack([tf.constant(position.seed, tf.int64), index])
        file_seed, order_seed = tf.unstack(tf.random.stateless_uniform([2], epoch_seed, maxval=2**31, dtype=tf.int64))
        examples = dataset.records(split, file_seed) if cache is None else cache
        if in_memory or not dataset.seed_permutes_all:
            examples = examples.shuffle(buffer_size, seed=order_seed, reshuffle_each_iteration=False)
        example_seeds = tf.data.Dataset.from_tensor_slices(tf.random.split(epoch_seed, steps * batch_size))
        seeded = tf.data.Dataset.zip(examples, example_seeds)  # as many as there are seeds
        seeded = seeded.skip(tf.where(index == first_epoch, tf.constant(first_step * batch_size, tf.int64), 0))
        # The workers of a service prepare the batches of all pipelines.
        return seeded if data_service is not None else seeded.shard(shard.count, shard.index)

    @tf.autograph.experimental.do_not_convert
    def prepare_example(example: tuple[Any, Any], example_seed: tf.Tensor) -> tuple[Any, Any, tf.Tensor]:
        record, label = example
        image = DecodedImage(record) if in_memory else dataset.image(record)
        return *prepare(image, label, example_seed), example_seed

    # The workers of a service have cores of their own, and tune what they do.
    is_served = data_service is not None
    parallel_calls, parallel_batches = [tf.data.AUTOTUNE] * 2 if is_served else (PARALLEL_CALLS, PARALLEL_BATCHES)
    batches = (
        tf.data.Dataset.range(first_epoch, tf.int64.max)
        .flat_map(epoch)
        .map(prepare_example, parallel_calls)
        .batch(device_batch_size, drop_remainder=True)
        .map(tf.autograph.experimental.do_not_convert(finish), parallel_batches)
    )
    if data_service is not None:
        batches = through_service(batches, data_service, repr((dataset.name, split, batch_size, made_by, position)))
    return _finish(batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)))


def evaluation_stream(
    dataset: Dataset,
    split: str,
    batch_size: int,
    prepare: Callable[..., tuple[Any, Any]],
    make_filler: Callable[[], tuple[Any, Any]],
    example_bytes: int | None = None,
    shard: InputShard | None = None,
) -> tf.data.Dataset:
    """Returns what a function makes of every example of a split, each exactly once, in a fixed order.

    What `evaluation_batches` says of shards holds for every such stream.

    Args:
        dataset, split, batch_size, shard: as in `evaluation_batches`.
        prepare: function of an image (`DecodedImage` or `EncodedImage`) and its label that returns a pair of structures
            of tensors whose shapes are those of every example.
        make_filler: function that returns such a pair for an example that is not to be counted.
        example_bytes: size of a prepared example, whose batches are kept in memory where all fit, or None to keep none.

    Raises:
        UserError: for an unknown split or a batch size below 1.
    """
    dataset.check_split(split)
    if batch_size < 1:
        raise UserError(f"expected a batch size of at least 1, received: {batch_size}")

    @tf.autograph.experimental.do_not_convert
    def prepare_example(record: Any, label: Any) -> tuple[Any, Any]:
        return prepare(dataset.image(record), label)

    records = dataset.records(split)
    if shard is None:
        batches = records.map(prepare_example, PARALLEL_CALLS).batch(batch_size)
    else:
        examples = records.shard(shard.count, shard.index).map(prepare_example, PARALLEL_CALLS)
        fillers = tf.data.Dataset.from_tensors(make_filler()).repeat()
        device_batches = -(-dataset.splits[split] // (shard.count * shard.replicas * batch_size))
        filled = examples.concatenate(fillers).take(device_batches * shard.replicas * batch_size)
        batches = filled.batch(batch_size, drop_remainder=True)
    if example_bytes is not None and example_bytes * dataset.splits[split] <= CACHE_BYTES:
        batches = batches.cache()
    return _finish(batches)


def _fits_in_memory(dataset: Dataset, split: str) -> bool:
    size = dataset.decoded_bytes(split)
    return size is not None and size <= CACHE_BYTES


def _finish(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Prefetches; a distribution strategy takes the batches as they are, since `InputShard` has shared them out."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return untuned(batches.prefetch(PARALLEL_BATCHES)).with_options(options)
