"""One pass over a split: the images that `eval.py` evaluates, with the classes in each of them."""

import numpy as np

from condconv_keras.data import InputShard
from condconv_keras.routing_statistics.examples import ExampleImages
from condconv_keras.routing_statistics.statistics import RoutingStatistics
from condconv_keras.tasks.progress import with_progress
from condconv_keras.tasks.table import get_task


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
    # The part of one pipeline of so many.
    shard = InputShard(count=every) if every > 1 else None
    return get_task(task).presence_batches(dataset, split, preprocessing, batch_size, shard)
