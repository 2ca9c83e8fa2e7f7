import numpy as np
import pytest

from condconv_keras.analysis import selection
from condconv_keras.utils.errors import UserError
from tests.analysis.stored import one_layer

LAYERS = ["block_6_routing", "block_7_routing", "block_8_routing", "block_9_routing", "classifier_routing"]


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (4, [0, 1, 3]), (5, [0, 2, 4])])
def test_three_depths(count, expected):
    assert selection.choose_layers(LAYERS[:count], []) == expected


def test_layers_by_name_are_in_the_order_of_depth():
    assert selection.choose_layers(LAYERS, ["classifier_routing", "block_7_routing", "classifier_routing"]) == [1, 4]


def test_classes_by_name_keep_their_order():
    assert selection.choose_classes(("cat", "dog", "eel"), ["eel", "cat", "eel"]) == [2, 0]
    assert selection.choose_classes(("cat", "dog", "eel"), []) == []


def test_unknown_names():
    with pytest.raises(UserError, match=r"unknown layer 'block_6'\. Did you mean 'block_6_routing'"):
        selection.choose_layers(LAYERS, ["block_6"])
    with pytest.raises(UserError, match=r"unknown class 'bird'\. Known: cat, dog"):
        selection.choose_classes(("cat", "dog"), ["bird"])


def test_the_most_frequent_classes():
    assert selection.frequent_classes(np.array([1, 5, 2, 5, 0, 2, 9])) == [6, 1, 3, 2]
    assert selection.frequent_classes(np.array([0, 3, 0])) == [1]
    assert selection.frequent_classes(np.array([0, 0])) == [0]


def test_the_experts_that_differ_most_between_classes():
    first, second = [0.5, 0.1, 0.5, 0.2, 0.9, 0.0], [0.5, 0.9, 0.6, 0.3, 0.1, 0.4]
    assert selection.specific_experts(one_layer([first, second], [0, 1], ["a", "b"])) == [1, 2, 4, 5]
    assert selection.specific_experts(one_layer([[0.5, 0.5]], [0], ["a", "b"])) == [0, 1]
