"""Data sets that tf.data does not tune while they are read."""

import os

from condconv_keras.utils.lazy import tensorflow as tf

PARALLEL_CALLS = os.cpu_count()


def untuned(dataset):
    """Returns a data set whose iterators end at once.

    The thread that tunes an iterator sleeps between its turns, after two minutes for a minute, and the iterator waits
    for it when it ends. TensorFlow 2.20 wakes the thread before it says that the end has come, so that the thread
    sleeps on: at the end of a training of some minutes the process stood still for half a minute on average.

    Args:
        dataset: `tf.data.Dataset`. Where it has `tf.data.AUTOTUNE` for a number of parallel calls, that is at most 16;
            `PARALLEL_CALLS` is as many as there are cores.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
