"""BMP images: with a palette or direct colors, of any number of bits.

TensorFlow takes the indices of a palette for gray, and refuses fewer bits than 8, 16 bits, and files that do not end
with the last pixel.
"""

import dataclasses
from typing import Any

from condconv_keras.data.formats.file_bytes import check, integers, part
from condconv_keras.utils.lazy import tensorflow as tf

MAGIC = b"BM"
PALETTE_BITS = (1, 4, 8)
DIRECT_BITS = (16, 24, 32)
_FILE_HEADER = 14  # bytes
_OLD_HEADER = 12  # bytes, of OS/2
_HEADERS = (_OLD_HEADER, 16, 40, 52, 56, 64, 108, 124)
_MASKS_BEGIN = 54
_PLAIN, _WITH_MASKS = 0, (3, 6)  # compressions; the others pack pixels
_BYTE_MASKS = (0xFF0000, 0xFF00, 0xFF)  # red, green, blue
_MASKS_OF_16_BITS = (0x7C00, 0x3E0, 0x1F)
_MAX_SIDE = 2**16
_MAX_COLORS = 2**16  # that a palette may be said to have; more than can be meant is common, this is damage


def decode_bmp(content):
    """Decodes a BMP image; alpha is dropped.

    Args:
        content: string scalar, the file's content.

    Returns:
        A uint8 tensor `[height, width, 3]`.

    Raises:
        tf.errors.InvalidArgumentError: when run on a file that ends too soon, is damaged, or packs its pixels (RLE).
    """
    header = _Header.of(content)
    row_bytes = (header.width * header.bits + 31) // 32 * 4
    with tf.control_dependencies(_checks(content, header, row_bytes)):
        stored = part(content, header.pixels_begin, header.height * row_bytes)
        rows = tf.reshape(tf.io.decode_raw(stored, tf.uint8), (header.height, row_bytes))
    rows = tf.cond(header.is_bottom_up, lambda: tf.reverse(rows, (0,)), lambda: rows)
    masks = _masks(content, header)
    pixels = tf.case(
        [
            (header.bits <= max(PALETTE_BITS), lambda: _by_palette(content, header, rows)),
            (tf.reduce_all(masks == _BYTE_MASKS), lambda: _by_byte(header, rows)),
        ],
        default=lambda: _by_mask(header, rows, masks),
    )
    return tf.ensure_shape(pixels, (None, None, 3))


