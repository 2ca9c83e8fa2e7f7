"""The seed of a test."""

import sys

import keras
import pytest


def set_seed(seed):
    """Does what `keras.utils.set_random_seed` does, but TensorFlow's own seed is always 0.

    TensorFlow throws away all that it has compiled when it is given a seed, be it the one that it has. Its seed is for
    operations with a state, and the library has none of them: initial weights, dropout and augmentations follow the
    others.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and tensorflow.compat.v1.get_seed(1) != (0, 1):
        tensorflow.random.set_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        if tensorflow is not None:
            patch.setattr(tensorflow.random, "set_seed", lambda seed: None)
        keras.utils.set_random_seed(seed)
