"""From a data set to batches: training (shuffled, augmented, endless) and evaluation (every image once)."""

from condconv_keras.data.augmentation import AugmentationOptions, make_augmentation
from condconv_keras.data.decoding import DecodedImage
from condconv_keras.data.mixing import mix
from condconv_keras.data.service import check_service, through_service
from condconv_keras.data.shard import InputShard
from condconv_keras.errors import UserError

CACHE_BYTES = 2**30  # a split whose decoded images fit is kept in memory
SHUFFLE_BUFFER = 16384  # records, where the split is larger and is not in memory
FILLER_LABEL = -1  # of images that only fill up a batch and are not counted
NO_AUGMENTATION = AugmentationOptions()
ONE_PIPELINE = InputShard()


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


def training_batches(
    dataset,
    split,
    preprocessing,
    batch_size,
    options=NO_AUGMENTATION,
    seed=0,
    first_epoch=0,
    first_step=0,
    shard=ONE_PIPELINE,
    data_service=None,
):
    """Returns endless batches, epoch after epoch, each epoch in a new order.

    An epoch is `steps_per_epoch(dataset, split, batch_size)` batches; what is left of the split is dropped, other
    images each time. Iterating anew starts again at `first_epoch`. So use it as
    `model.fit(batches, steps_per_epoch=..., epochs=..., initial_epoch=first_epoch)`: Keras then keeps one iterator.

    Order and augmentation depend on `(seed, epoch)` and the place within the epoch only, not on TensorFlow's global
    seed: the batches from `first_epoch=3, first_step=5` on are those that `first_epoch=0` yields after three epochs and
    five batches. The examples that are passed over are read but not decoded.

    In a distributed run each worker's pipeline yields its `shard`. The next `shard.replicas` batches of all pipelines
    together are the examples of the next batch of a single pipeline, in another order; only what mixup and cutmix
    draw, once for each batch of a device, differs from a single pipeline.

    With `data_service` the workers of a tf.data service share the epochs: each prepares whole epochs of its own and the
    batches arrive as they are ready, also from several epochs at once. Nothing is lost or repeated by that, but a run
    that goes on from the middle gets other batches than one that was not interrupted. The workers need the versions of
    Python packages and the paths of data that this process has. All processes that ask one service for the same
    arguments share the batches between them, whatever their `shard`.

    Args:
        dataset: an `ImageDataset`.
        split: the name of one of its splits.
        preprocessing: the model's `Preprocessing`.
        batch_size: int, of the whole run, at most the number of examples.
        options: `AugmentationOptions`.
        seed: int.
        first_epoch, first_step: ints, the epoch, and within it the batch of the whole run, to start with (from 0).
        shard: `InputShard`, this pipeline's part of every batch.
        data_service: address of a tf.data service dispatcher, `"grpc://host:port"`, or None.

    Returns:
        A `tf.data.Dataset` of `(float32 [batch, height, width, channels] scaled, int32 [batch])`, of infinite
        cardinality; `batch` is `batch_size / (shard.count * shard.replicas)`. If the options mix, labels are
        probabilities, `float32 [batch, classes]`.

    Raises:
        UserError: for an unknown split, a batch size that does not fit the split or cannot be shared out equally, or a
            tf.data service that does not answer.
    """
    steps = steps_per_epoch(dataset, split, batch_size)
    device_batch_size = shard.batch_size(batch_size)
    if data_service is not None:
        check_service(data_service)
    import tensorflow as tf

    in_memory = _fits_in_memory(dataset, split)
    # Created outside of `epoch`, so that all epochs read the same cache.
    cache = dataset.examples(split).cache() if in_memory else None
    buffer_size = dataset.splits[split] if in_memory else min(dataset.splits[split], SHUFFLE_BUFFER)
    augment = make_augmentation(options, preprocessing)

    @tf.autograph.experimental.do_not_convert
    def epoch(index):
        # tf.data mixes the graph's seed, by default the global one, into every shuffle: fix that of this function.
        tf.compat.v1.set_random_seed(1)
        epoch_seed = tf.stack([tf.constant(seed, tf.int64), index])
        file_seed, order_seed = tf.unstack(tf.random.stateless_uniform([2], epoch_seed, maxval=2**31, dtype=tf.int64))
        examples = cache if in_memory else dataset.records(split, file_seed)
        examples = examples.shuffle(buffer_size, seed=order_seed, reshuffle_each_iteration=False)
        example_seeds = tf.data.Dataset.from_tensor_slices(tf.random.split(epoch_seed, steps * batch_size))
        seeded = tf.data.Dataset.zip(examples, example_seeds)  # as many as there are seeds
        seeded = seeded.skip(tf.where(index == first_epoch, tf.constant(first_step * batch_size, tf.int64), 0))
        # The workers of a service prepare the batches of all pipelines.
        return seeded if data_service is not None else seeded.shard(shard.count, shard.index)

    @tf.autograph.experimental.do_not_convert
    def prepare(example, example_seed):
        record, label = example
        image = DecodedImage(record) if in_memory else dataset.image(record)
        return augment(image, example_seed), label, example_seed

    @tf.autograph.experimental.do_not_convert
    def finish(images, labels, example_seeds):
        if not options.mixes:
            return images, labels
        # The first example's seed stands for the batch: no other batch has it.
        return mix(images, labels, options, len(dataset.class_names), tf.random.fold_in(example_seeds[0], 2))

    batches = (
        tf.data.Dataset.range(first_epoch, tf.int64.max)
        .flat_map(epoch)
        .map(prepare, tf.data.AUTOTUNE)
        .batch(device_batch_size, drop_remainder=True)
        .map(finish, tf.data.AUTOTUNE)
    )
    if data_service is not None:
        stream = (dataset.name, split, preprocessing, batch_size, options, seed, first_epoch, first_step)
        batches = through_service(batches, data_service, repr(stream))
    return _finish(batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)))


