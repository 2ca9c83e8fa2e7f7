"""Which classes a network routes alike."""

import numpy as np

from condconv_keras.utils.lazy import LazyModule

hierarchy = LazyModule("scipy.cluster.hierarchy")
spatial = LazyModule("scipy.spatial.distance")


SIMILAR_CLASSES = 3  # The vectors of two, less their mean, are opposite whatever the weights are.


def class_similarity(layers):
    """Compares classes by their mean routing weights.

    A class is the vector of its mean weights of all experts of all layers, less the mean of these vectors over the
    classes: without that, all weights being positive, all classes would look alike. The similarity of two classes is
    the cosine between their vectors, in [-1, 1]; a class that does not differ from the mean has the similarity 0 to
    every other and 1 to itself.

    Args:
        layers: sequence of `LayerStatistics`.

    Returns:
        The indices of the classes with images, int64 [n], in an order that puts similar ones side by side (average
        linkage of 1 - similarity), and their similarity in this order, float64 [n, n].
    """
    seen = np.flatnonzero(layers[0].class_count)
    means = np.concatenate([layer.mean[seen] for layer in layers], axis=1)
    vectors = means - means.mean(axis=0) if len(seen) else means
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    # Rounding leaves a length in the place of 0.
    vectors = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-12)
    similarity = np.clip(vectors @ vectors.T, -1, 1)
    np.fill_diagonal(similarity, 1)
    order = _leaves(1 - similarity)
    return seen[order], similarity[np.ix_(order, order)]


def _leaves(distance):
    """The order of the leaves of the tree of average linkage, from a symmetric distance [n, n]."""
    if len(distance) < 2:
        return np.arange(len(distance))

    return hierarchy.leaves_list(hierarchy.linkage(spatial.squareform(distance, checks=False), method="average"))
