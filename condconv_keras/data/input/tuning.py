"""Data sets that tf.data does not tune while they are read, and the numbers that it would choose."""

import os

from condconv_keras.utils.lazy import tensorflow as tf

# Of functions of one example. The cores of this process, which a run of several at a time shares with the others.
PARALLEL_CALLS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# Of functions of a batch, and batches that are ready before they are asked for: each takes the memory of one.
PARALLEL_BATCHES = 2


def untuned(dataset):
    """Returns a data set whose iterators end at once.

    The thread that tunes an iterator sleeps between its turns, after two minutes for a minute, and the iterator waits
    for it when it ends. TensorFlow 2.20 wakes the thread before it says that the end has come, so that the thread
    sleeps on: at the end of a training of some minutes the process stood still for half a minute on average.

    Args:
        dataset: `tf.data.Dataset`. Where it has `tf.data.AUTOTUNE` for a number of parallel calls, that is then the
            number of TensorFlow's threads, at most 16; for a number of batches to prefetch, it grows without a limit.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