def evaluation_batches(dataset, split, preprocessing, batch_size, scaled=True, repeated=False, shard=None):
    """Returns every image of a split exactly once, in a fixed order; the last batch may be smaller.

    With a `shard` every image is in the batches of exactly one of its `count` pipelines. All batches are then of the
    full size, and there are as many in every pipeline, a multiple of `shard.replicas`: they are filled up with images
    of zeros whose label is -1.

    Args:
        dataset: an `ImageDataset`.
        split: the name of one of its splits.
        preprocessing: the model's `Preprocessing`.
        batch_size: int, at least 1, of one device.
        scaled: whether pixels are the model's input or, for exported models that scale inside, left in 0..255.
        repeated: whether the batches will be read more than once; what fits in memory is then decoded once.
        shard: `InputShard`, this pipeline's part, or None for all of the split.

    Returns:
        A `tf.data.Dataset` of `(float32 [batch, height, width, channels], int32 [batch])`.

    Raises:
        UserError: for an unknown split or a batch size below 1.
    """
    dataset.check_split(split)
    if batch_size < 1:
        raise UserError(f"expected a batch size of at least 1, received: {batch_size}")
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def prepare(record, label):
        image = preprocessing.evaluation_image(dataset.image(record).whole())
        return preprocessing.scale_images(image) if scaled else image, label

    records = dataset.records(split)
    if shard is None:
        batches = records.map(prepare, tf.data.AUTOTUNE).batch(batch_size)
    else:
        examples = records.shard(shard.count, shard.index).map(prepare, tf.data.AUTOTUNE)
        device_batches = -(-dataset.splits[split] // (shard.count * shard.replicas * batch_size))
        filled = examples.concatenate(_fillers(preprocessing)).take(device_batches * shard.replicas * batch_size)
        batches = filled.batch(batch_size, drop_remainder=True)
    height, width = preprocessing.input_size
    prepared_bytes = 4 * dataset.splits[split] * height * width * preprocessing.channels
    if repeated and prepared_bytes <= CACHE_BYTES:
        batches = batches.cache()
    return _finish(batches)


def _fillers(preprocessing):
    """Endless examples that only fill up a batch."""
    import tensorflow as tf

    image = tf.zeros(preprocessing.input_shape)
    return tf.data.Dataset.from_tensors((image, tf.constant(FILLER_LABEL))).repeat()


def _fits_in_memory(dataset, split):
    size = dataset.decoded_bytes(split)
    return size is not None and size <= CACHE_BYTES


def _finish(batches):
    """Prefetches; a distribution strategy takes the batches as they are, since `InputShard` has shared them out."""
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)
