"""The routing of a network on some held-out images, measured again and again while it is trained."""

import math

import numpy as np

from condconv_keras.routing_statistics.gathering import presence_batches
from condconv_keras.routing_statistics.routing_model import RoutingModel
from condconv_keras.routing_statistics.statistics import RoutingStatistics

_BATCH = 64
_MEMORY = 2**27  # bytes of the images, which are kept: reading them takes longer than what is measured
_FEWEST = 20


class RoutingSample:
    """Measures the routing of a network on images that are taken evenly over the held-out split.

    The first measurement reads the images and traces the network, as later ones need not. With several workers each
    can measure for itself.

    Args:
        network: Keras model with CondConv layers; measured is what its variables are at the time.
        card: its card.
        dataset: data set of the task.
        images: as many at most, and no more than 128 MiB of them; but 20 at least, where the split has them.
    """

    def __init__(self, network, card, dataset, images):
        self._network = network
        self._card = card
        self._dataset = dataset
        fitting = _MEMORY // (4 * math.prod(card.preprocessing.input_shape))
        self._images = max(min(images, fitting), _FEWEST)
        self._routing = self._batches = None

    def measure(self):
        """Returns the weights, a list of float arrays [images, experts], and a tuple of the `LayerStatistics`.

        Where a weight is not finite it returns None.
        """
        if self._routing is None:
            self._routing = RoutingModel(self._network, self._card.preprocessing)
            self._batches = list(self._read())
        statistics = RoutingStatistics(self._routing.layers, self._dataset.class_names)
        gathered = []
        for images, presence in self._batches:
            weights = self._routing(images)
            if not all(np.isfinite(values).all() for values in weights):
                return None
            statistics.add(weights, presence)
            gathered.append(weights)
        return [np.concatenate(values) for values in zip(*gathered, strict=True)], statistics.layers()

    def _read(self):
        dataset, card = self._dataset, self._card
        split = dataset.evaluation_split
        every = _step(dataset.splits[split], self._images, len(dataset.class_names))
        for images, presence in presence_batches(card.task, dataset, split, card.preprocessing, _BATCH, every):
            if len(images):
                yield np.asarray(images), presence


def _step(examples, images, classes):
    """How many examples there are to one that is taken.

    Where the classes take turns, a step that they share a divisor with would pass over some of them. The next one takes
    fewer images; where these would be too few, the one before takes more.
    """
    every = math.ceil(examples / images)
    while math.gcd(every, classes) > 1:
        every += 1
    if math.ceil(examples / every) < min(_FEWEST, examples):
        every = max(examples // _FEWEST, 1)
        while math.gcd(every, classes) > 1:
            every -= 1
    return every
