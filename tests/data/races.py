"""What is told of damaged files when many threads read them."""

from multiprocessing.pool import ThreadPool

import pytest
import tensorflow as tf


def reasons(read, contents, calls=3000):
    """Returns the set of errors that a function of a file's content raises, called by threads that hold up each other.

    Of calls in which something else ran beside the decoder, one in 180 was told to be cancelled, which data sets do not
    pass over as they do other errors.

    Args:
        read: traced function of a string scalar, which fails.
        contents: list of bytes.
        calls: how often it is called in all.
    """

    def reason(content):
        with pytest.raises(tf.errors.OpError) as error:
            read(content)
        return type(error.value)

    with ThreadPool(6) as pool:
        return set(pool.map(reason, map(tf.constant, contents * (calls // len(contents)))))
