"""BMP files of every kind; what PIL reads in them is what is expected."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from condconv_keras.data.formats.bmp import decode_bmp
from condconv_keras.data.input.decoding import decode_image
from tests.images import encoded

RGB = np.random.default_rng(0).integers(0, 256, (7, 13, 3), dtype=np.uint8)
decode_in_graph = tf.function(decode_bmp, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def _bmp(bits, compression=0, masks=(), top_down=False, header=40, colors=0, extra=b""):
    """A file of 7 rows of 13 pixels of random bits."""
    rng = np.random.default_rng(bits)
    pixels = rng.bytes(7 * ((13 * bits + 31) // 32 * 4))
    between = b"".join(struct.pack("<I", mask) for mask in masks)
    if bits <= 8:
        between = rng.bytes((colors or 2**bits) * (3 if header == 12 else 4))
    if header == 12:
        info = struct.pack("<IHHHH", 12, 13, 7, 1, bits)
    else:
        fields = (header, 13, -7 if top_down else 7, 1, bits, compression, len(pixels), 2835, 2835, colors, 0)
        info = struct.pack("<IiiHHIIiiII", *fields)
        # Later headers have the masks inside.
        between = between.ljust(header - 40, b"\0")
    begin = 14 + len(info) + len(between)
    return b"BM" + struct.pack("<IHHI", begin + len(pixels), 0, 0, begin) + info + between + pixels + extra


FILES = {
    "palette": encoded(Image.fromarray(RGB).quantize(64), "BMP"),
    "gray": encoded(RGB[..., 0], "BMP"),
    "black and white": encoded(Image.fromarray(RGB).convert("1"), "BMP"),
    "RGB": encoded(RGB, "BMP"),
    "1 bit": _bmp(1),
    "4 bits": _bmp(4),
    "8 bits": _bmp(8),
    "8 bits, top down": _bmp(8, top_down=True),
    "8 bits of OS/2": _bmp(8, header=12),
    "4 bits of OS/2": _bmp(4, header=12),
    "16 bits": _bmp(16),
    "16 bits, 5-6-5": _bmp(16, 3, (0xF800, 0x7E0, 0x1F)),
    "24 bits": _bmp(24),
    "24 bits, top down": _bmp(24, top_down=True),
    "24 bits of OS/2": _bmp(24, header=12),
    "24 bits and two bytes more": _bmp(24, extra=b"\0\0"),
    "32 bits": _bmp(32),
    "32 bits with masks": _bmp(32, 3, (0xFF0000, 0xFF00, 0xFF)),
    "32 bits, red first, and alpha": _bmp(32, 3, (0xFF, 0xFF00, 0xFF0000, 0xFF000000), header=56),
    "32 bits, a new header": _bmp(32, 3, (0xFF000000, 0xFF0000, 0xFF00), header=108),
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_pil(name):
    with Image.open(io.BytesIO(FILES[name])) as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.ptp(expected) > 50
    for decode in (decode_in_graph, lambda content: decode_image(content, 3), lambda content: decode_image(content, 0)):
        received = decode(tf.constant(FILES[name])).numpy()
        assert received.dtype == np.uint8
        np.testing.assert_array_equal(received, expected)


def test_a_header_that_there_is_not_is_refused():
    content = FILES["24 bits"]
    for size in (-1, 0, 41, 4096):
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"known header of a BMP image, .*\[{size}\]"):
            decode_bmp(tf.constant(content[:14] + struct.pack("<i", size) + content[18:]))


def test_colors_that_the_palette_lacks_are_black():
    content = _bmp(4, colors=5)
    received = decode_bmp(content).numpy()
    palette = np.frombuffer(content[54 : 54 + 20], np.uint8).reshape(5, 4)[:, 2::-1]
    pixels = np.frombuffer(content[74:], np.uint8).reshape(7, 8)[::-1]
    indices = np.stack([pixels >> 4, pixels & 15], axis=-1).reshape(7, 16)[:, :13]
    assert (indices >= 5).any() and (indices < 5).any()
    np.testing.assert_array_equal(received, np.concatenate([palette, np.zeros((11, 3), np.uint8)])[indices])


def test_a_gray_image_of_colors():
    received = decode_image(FILES["RGB"], 1).numpy()
    np.testing.assert_allclose(received[..., 0], RGB @ np.array([0.2989, 0.587, 0.114]), atol=1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (FILES["palette"][:-1], "the BMP file ends before its pixels do"),
        (FILES["RGB"][:100], "the BMP file ends before its pixels do"),
        (b"BM", "BMP"),
        (_bmp(8, compression=1), "expected a BMP image that is not compressed, received compression] [1"),
        (_bmp(24).replace(struct.pack("<i", 13), struct.pack("<i", -13), 1), "pixels a side"),
        (_bmp(24).replace(struct.pack("<i", 13), struct.pack("<i", 2**31 - 1), 1), "BMP"),
        (_bmp(16, 3, (0, 0, 0)), "masks"),
    ],
)
def test_what_is_refused(content, reason):
    for decode in (decode_bmp, decode_in_graph):
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            decode(tf.constant(content))
        assert reason in error.value.message
