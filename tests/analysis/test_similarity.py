import numpy as np

from condconv_keras.analysis.similarity import class_similarity
from tests.analysis.stored import one_layer


def test_similar_classes_lie_side_by_side_with_the_cosine_of_their_centered_means():
    means = np.array([[0.9, 0.1, 0.2], [0.1, 0.8, 0.9], [0.8, 0.2, 0.1], [0.2, 0.9, 0.8]])
    layers = [one_layer(part, [0, 2, 3, 4], list("abcde")) for part in (means[:, :2], means[:, 2:])]
    order, similarity = class_similarity(layers)
    assert sorted(order) == [0, 2, 3, 4]  # no image has class 1
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset({0, 3}), frozenset({2, 4})}
    rows = {0: 0, 2: 1, 3: 2, 4: 3}
    for i, first in enumerate(order):
        for j, second in enumerate(order):
            u, v = (means[rows[c]] - means.mean(axis=0) for c in (first, second))
            np.testing.assert_allclose(similarity[i, j], u @ v / np.sqrt((u @ u) * (v @ v)), rtol=1e-10)


def test_a_class_like_the_mean_is_like_no_other():
    order, similarity = class_similarity([one_layer([[0.1], [0.5], [0.9]], [0, 1, 2], list("abc"))])
    by_class = similarity[np.ix_(np.argsort(order), np.argsort(order))]
    np.testing.assert_allclose(by_class, [[1, 0, -1], [0, 1, 0], [-1, 0, 1]], atol=1e-12)


def test_one_class_and_none():
    order, similarity = class_similarity([one_layer([[0.1]], [1], list("ab"))])
    assert order.tolist() == [1] and similarity.tolist() == [[1]]
