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
_APP0, _APP1, _FILL = 0xFFE0, 0xFFE1, 0xFFFF
_JFIF_LENGTH = 16  # bytes
_TABLES, _FIRST_MARKER, _SCAN, _END_OF_IMAGE = 0xFFDB, 0xFFC0, 0xFFDA, 0xFFD9
_EXIF_CHUNK, _END_CHUNK = (int.from_bytes(name, "big") for name in (b"eXIf", b"IEND"))


def is_png(content):
    """Whether a file, a string scalar, is PNG, as a bool scalar."""
    return part(content, 0, len(_PNG)) == _PNG


def exif_orientation(content):
    """Returns the EXIF orientation of an image file.

    Args:
        content: string scalar, the file's content.

    Returns:
        An int32 scalar from 1 to 8; 1, upright, where the file states none or EXIF data are damaged.
    """
    return tf.case(
        [
            (~tf.io.is_jpeg(content), lambda: orientation_of_no_jpeg(content)),
            (is_plain_jpeg(content), lambda: tf.constant(UPRIGHT)),
        ],
        default=lambda: jpeg_orientation(content),
    )


def is_plain_jpeg(content):
    """Whether a JPEG file, a string scalar, begins as most of those without EXIF data do: JFIF's segment, then tables.

    EXIF data behind the tables, where no standard has them, are not looked for: `jpeg_orientation` takes a tenth of the
    time of decoding a small image.
    """
    numbers = integers(content, 2, 10, "uint16", little_endian=False)
    # Behind the first marker is the length of its segment without the marker.
    expected = (_APP0, _JFIF_LENGTH, _TABLES)
    return tf.reduce_all(tf.gather(numbers, (0, 1, 1 + _JFIF_LENGTH // 2)) == expected)


@subgraph
def jpeg_orientation(content):
    """The orientation of a JPEG file, that of its first segment of EXIF data; as `exif_orientation`."""

    def next_segment(begin, exif):
        del exif
        marker, length, *name = tf.unstack(integers(content, begin, 4, "uint16", little_endian=False))
        is_exif = (marker == _APP1) & (name[0] == 0x4578) & (name[1] == 0x6966)  # "Exif"
        is_last = (marker < _FIRST_MARKER) | (marker == _SCAN) | (marker == _END_OF_IMAGE)
        return begin + tf.where(marker == _FILL, 1, 2 + length), _found(is_exif, is_last, begin + 4)

    return _search(content, 2, next_segment)


@subgraph
def orientation_of_no_jpeg(content):
    """The orientation of a file that is no JPEG, as `exif_orientation`."""
    return tf.case(
        [
            (is_png(content), lambda: _png_orientation(content)),
            (is_webp(content), lambda: _webp_orientation(content)),
        ],
        default=lambda: tf.constant(UPRIGHT),
    )


def _png_orientation(content):
    def next_chunk(begin, exif):
        del exif
        length, name = tf.unstack(integers(content, begin, 2, "int32", little_endian=False))
        is_last = (name == _END_CHUNK) | (name == 0) | (length < 0)
        return begin + 12 + length, _found(name == _EXIF_CHUNK, is_last, begin + 8)

    return _search(content, len(_PNG), next_chunk)


def _webp_orientation(content):
    return _stated(content, find_chunk(content, FIRST_CHUNK, b"EXIF") + 8)


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


@subgraph
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
