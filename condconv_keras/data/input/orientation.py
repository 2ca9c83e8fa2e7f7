"""Images and boxes turned as an orientation says.

An orientation is a number of EXIF: an int32 scalar from 1 to 8, how stored pixels are turned to be seen upright. 1: not
at all, 2: mirrored left to right, 3: by half a turn, 4: mirrored top to bottom, 5: rows become columns, 6: by a quarter
to the right, 7: as 5 and then by half a turn, 8: by a quarter to the left.
"""

from condconv_keras.data.formats.exif import UPRIGHT
from condconv_keras.data.formats.file_bytes import subgraph
from condconv_keras.utils.lazy import tensorflow as tf

FIRST_TRANSPOSED = 5  # from here on rows are columns
# For each orientation (there is no 0): whether the order of rows and of columns, exchanged already, is reversed.
_ROWS, _COLUMNS = (3, 4, 7, 8), (2, 3, 6, 7)
_REVERSED = tuple((orientation in _ROWS, orientation in _COLUMNS) for orientation in range(9))


def turned(image, orientation):
    """Returns the image `[height, width, channels]` turned."""

    # The function that all graphs share has no channels of its own.
    shape = (None, None, image.shape[-1])
    return tf.cond(
        orientation == UPRIGHT,
        lambda: tf.identity(image),
        lambda: tf.ensure_shape(_turned(image, orientation), shape),
    )


@subgraph
def _turned(image, orientation):
    rows_first = tf.cond(
        orientation >= FIRST_TRANSPOSED, lambda: tf.transpose(image, (1, 0, 2)), lambda: tf.identity(image)
    )
    return tf.reverse(rows_first, tf.where(tf.gather(_REVERSED, orientation))[:, 0])


def turned_size(size, orientation):
    """Returns the size of the turned image, for int32 [2], the height and width of the stored one."""
    return tf.where(orientation >= FIRST_TRANSPOSED, tf.gather(size, (1, 0)), size)


def stored_window(window, size, orientation):
    """Returns the part of a stored image that is a part of the turned one.

    Args:
        window: int32 [4], the first row and column, and the height and width, of the part of the turned image.
        size: int32 [2], the height and width of the stored image.

    Returns:
        int32 [4], the same of the part of the stored image.
    """
    begin, extent = window[:2], window[2:]
    begin = tf.where(tf.gather(_REVERSED, orientation), turned_size(size, orientation) - begin - extent, begin)
    return tf.concat([turned_size(begin, orientation), turned_size(extent, orientation)], axis=0)


def turned_boxes(boxes, orientation):
    """Returns the boxes of the turned image.

    Args:
        boxes: float `[n, 4]`, (ymin, xmin, ymax, xmax) as fractions of the stored image's height and width.
    """
    rows_first = tf.where(orientation >= FIRST_TRANSPOSED, tf.gather(boxes, (1, 0, 3, 2), axis=1), boxes)
    mirrored = 1 - tf.gather(rows_first, (2, 3, 0, 1), axis=1)
    return tf.where(tf.tile(tf.gather(_REVERSED, orientation), (2,)), mirrored, rows_first)
