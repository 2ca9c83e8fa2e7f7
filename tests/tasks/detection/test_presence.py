import numpy as np

from condconv_keras.tasks.detection import presence


def test_the_classes_of_boxes_are_those_of_boxes_that_are_no_crowd():
    truth = {
        "classes": np.array([[1, 1, 2, 0], [0, 2, 0, 0], [0, 0, 0, 0]]),
        "is_crowd": np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]),
        "count": np.array([3, 2, 0]),
    }
    found = presence.box_presence(truth, 4)
    assert [np.flatnonzero(row).tolist() for row in found] == [[1, 2], [2], []]
