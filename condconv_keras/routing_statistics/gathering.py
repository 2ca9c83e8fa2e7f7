"""One pass over a split: the images that `eval.py` evaluates, with the classes in each of them."""

import numpy as np

from condconv_keras.data import InputShard, evaluation_batches
from condconv_keras.data.input.pipeline import FILLER_LABEL
from condconv_keras.facts.model_card import CLASSIFICATION, DETECTION
from condconv_keras.routing_statistics.examples import ExampleImages
from condconv_keras.routing_statistics.statistics import RoutingStatistics
from condconv_keras.tasks.detection.batches import FILLER_ID, evaluation_detection_batches
from condconv_keras.tasks.progress import with_progress


def gather(routing, card, dataset, split, batch_size, example_layer):
    """Computes the routing weights of every image of a split once, with a progress bar on a terminal.

    Args:
        routing: `RoutingModel`.
        card: `ModelCard` of its model.
        dataset: a data set of the card's task, whose classes are the model's.
        split: name of its split.
        batch_size: int, images at a time; it changes the result by rounding only.
        example_layer: index of the layer whose experts get example images.

    Returns:
        `RoutingStatistics` and `ExampleImages`.
    """
    classes = len(dataset.class_names)
    statistics = RoutingStatistics(routing.layers, dataset.class_names)
    _, experts = routing.layers[example_layer]
    examples = ExampleImages(experts, classes, card.preprocessing.input_shape)
    batches = presence_batches(card.task, dataset, split, card.preprocessing, batch_size)
    for images, presence in with_progress(batches, dataset.splits[split]):
        weights = routing(images)
        statistics.add(weights, presence)
        examples.add(np.asarray(images), weights[example_layer], presence)
    return statistics, examples


def presence_batches(task, dataset, split, preprocessing, batch_size, every=1):
    """Yields the images of a split and the classes in each.

    Args:
        task: of the data set, as of `ModelCard`.
        dataset, split, preprocessing, batch_size: as in `condconv_keras.data.evaluation_batches`.
        every: how many images there are to one that is taken: the first, then each that many further on.

    Yields:
        float32 [batch, height, width, channels] in 0..255 and booleans [batch, classes].
    """
    # The part of one pipeline of so many; what fills up its last batch is left out below.
    shard = InputShard(count=every)
    return _BATCHES[task](dataset, split, preprocessing, batch_size, shard if every > 1 else None)


def class_presence(labels, classes):
    """The one class of each image: booleans [batch, classes] from integer labels [batch]."""
    return np.asarray(labels)[:, None] == np.arange(classes)


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


def _classifier_batches(dataset, split, preprocessing, batch_size, shard):
    for images, labels in evaluation_batches(dataset, split, preprocessing, batch_size, scaled=False, shard=shard):
        presence = class_presence(labels, len(dataset.class_names))
        yield (images, presence) if shard is None else _only(labels != FILLER_LABEL, images, presence)


def _detector_batches(dataset, split, preprocessing, batch_size, shard):
    for images, truth in evaluation_detection_batches(dataset, split, preprocessing, batch_size, shard=shard):
        presence = box_presence(truth, len(dataset.class_names))
        yield (images, presence) if shard is None else _only(truth["image_id"] != FILLER_ID, images, presence)


def _only(counted, *arrays):
    return tuple(np.asarray(array)[np.asarray(counted)] for array in arrays)


_BATCHES = {CLASSIFICATION: _classifier_batches, DETECTION: _detector_batches}
