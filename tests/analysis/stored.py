"""Stored routing weights of two layers, and what of an analysis is made of them."""

import numpy as np

from condconv_keras.routing_statistics.statistics import RoutingStatistics

LAYERS = (("block_1_routing", 3), ("block_2_routing", 5))
CLASSES = ("cat", "dog", "eel", "fox")
IMAGES = 40


def stored_weights():
    """Weights [IMAGES, experts] of each layer, float32, most of them near 0 or 1, and the classes of the images.

    An image has none, one or two of the classes; none has the class "fox".
    """
    rng = np.random.default_rng(3)
    weights = [rng.beta(0.3, 0.3, (IMAGES, experts)).astype(np.float32) for _, experts in LAYERS]
    presence = rng.random((IMAGES, len(CLASSES))) < 0.4
    presence[:, 3] = False
    assert {0, 1, 2} <= set(presence.sum(axis=1))
    # The second layer depends on the class "cat".
    weights[1][presence[:, 0], 0] *= 0.25
    return weights, presence


def gathered(weights, presence, batch_size, layers=LAYERS, class_names=CLASSES):
    """The `RoutingStatistics` of stored weights in batches of this size."""
    statistics = RoutingStatistics(layers, class_names)
    for start in range(0, len(presence), batch_size):
        rows = slice(start, start + batch_size)
        statistics.add([weight[rows] for weight in weights], presence[rows])
    return statistics


def one_layer(weights, classes, class_names):
    """The `LayerStatistics` of weights [images, experts] with one class an image, a list of indices."""
    weights, presence = np.asarray(weights), np.eye(len(class_names), dtype=bool)[classes]
    layers = [("routing", weights.shape[1])]
    return gathered([weights], presence, len(weights), layers, class_names).layers()[0]
