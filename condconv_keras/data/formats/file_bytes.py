"""The bytes of a file in a graph: parts of them, numbers in them, and what is said where they are not as expected."""

import functools

from condconv_keras.utils.lazy import tensorflow as tf

# Of an image whose file need not have bytes for each: a damaged or malicious one would take the machine's memory.
MAX_PIXELS = 2**27


def subgraph(function):
    """Makes a function of tensors one of its own in graphs, which is built once for all of them.

    Each graph that decodes images would else take longer to build than a small data set takes to read. What no image
    needs is not even prepared to run.

    Args:
        function: function of tensors, the first one the content of a file or the pixels of an image.
    """

    @functools.cache
    def traced():
        return tf.function(
            function, autograph=False, reduce_retracing=True, experimental_attributes={"_noinline": True}
        )

    @functools.wraps(function)
    def call(*tensors):
        return function(*tensors) if tf.executing_eagerly() else traced()(*tensors)

    return call


def part(content, begin, size):
    """Returns a part of a file, of fewer bytes where the file ends before.

    Args:
        content: string scalar.
        begin: int32 scalar, the first byte; one outside of the file means its nearest end.
        size: int32 scalar, at least 0.
    """
    return tf.strings.substr(content, tf.clip_by_value(begin, 0, tf.strings.length(content)), size)


def integers(content, begin, count, dtype, little_endian=True):
    """Returns int32 `[count]`, numbers in a file; bytes behind its end are zeros.

    Args:
        content, begin: as in `part`.
        count: int32 scalar, at least 1.
        dtype: of the numbers, `"uint8"`, `"uint16"` or `"int32"`.
        little_endian: whether the lowest byte of a number comes first.
    """
    dtype = tf.as_dtype(dtype)
    size = count * dtype.size
    return tf.cast(tf.io.decode_raw(part(content, begin, size), dtype, little_endian, fixed_length=size), tf.int32)


def check_pixels(width, height):
    """Returns an operation that fails as `check` for an image of more than `MAX_PIXELS`, int32 scalars."""
    pixels = tf.cast(width, tf.int64) * tf.cast(height, tf.int64)
    return check(pixels <= MAX_PIXELS, f"expected an image of at most {MAX_PIXELS} pixels, received", pixels)


def check(condition, message, *received):
    """Returns an operation that fails with an `InvalidArgumentError` unless a condition holds; run eagerly, it fails.

    Args:
        condition: bool scalar.
        message: text.
        *received: tensors, which the message shows at its end.
    """
    # `tf.debugging.Assert` says other things when it runs eagerly.
    return tf.raw_ops.Assert(condition=condition, data=[message, *received], summarize=8)
