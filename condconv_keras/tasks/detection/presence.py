"""The classes that each image of a split has boxes of, for the statistics of the routing."""

import numpy as np

from condconv_keras.tasks.detection.batches import FILLER_ID, evaluation_detection_batches


def presence_batches(dataset, split, preprocessing, batch_size, shard=None):
    """Yields images and the classes in them, as `Task.presence_batches`."""
    for images, truth in evaluation_detection_batches(dataset, split, preprocessing, batch_size, shard=shard):
        counted = np.asarray(truth["image_id"] != FILLER_ID)
        yield np.asarray(images)[counted], box_presence(truth, len(dataset.class_names))[counted]


def box_presence(truth, classes):
    """The classes of which an image has a box that is no crowd: booleans [batch, classes].

    Args:
        truth: dict of arrays as of `evaluation_detection_batches`.
        classes: number of classes.
    """
    of_boxes, is_crowd, count = (np.asarray(truth[name]) for name in ("classes", "is_crowd", "count"))
    rows, boxes = np.nonzero((np.arange(of_boxes.shape[1]) < count[:, None]) & (is_crowd == 0))
    presence = np.zeros((len(count), classes), bool)
    presence[rows, of_boxes[rows, boxes]] = True
    return presence
