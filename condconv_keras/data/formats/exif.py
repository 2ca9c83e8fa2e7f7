"""The orientation that the EXIF data of a JPEG, PNG or WebP file state.

It says how the stored pixels are to be turned to be seen as they were meant (`condconv_keras.data.input.orientation`).
"""

from condconv_keras.data.formats.file_bytes import integers, part, subgraph
from condconv_keras.data.formats.webp import FIRST_CHUNK, find_chunk, is_webp
from condconv_keras.utils.lazy import tensorflow as tf

UPRIGHT = 1  # the orientation of an image that is seen as it is stored
_PNG = b"\x89PNG\r\n\x1a\n"
_PREFIX = b"Exif\0\0"
_LITTLE_ENDIAN, _BIG_ENDIAN = b"II*\0", b"MM\0*"
_ORIENTATION = 0x0112  # tag
_SHORT, _LONG = 3, 4  # types
# More parts of a file are not looked at, so that no file of many empty ones holds up the others.
_MAX_PARTS = 4096
# The numbers that the names of segments and chunks are.
_APP1, _FILL = 0xFFE1, 0xFFFF
_FIRST_APP, _FIRST_MARKER, _SCAN, _END_OF_IMAGE = 0xFFE0, 0xFFC0, 0xFFDA, 0xFFD9
_EXIF_CHUNK, _END_CHUNK = (int.from_bytes(name, "big") for name in (b"eXIf", b"IEND"))


def exif_orientation(content):
    """Returns the EXIF orientation of an image file.

    Args:
        content: string scalar, the file's content.

    Returns:
        An int32 scalar from 1 to 8; 1, upright, where the file states none or EXIF data are damaged.
    """
    return tf.cond(
        tf.io.is_jpeg(content), lambda: jpeg_orientation(content), lambda: orientation_of_other_formats(content)
    )


def jpeg_orientation(content):
    """The orientation of a JPEG file, in its first segment of EXIF data; as `exif_orientation`.

    EXIF data belong to the segments of applications, which come first. An ordinary file has one, which is none of EXIF
    data, and then its tables: more is not looked at, as it would take as long as decoding a small image.
    """
    marker, length = tf.unstack(integers(content, 2, 2, "uint16", little_endian=False))
    next_marker = integers(content, 4 + length, 1, "uint16", little_endian=False)[0]
    may_have_exif = (marker == _APP1) | (marker == _FILL) | (next_marker >= _FIRST_APP)
    return tf.cond(may_have_exif, lambda: _jpeg_with_more(content), lambda: tf.constant(UPRIGHT))


@subgraph
def _jpeg_with_more(content):
    def next_segment(begin, exif):
        del exif
        marker, length, *name = tf.unstack(integers(content, begin, 4, "uint16", little_endian=False))
        is_exif = (marker == _APP1) & (name[0] == 0x4578) & (name[1] == 0x6966)  # "Exif"
        is_last = (marker < _FIRST_MARKER) | (marker == _SCAN) | (marker == _END_OF_IMAGE)
        return begin + tf.where(marker == _FILL, 1, 2 + length), _found(is_exif, is_last, begin + 4)

    return _search(content, 2, next_segment)


def orientation_of_other_formats(content):
    """The orientation of a file that is no JPEG; as `exif_orientation`."""
    return tf.cond(
        part(content, 0, len(_PNG)) == _PNG, lambda: _png_orientation(content), lambda: _webp_orientation(content)
    )


@subgraph
def _png_orientation(content):
    def next_chunk(begin, exif):
        del exif
        length, name = tf.unstack(integers(content, begin, 2, "int32", little_endian=False))
        is_last = (name == _END_CHUNK) | (name == 0) | (length < 0)
        return begin + 12 + length, _found(name == _EXIF_CHUNK, is_last, begin + 8)

    return _search(content, len(_PNG), next_chunk)


@subgraph
def _webp_orientation(content):
    return tf.cond(
        is_webp(content),
        lambda: _stated(content, find_chunk(content, FIRST_CHUNK, b"EXIF") + 8),
        lambda: tf.constant(UPRIGHT),
    )


def _found(is_exif, is_last, begin):
    """What `_search` is told of a part of a file: where its EXIF data begin, -1 where none can come, else 0."""
    return tf.where(is_exif, begin, tf.where(is_last, -1, 0))


def _search(content, begin, next_part):
    """The orientation in the EXIF data that come first in a file.

    Args:
        content: string scalar.
        begin: int, where the first part begins.
        next_part: function of where a part begins and of 0 that returns where the next one does, and `_found`.
    """
    _, exif = tf.while_loop(
        lambda _, exif: exif == 0, next_part, (tf.constant(begin), tf.constant(0)), maximum_iterations=_MAX_PARTS
    )
    return tf.cond(exif > 0, lambda: _stated(content, exif), lambda: tf.constant(UPRIGHT))


def _stated(content, begin):
    """The orientation that EXIF data state which begin there, with or without their prefix."""
    begin += tf.where(part(content, begin, len(_PREFIX)) == _PREFIX, len(_PREFIX), 0)
    byte_order = part(content, begin, 4)
    return tf.case(
        [
            (byte_order == _LITTLE_ENDIAN, lambda: _in_directory(content, begin, True)),
            (byte_order == _BIG_ENDIAN, lambda: _in_directory(content, begin, False)),
        ],
        default=lambda: tf.constant(UPRIGHT),
    )


def _in_directory(content, begin, little_endian):
    """The orientation in the first directory of a TIFF structure that begins there."""
    offset = integers(content, begin + 4, 1, "int32", little_endian)[0]
    directory = begin + offset
    # It lies behind the structure's header; damaged data may say another place.
    count = tf.where(offset > 0, integers(content, directory, 1, "uint16", little_endian)[0], 0)
    # An entry is a tag, a type, how many values there are (32 bits) and, if they fit into 32 bits, the values.
    numbers = integers(content, directory + 2, 6 * tf.maximum(count, 1), "uint16", little_endian)
    tag, kind, count_1, count_2, value_1, value_2 = tf.unstack(tf.reshape(numbers, (-1, 6))[:count], axis=1)
    value = value_1 if little_endian else tf.where(kind == _LONG, value_2, value_1)
    is_number = ((kind == _SHORT) | (kind == _LONG)) & (count_1 + count_2 == 1)
    is_stated = (tag == _ORIENTATION) & is_number & (value >= 1) & (value <= 8)
    return tf.concat([tf.boolean_mask(value, is_stated), [UPRIGHT]], axis=0)[0]
