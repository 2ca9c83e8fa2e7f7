"""The class of each image of a split, for the statistics of the routing."""

import numpy as np

from condconv_keras.data.input.pipeline import FILLER_LABEL, evaluation_batches


def presence_batches(dataset, split, preprocessing, batch_size, shard=None):
    """Yields images and the classes in them, as `Task.presence_batches`."""
    for images, labels in evaluation_batches(dataset, split, preprocessing, batch_size, scaled=False, shard=shard):
        counted = np.asarray(labels != FILLER_LABEL)
        yield np.asarray(images)[counted], class_presence(labels, len(dataset.class_names))[counted]


def class_presence(labels, classes):
    """The one class of each image: booleans [batch, classes] from integer labels [batch]."""
    return np.asarray(labels)[:, None] == np.arange(classes)
