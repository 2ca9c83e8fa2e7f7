"""From a data set to batches: training (shuffled, augmented, endless) and evaluation (every image once)."""

from condconv_keras.data.augmentation import get_augmentation
from condconv_keras.errors import UserError

CACHE_BYTES = 2**30  # a split whose decoded images fit is kept in memory
SHUFFLE_BUFFER = 16384  # records, where the split is larger and is not in memory


def steps_per_epoch(dataset, split, batch_size):
    """Returns the number of full batches in an epoch; raises a `UserError` if there is none."""
    dataset.check_split(split)
    examples = dataset.splits[split]
    if not 1 <= batch_size <= examples:
        raise UserError(
            f"expected a batch size (--batch_size) from 1 to the {examples} examples of {dataset.name!r} {split}, "
            f"received: {batch_size}"
        )
    return examples // batch_size


def training_batches(dataset, split, preprocessing, batch_size, augmentation="none", seed=0, first_epoch=0):
    """Returns endless batches, epoch after epoch, each epoch in a new order.

    An epoch is `steps_per_epoch(dataset, split, batch_size)` batches; what is left of the split is dropped, other
    images each time. Iterating anew starts again at `first_epoch`. So use it as
    `model.fit(batches, steps_per_epoch=..., epochs=..., initial_epoch=first_epoch)`: Keras then keeps one iterator.

    Order and augmentation depend on `(seed, epoch)` only, not on TensorFlow's global seed: the batches from
    `first_epoch=3` on are those that `first_epoch=0` yields after three epochs.

    Args:
        dataset: an `ImageDataset`.
        split: the name of one of its splits.
        preprocessing: the model's `Preprocessing`.
        batch_size: int, at most the number of examples.
        augmentation: `"none"`, `"pad_crop"` or `"inception"`.
        seed: int.
        first_epoch: int, the epoch (from 0) of the first batch.

    Returns:
        A `tf.data.Dataset` of `(float32 [batch, height, width, channels] scaled, int32 [batch])`, of infinite
        cardinality.

    Raises:
        UserError: for an unknown split or augmentation, or a batch size that does not fit.
    """
    augment = get_augmentation(augmentation)
    examples_per_epoch = steps_per_epoch(dataset, split, batch_size) * batch_size
    import tensorflow as tf

    in_memory = _fits_in_memory(dataset, split)
    # Created outside of `epoch`, so that all epochs read the same cache.
    cache = dataset.examples(split).cache() if in_memory else None
    buffer_size = dataset.splits[split] if in_memory else min(dataset.splits[split], SHUFFLE_BUFFER)

    @tf.autograph.experimental.do_not_convert
    def epoch(index):
        # tf.data mixes the graph's seed, by default the global one, into every shuffle: fix that of this function.
        tf.compat.v1.set_random_seed(1)
        epoch_seed = tf.stack([tf.constant(seed, tf.int64), index])
        file_seed, order_seed = tf.unstack(tf.random.stateless_uniform([2], epoch_seed, maxval=2**31, dtype=tf.int64))
        examples = cache if in_memory else dataset.records(split, file_seed)
        examples = examples.shuffle(buffer_size, seed=order_seed, reshuffle_each_iteration=False)
        example_seeds = tf.data.Dataset.from_tensor_slices(tf.random.split(epoch_seed, examples_per_epoch))
        return tf.data.Dataset.zip(examples, example_seeds)  # as many as there are seeds

    def prepare(example, example_seed):
        record, label = example
        image = record if in_memory else dataset.decode_record(record)
        return augment(image, example_seed, preprocessing), label

    batches = (
        tf.data.Dataset.range(first_epoch, tf.int64.max)
        .flat_map(epoch)
        .map(prepare, tf.data.AUTOTUNE)
        .batch(batch_size, drop_remainder=True)
        .map(lambda images, labels: (preprocessing.scale_images(images), labels))
        .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    )
    return _finish(batches)


def evaluation_batches(dataset, split, preprocessing, batch_size, scaled=True, repeated=False):
    """Returns every image of a split exactly once, in a fixed order; the last batch may be smaller.

    Args:
        dataset: an `ImageDataset`.
        split: the name of one of its splits.
        preprocessing: the model's `Preprocessing`.
        batch_size: int, at least 1.
        scaled: whether pixels are the model's input or, for exported models that scale inside, left in 0..255.
        repeated: whether the batches will be read more than once; what fits in memory is then decoded once.

    Returns:
        A `tf.data.Dataset` of `(float32 [batch, height, width, channels], int32 [batch])`.

    Raises:
        UserError: for an unknown split or a batch size below 1.
    """
    dataset.check_split(split)
    if batch_size < 1:
        raise UserError(f"expected a batch size of at least 1, received: {batch_size}")
    import tensorflow as tf

    def prepare(record, label):
        return preprocessing.evaluation_image(dataset.decode_record(record)), label

    batches = dataset.records(split).map(prepare, tf.data.AUTOTUNE).batch(batch_size)
    height, width = preprocessing.input_size
    prepared_bytes = 4 * dataset.splits[split] * height * width * preprocessing.channels
    if repeated and prepared_bytes <= CACHE_BYTES:
        batches = batches.cache()
    if scaled:
        batches = batches.map(lambda images, labels: (preprocessing.scale_images(images), labels))
    return _finish(batches)


def _fits_in_memory(dataset, split):
    size = dataset.decoded_bytes(split)
    return size is not None and size <= CACHE_BYTES


def _finish(batches):
    """Prefetches, and shares out examples rather than files where a strategy has several workers."""
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)
