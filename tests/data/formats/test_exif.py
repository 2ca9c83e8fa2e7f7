"""The EXIF orientation of files: what PIL finds in them is what is expected."""

import io
import struct

import pytest
import tensorflow as tf
from PIL import Image

from condconv_keras.data.formats.exif import exif_orientation
from tests.images import encoded, exif, smooth_photo

PHOTO = smooth_photo(6, 9)
in_graph = tf.function(exif_orientation, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def _found(content):
    """What is found eagerly and in a graph, which has to be the same."""
    received = [int(find(tf.constant(content))) for find in (exif_orientation, in_graph)]
    assert received[0] == received[1]
    return received[0]


def _of_pil(content):
    with Image.open(io.BytesIO(content)) as image:
        return image.getexif().get(0x0112, 1)


def _segment(marker, content):
    return b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(content)) + content


def _jpeg(*segments):
    """A JPEG file with segments behind its first one."""
    content = encoded(PHOTO, "JPEG")
    end = 4 + struct.unpack(">H", content[4:6])[0]
    return content[:end] + b"".join(segments) + content[end:]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(file_format, byte_order, orientation):
    content = encoded(PHOTO, file_format, exif=exif(orientation, byte_order))
    assert _of_pil(content) == orientation
    assert _found(content) == orientation


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_a_number_of_32_bits(byte_order):
    content = _jpeg(_segment(0xE1, exif(6, byte_order, "I")))
    assert _found(content) == _of_pil(content) == 6


EXIF = _segment(0xE1, exif(6))
PLACES = {
    "behind a profile, notes and text": (
        _segment(0xE2, bytes(60000)), _segment(0xED, bytes(100)), _segment(0xFE, b"text"), EXIF
    ),
    "behind XMP data": (_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"), EXIF),
    "behind bytes that fill up": (b"\xff\xff\xff", EXIF),
    "before other EXIF data": (EXIF, _segment(0xE0, b"exif"), _segment(0xE1, b"Exifnone")),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_where_a_jpeg_file_has_it(name):
    assert _found(_jpeg(*PLACES[name])) == 6


def test_behind_the_pixels_of_a_png_file():
    content = encoded(PHOTO, "PNG", exif=exif(6))
    begin = content.index(b"eXIf") - 4
    end = begin + 12 + struct.unpack(">I", content[begin : begin + 4])[0]
    last = content.index(b"IEND") - 4
    content = content[:begin] + content[end:last] + content[begin:end] + content[last:]
    assert _found(content) == _of_pil(content) == 6


def test_a_thumbnail_has_none_to_say():
    """The second directory, of the thumbnail, is not looked at."""
    data = bytearray(exif(1))
    data[6 + 8 + 2 + 12 : 6 + 8 + 2 + 14] = struct.pack("<H", 0x0111)  # the tag of another number
    data[-4:] = struct.pack("<I", len(data) - 6)
    data += exif(6)[14:]
    assert _found(_jpeg(_segment(0xE1, bytes(data)))) == 1


DATA = exif(6)
DAMAGED = {
    "no data": b"",
    "prefix only": DATA[:6],
    "no directory": DATA[:14],
    "half a directory": DATA[:20],
    "another byte order": DATA.replace(b"II", b"XX"),
    "no TIFF": DATA.replace(b"II*", b"II+"),
    "a directory elsewhere": DATA[:10] + b"\xf0\xff\xff\x7f" + DATA[14:],
    "a directory before the file": DATA[:10] + b"\xf0\xff\xff\xff" + DATA[14:],
    "no entry": DATA[:14] + b"\0\0" + DATA[16:],
    "orientation 0": exif(0),
    "orientation 9": exif(9),
    "two values": DATA.replace(struct.pack("<HHI", 0x0112, 3, 1), struct.pack("<HHI", 0x0112, 3, 2)),
    "text": DATA.replace(struct.pack("<HHI", 0x0112, 3, 1), struct.pack("<HHI", 0x0112, 2, 1)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_data_state_none(name):
    assert DAMAGED[name] != DATA
    assert _found(_jpeg(_segment(0xE1, DAMAGED[name]))) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"BM",
        b"GIF89a",
        b"a text",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe1",
        b"\xff\xd8" + 300 * b"\xff\xe0\0\2",
        encoded(PHOTO, "PNG")[:40],
        encoded(PHOTO, "WEBP", exif=exif(6))[:100],
        b"RIFF\xff\xff\xff\xffWEBPVP8X\xff\xff\xff\x7f" + bytes(30),
        encoded(PHOTO, "JPEG"),
        encoded(PHOTO, "PNG"),
        encoded(PHOTO, "WEBP"),
    ],
)
def test_other_files_state_none(content):
    assert _found(content) == 1
