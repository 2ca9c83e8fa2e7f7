import numpy as np

from condconv_keras.tasks.classification import presence


def test_the_classes_of_labels():
    found = presence.class_presence(np.array([2, 0], np.int32), 3)
    assert found.tolist() == [[False, False, True], [True, False, False]]
