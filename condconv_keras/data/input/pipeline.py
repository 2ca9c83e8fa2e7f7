"""From a data set of images with class labels to batches: training (augmented) and evaluation (every image once)."""

from __future__ import annotations

from condconv_keras.data.augment.augmentation import AugmentationOptions, make_augmentation
from condconv_keras.data.augment.mixing import mix
from condconv_keras.data.dataset import ImageDataset
from condconv_keras.data.input.decoding import DecodedImage, EncodedImage
from condconv_keras.data.input.shard import InputShard
from condconv_keras.data.input.streams import ONE_PIPELINE, InputPosition, evaluation_stream, training_stream
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.utils.lazy import tensorflow as tf

FILLER_LABEL = -1  # of images that only fill up a batch and are not counted
NO_AUGMENTATION = AugmentationOptions()


def training_batches(
    dataset: ImageDataset,
    split: str,
    preprocessing: Preprocessing,
    batch_size: int,
    options: AugmentationOptions = NO_AUGMENTATION,
    seed: int = 0,
    first_epoch: int = 0,
    first_step: int = 0,
    shard: InputShard = ONE_PIPELINE,
    data_service: str | None = None,
) -> tf.data.Dataset:
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
        first_epoch: int, the epoch to start with (from 0).
        first_step: int, the batch of the whole run within that epoch to start with (from 0).
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
    augment = make_augmentation(options, preprocessing)

    def prepare(
        image: DecodedImage | EncodedImage, label: tf.Tensor, example_seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return augment(image, example_seed), label

    def finish(images: tf.Tensor, labels: tf.Tensor, example_seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if not options.mixes:
            return images, labels
        # The first example's seed stands for the batch: no other batch has it.
        return mix(images, labels, options, len(dataset.class_names), tf.random.fold_in(example_seeds[0], 2))

    position = InputPosition(seed, first_epoch, first_step)
    made_by = (preprocessing, options)
    return training_stream(dataset, split, batch_size, prepare, finish, made_by, position, shard, data_service)


def evaluation_batches(
    dataset: ImageDataset,
    split: str,
    preprocessing: Preprocessing,
    batch_size: int,
    scaled: bool = True,
    repeated: bool = False,
    shard: InputShard | None = None,
) -> tf.data.Dataset:
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

    def prepare(image: DecodedImage | EncodedImage, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = preprocessing.evaluation_image(image.whole())
        return preprocessing.scale_images(image) if scaled else image, label

    def make_filler() -> tuple[tf.Tensor, tf.Tensor]:
        return tf.zeros(preprocessing.input_shape), tf.constant(FILLER_LABEL)

    height, width = preprocessing.input_size
    example_bytes = 4 * height * width * preprocessing.channels if repeated else None
    return evaluation_stream(dataset, split, batch_size, prepare, make_filler, example_bytes, shard)