@dataclasses.dataclass(frozen=True)
class _Header:
    """What a file says of its pixels, scalar tensors: `size` of the header itself and `pixels_begin` are in bytes."""

    size: Any
    pixels_begin: Any
    width: Any
    height: Any
    is_bottom_up: Any
    bits: Any
    compression: Any
    colors: Any

    @classmethod
    def of(cls, content):
        size = integers(content, _FILE_HEADER, 1, "int32")[0]
        is_old = size == _OLD_HEADER
        old = integers(content, _FILE_HEADER + 4, 4, "uint16")  # width, height, planes, bits
        width, height, planes_and_bits, compression, _, _, _, colors = tf.unstack(
            integers(content, _FILE_HEADER + 4, 8, "int32")
        )
        stated_height = tf.where(is_old, old[1], height)
        return cls(
            size=size,
            pixels_begin=integers(content, 10, 1, "int32")[0],
            width=tf.where(is_old, old[0], width),
            height=tf.abs(stated_height),
            is_bottom_up=stated_height > 0,
            bits=tf.where(is_old, old[3], planes_and_bits // 2**16),
            compression=tf.where(is_old, _PLAIN, compression),
            colors=tf.where(is_old, 0, colors),
        )


def _checks(content, header, row_bytes):
    def is_one_of(value, known):
        return tf.reduce_any(value == tf.constant(known))

    is_packed = ~is_one_of(header.compression, (_PLAIN, *_WITH_MASKS))
    is_side = [(side > 0) & (side < _MAX_SIDE) for side in (header.width, header.height)]
    needed = tf.cast(header.pixels_begin, tf.int64) + tf.cast(header.height, tf.int64) * tf.cast(row_bytes, tf.int64)
    is_whole = (header.pixels_begin >= 0) & (needed <= tf.cast(tf.strings.length(content), tf.int64))
    return [
        check(is_one_of(header.size, _HEADERS), "expected a known header of a BMP image, received bytes", header.size),
        check(~is_packed, "expected a BMP image that is not compressed, received compression", header.compression),
        check(
            is_one_of(header.bits, PALETTE_BITS + DIRECT_BITS),
            "expected a BMP image of 1, 4, 8, 16, 24 or 32 bits, received",
            header.bits,
        ),
        check(
            tf.reduce_all(is_side),
            f"expected a BMP image of 1 to {_MAX_SIDE - 1} pixels a side, received width and height",
            header.width,
            header.height,
        ),
        check(
            (header.bits > max(PALETTE_BITS)) | ((header.colors >= 0) & (header.colors <= _MAX_COLORS)),
            f"expected a palette of at most {_MAX_COLORS} colors in the BMP file, received",
            header.colors,
        ),
        check(is_whole, "the BMP file ends before its pixels do"),
    ]


def _by_palette(content, header, rows):
    """The colors that indices of 1, 4 or 8 bits mean, the first index in the highest bits of a byte."""
    shifts = tf.range(8 - header.bits, -1, -header.bits)
    largest = tf.bitwise.left_shift(1, header.bits) - 1
    indices = tf.bitwise.bitwise_and(tf.bitwise.right_shift(tf.cast(rows, tf.int32)[..., tf.newaxis], shifts), largest)
    indices = tf.reshape(indices, (header.height, -1))[:, : header.width]
    return tf.gather(_palette(content, header, 1 + largest), indices)


def _palette(content, header, most):
    """The palette as uint8 `[256, 3]`; colors that the file does not have are black."""
    begin = _FILE_HEADER + header.size
    entry = tf.where(header.size == _OLD_HEADER, 3, 4)  # bytes: blue, green, red, nothing
    stated = tf.where((header.colors > 0) & (header.colors < most), header.colors, most)
    entries = tf.reshape(integers(content, begin, 256 * entry, "uint8"), (256, entry))
    return tf.cast(tf.where(tf.range(256)[:, tf.newaxis] < stated, entries[:, 2::-1], 0), tf.uint8)


def _masks(content, header):
    """The bits of red, green and blue in the number that a pixel is, int64 `[3]`."""
    stated = tf.cast(integers(content, _MASKS_BEGIN, 3, "int32"), tf.int64) % 2**32
    usual = tf.where(header.bits == 16, tf.constant(_MASKS_OF_16_BITS, tf.int64), tf.constant(_BYTE_MASKS, tf.int64))
    return tf.where(header.compression == _PLAIN, usual, stated)


def _by_byte(header, rows):
    """Colors of a byte each: blue, green, red, and in 32 bits one more, which is alpha or nothing."""
    size = header.bits // 8
    return tf.reshape(rows[:, : header.width * size], (header.height, header.width, size))[..., 2::-1]


def _by_mask(header, rows, masks):
    """Colors of any bits, scaled to 0..255 and rounded down."""
    size = header.bits // 8
    stored = tf.reshape(rows[:, : header.width * size], (header.height, header.width, size))
    powers = tf.bitwise.left_shift(tf.constant(1, tf.int64), 8 * tf.range(tf.cast(size, tf.int64)))
    numbers = tf.reduce_sum(tf.cast(stored, tf.int64) * powers, axis=-1, keepdims=True)
    are_there = check(tf.reduce_all(masks > 0), "expected masks of red, green and blue in the BMP file")
    with tf.control_dependencies([are_there]):
        lowest = tf.bitwise.bitwise_and(masks, -masks)
    colors = tf.bitwise.bitwise_and(numbers, masks) // lowest
    return tf.cast(colors * 255 // (masks // lowest), tf.uint8)
