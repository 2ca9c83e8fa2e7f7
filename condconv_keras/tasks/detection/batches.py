"""From a data set of images with boxes to batches: training (augmented, matched) and evaluation."""

import numpy as np

from condconv_keras.data.augment.box_augmentation import training_detection_example
from condconv_keras.data.input.decoding import after
from condconv_keras.data.input.streams import ONE_PIPELINE, START, evaluation_stream, training_stream
from condconv_keras.data.sources.clean_boxes import MAX_BOXES
from condconv_keras.tasks.detection.matching import load_matching, match_anchors
from condconv_keras.utils.lazy import tensorflow as tf

FILLER_ID = -(2**63)  # image id of what only fills up a batch and is not counted; those of images are not negative


def training_detection_batches(
    dataset, card, batch_size, augmentation, position=START, shard=ONE_PIPELINE, data_service=None
):
    """Returns endless batches of images and the targets of their anchors.

    What `condconv_keras.data.training_batches` says of order, seeds, shards and the tf.data service holds here too.

    Args:
        dataset: a `DetectionDataset`; its training split is read.
        card: the model's `DetectorCard`.
        batch_size: int, of the whole run.
        augmentation: name, as in `training_detection_example`.
        position, shard, data_service: as in `training_stream`.

    Returns:
        A `tf.data.Dataset` of `(float32 [batch, height, width, channels] scaled, targets)`, the targets a dict as of
        `match_anchors`, [batch, anchors, ...].
    """
    load_matching()
    preprocessing, anchors = card.preprocessing, card.anchor_boxes

    def prepare(image, label, seed):
        image, *boxes = training_detection_example(image.whole(), label, seed, preprocessing, augmentation)
        with after(image):
            return image, match_anchors(anchors, *boxes)

    def finish(images, targets, seeds):
        del seeds
        return images, targets

    made_by = (preprocessing, card.anchors, augmentation)
    return training_stream(
        dataset, dataset.train_split, batch_size, prepare, finish, made_by, position, shard, data_service
    )


def evaluation_detection_batches(dataset, split, preprocessing, batch_size, repeated=False, shard=None):
    """Returns every image of a split exactly once, with its boxes.

    Args:
        dataset: a `DetectionDataset`.
        split, preprocessing, batch_size, repeated, shard: as in `condconv_keras.data.evaluation_batches`. Fillers have
            the image id `FILLER_ID`.

    Returns:
        A `tf.data.Dataset` of `(float32 [batch, height, width, channels] in 0..255, truth)`. The truth is a dict of
        `image_id` int64 [batch], `size` int32 [batch, 2] (the stored image's height and width in pixels), `count` int32
        [batch], and `boxes`, `classes`, `is_crowd` (as int32), `area` as in `DetectionDataset`, filled up to
        `MAX_BOXES`.
    """

    def prepare(image, label):
        image = image.whole()
        count = tf.shape(label["classes"])[0]
        missing = MAX_BOXES - count
        truth = {
            name: tf.ensure_shape(
                tf.pad(label[name], [[0, missing], *([[0, 0]] * (label[name].shape.rank - 1))]),
                (MAX_BOXES, *label[name].shape[1:]),
            )
            for name in ("boxes", "classes", "is_crowd", "area")
        }
        # TensorFlow gathers no booleans from replicas.
        truth["is_crowd"] = tf.cast(truth["is_crowd"], tf.int32)
        truth |= {"image_id": label["image_id"], "size": tf.shape(image)[:2], "count": count}
        return preprocessing.evaluation_image(image), truth

    def make_filler():
        truth = {
            "boxes": tf.zeros([MAX_BOXES, 4]),
            "classes": tf.zeros([MAX_BOXES], tf.int32),
            "is_crowd": tf.zeros([MAX_BOXES], tf.int32),
            "area": tf.zeros([MAX_BOXES]),
            "image_id": tf.constant(FILLER_ID, tf.int64),
            "size": tf.ones([2], tf.int32),
            "count": tf.constant(0),
        }
        return tf.zeros(preprocessing.input_shape), truth

    height, width = preprocessing.input_size
    example_bytes = 4 * height * width * preprocessing.channels if repeated else None
    return evaluation_stream(dataset, split, batch_size, prepare, make_filler, example_bytes, shard)


def unpadded(truth):
    """Returns a batch's truth, NumPy arrays, as `CocoEvaluator.add` takes it, and the rows that are no fillers."""
    rows = np.flatnonzero(truth["image_id"] != FILLER_ID)
    entries = []
    for i in rows:
        count = truth["count"][i]
        entry = {name: truth[name][i][:count] for name in ("boxes", "classes", "is_crowd", "area")}
        entry["is_crowd"] = entry["is_crowd"].astype(bool)
        height, width = truth["size"][i]
        entries.append({**entry, "image_id": truth["image_id"][i], "height": height, "width": width})
    return entries, rows
