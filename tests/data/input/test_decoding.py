"""Encoded images read whole and in part; every encoding is written by PIL."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from condconv_keras.data import AugmentationOptions, Preprocessing, open_dataset, training_batches
from condconv_keras.data.augment.augmentation import get_spatial
from condconv_keras.data.input.decoding import DecodedImage, EncodedImage, decode_image
from condconv_keras.data.sources import image_checks
from tests.data.part_reader import part_reader
from tests.data.races import reasons

WINDOWS = [(0, 0, 90, 121), (11, 13, 40, 70), (16, 32, 33, 64), (85, 100, 5, 21), (3, 3, 1, 1)]


def _photo(height=90, width=121):
    """Smooth colors, as a photograph's."""
    noise = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.BICUBIC)


def _encoded(mode, file_format, **kwargs):
    buffer = io.BytesIO()
    _photo().convert(mode).save(buffer, file_format, **kwargs)
    return buffer.getvalue()


ENCODINGS = {
    "JPEG": _encoded("RGB", "JPEG", quality=90),
    "progressive JPEG": _encoded("RGB", "JPEG", quality=90, progressive=True),
    "full-color JPEG": _encoded("RGB", "JPEG", quality=90, subsampling=0),
    "gray JPEG": _encoded("L", "JPEG"),
    "CMYK JPEG": _encoded("CMYK", "JPEG"),
    "PNG": _encoded("RGB", "PNG"),
    "gray PNG": _encoded("L", "PNG"),
    "alpha PNG": _encoded("RGBA", "PNG"),
    "palette PNG": _encoded("P", "PNG"),
    "BMP": _encoded("RGB", "BMP"),
    "palette BMP": _encoded("P", "BMP"),
    "GIF": _encoded("RGB", "GIF"),
    "WebP": _encoded("RGB", "WEBP"),
    "alpha WebP": _encoded("RGBA", "WEBP"),
}
GRAY = ("JPEG", "gray JPEG", "PNG", "gray PNG")


@pytest.mark.parametrize(
    ("encoding", "channels"), [*((encoding, 3) for encoding in ENCODINGS), *((encoding, 1) for encoding in GRAY)]
)
def test_a_window_is_that_part_of_the_whole_image(encoding, channels):
    image = EncodedImage(ENCODINGS[encoding], (None, None, channels))
    whole = image.whole().numpy()
    assert whole.shape == (90, 121, channels)
    read = part_reader(channels)
    for window in WINDOWS:
        row, column, height, width = window
        expected = whole[row : row + height, column : column + width].astype(int)
        part = read(ENCODINGS[encoding], tf.constant(window))
        assert (part.dtype, part.shape) == (tf.uint8, expected.shape)
        difference = np.abs(part.numpy() - expected)
        if encoding in ("JPEG", "progressive JPEG"):  # colors at half the resolution
            assert difference.max() <= 16
            assert not difference[1:-1, 1:-1].any()
        else:
            assert not difference.any()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_window_is_sampled_from_the_shape_of_the_image(encoding):
    shapes = []
    image = EncodedImage(ENCODINGS[encoding], (None, None, 3))
    image.window(lambda shape: (shapes.append(shape.numpy().tolist()), tf.constant([0, 0, 1, 1]))[1])
    assert shapes == [[90, 121, 3]]


@pytest.mark.parametrize("encoding", ["JPEG", "gray JPEG", "PNG"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_inception_crop_of_encoded_and_decoded_images_is_the_same(encoding, channels):
    preprocessing = Preprocessing((32, 24), channels, 0.0, 1.0)
    image = EncodedImage(ENCODINGS[encoding], (None, None, 3))
    decoded = DecodedImage(image.whole())
    for seed in range(12):
        part, reference = (get_spatial("inception")(source, (seed, 2), preprocessing) for source in (image, decoded))
        np.testing.assert_allclose(part, reference, atol=16)
        assert np.abs(part - reference).mean() < 0.1


@pytest.mark.parametrize("content", [b"", b"no image", ENCODINGS["JPEG"][:100], ENCODINGS["PNG"][:100]])
def test_content_that_is_no_image(content):
    image = EncodedImage(content, (None, None, 3))
    for read in (image.whole, lambda: image.window(lambda shape: tf.constant([0, 0, 1, 1]))):
        with pytest.raises(tf.errors.InvalidArgumentError):
            read()


def _shape():
    function = tf.function(lambda content: tf.shape(decode_image(content, 0)), autograph=False)
    return function.get_concrete_function(tf.TensorSpec([], tf.string))


@pytest.mark.parametrize("traced", [_shape, image_checks._measure], ids=["decoding", "check"])
def test_what_is_wrong_is_told_whatever_runs_beside(traced):
    with io.BytesIO() as file:
        _photo().save(file, "WEBP", lossless=True)
        truncated = file.getvalue()[:1500]

    assert reasons(traced(), [b"a text", truncated]) == {tf.errors.InvalidArgumentError}


def test_only_a_part_of_a_jpeg_is_decoded():
    """What is cut off is below the window."""
    content = ENCODINGS["JPEG"]
    image = EncodedImage(content[: len(content) * 2 // 3], (None, None, 3))
    window = [0, 0, 16, 121]
    expected = EncodedImage(content, (None, None, 3)).window(lambda shape: tf.constant(window))
    np.testing.assert_array_equal(image.window(lambda shape: tf.constant(window)), expected)
    with pytest.raises(tf.errors.InvalidArgumentError):
        image.whole()


def test_the_images_of_a_folder_are_read_in_part(tmp_path):
    """Also a JPEG with the name of a PNG."""
    for split in ("train", "val"):
        path = tmp_path / split / "all" / "0.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(ENCODINGS["JPEG"])
    dataset = open_dataset(tmp_path)
    ((path, _),) = dataset.records("train")
    # By the graph that is enough for it.
    assert dataset.image(path) == EncodedImage(tf.constant(ENCODINGS["JPEG"]), (90, 121, 3), False, True)


def test_training_reads_encoded_images_in_part(tmp_path, monkeypatch):
    for name, content in (("0", ENCODINGS["JPEG"]), ("1", ENCODINGS["PNG"])):
        for split in ("train", "val"):
            path = tmp_path / split / name / "0.jpg"
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
    dataset = open_dataset(tmp_path)
    monkeypatch.setattr("condconv_keras.data.input.streams.CACHE_BYTES", 0)
    windows = []
    read_window = EncodedImage.window
    monkeypatch.setattr(EncodedImage, "window", lambda image, sample: windows.append(1) or read_window(image, sample))
    batches = training_batches(
        dataset, "train", Preprocessing((32, 32), 3, 0.0, 1.0), 2, AugmentationOptions("inception")
    )
    images, labels = next(batches.as_numpy_iterator())
    assert windows
    assert sorted(labels) == [0, 1]
    assert images.std() > 10


def _png(bits, color_type, rows, chunks=(), interlaced=False):
    """A PNG file of rows of bytes, packed as PNG packs them; of interlaced ones of every pass."""
    height, width = 9, 13
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, int(interlaced))
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _rows(bits, channels, seed=0):
    return [np.random.default_rng((seed, i)).bytes((13 * bits * channels + 7) // 8) for i in range(9)]


def _interlaced(pixels):
    """The rows of the seven passes of Adam7, of 8-bit pixels."""
    for row, column, down, right in (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)
    ):  # fmt: skip
        yield from (part.tobytes() for part in pixels[row::down, column::right])


PALETTE = (b"PLTE", np.random.default_rng(5).bytes(3 * 256))
ALPHA = (b"tRNS", np.random.default_rng(6).bytes(256))
PIXELS = np.random.default_rng(7).integers(0, 256, (9, 13, 3), dtype=np.uint8)
PNGS = {
    **{f"{bits} bits of a palette": _png(bits, 3, _rows(bits, 1), [PALETTE]) for bits in (1, 2, 4, 8)},
    **{f"{bits} bits of a palette with alpha": _png(bits, 3, _rows(bits, 1), [PALETTE, ALPHA]) for bits in (2, 8)},
    **{f"{bits} bits of gray": _png(bits, 0, _rows(bits, 1)) for bits in (1, 2, 4, 8)},
    "a transparent gray": _png(8, 0, _rows(8, 1), [(b"tRNS", b"\0\7")]),
    "a transparent color": _png(8, 2, _rows(8, 3), [(b"tRNS", b"\0\7\0\7\0\7")]),
    "gray and alpha": _png(8, 4, _rows(8, 2)),
    "RGB and alpha": _png(8, 6, _rows(8, 4)),
    "16 bits of RGB": _png(16, 2, _rows(16, 3)),
    "16 bits of RGB and alpha": _png(16, 6, _rows(16, 4)),
    "interlaced RGB": _png(8, 2, _interlaced(PIXELS), interlaced=True),
    "interlaced palette": _png(8, 3, _interlaced(PIXELS[..., :1]), [PALETTE], interlaced=True),
}


@pytest.mark.parametrize("name", PNGS)
def test_every_kind_of_png_file_has_the_pixels_of_pil(name):
    with Image.open(io.BytesIO(PNGS[name])) as image:
        # Alpha is dropped, whichever color is below it.
        expected = np.asarray(image.convert("RGBA"))[..., :3]
    received = decode_image(PNGS[name], 3).numpy()
    np.testing.assert_array_equal(received, expected)
    of_any_channels = decode_image(PNGS[name], 0).numpy()
    assert of_any_channels.shape[-1] == (1 if "gray" in name else 3)
    np.testing.assert_array_equal(np.broadcast_to(of_any_channels, expected.shape), expected)


def test_of_16_bits_of_gray_the_upper_8_are_taken():
    """PIL would take 255 for all but the darkest."""
    rows = _rows(16, 1)
    expected = np.frombuffer(b"".join(rows), ">u2").reshape(9, 13, 1) >> 8
    np.testing.assert_array_equal(decode_image(_png(16, 0, rows), 0), expected)


@pytest.mark.parametrize("name", PNGS)
def test_a_truncated_png_file_is_refused(name):
    for kept in (40, len(PNGS[name]) - 30):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode_image(PNGS[name][:kept], 3)


def _with_adobe_marker(content, transform):
    """A JPEG file whose marker of Adobe says another transform, or without the marker."""
    begin = content.index(b"\xff\xee")
    end = begin + 2 + struct.unpack(">H", content[begin + 2 : begin + 4])[0]
    marker = b"" if transform is None else content[begin : end - 1] + bytes([transform])
    return content[:begin] + marker + content[end:]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2}])
def test_cmyk_is_inverted_where_adobe_s_marker_says_so(options):
    content = _encoded("CMYK", "JPEG", quality=95, **options)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
        stored = 255 - np.asarray(image).astype(int)
    assert np.ptp(expected) > 150
    for channels in (0, 3):
        np.testing.assert_allclose(decode_image(content, channels), expected, atol=10)
    cyan_magenta_yellow, black = stored[..., :3], stored[..., 3:]
    as_it_is = (255 - black) * (255 - cyan_magenta_yellow) / 255
    assert np.abs(as_it_is - expected).max() > 100
    np.testing.assert_allclose(decode_image(_with_adobe_marker(content, None), 3), as_it_is, atol=10)


def test_ycck_is_converted():
    """A CMYK file that says that it is YCCK shows other colors, those of PIL."""
    content = _with_adobe_marker(_encoded("CMYK", "JPEG", quality=95), 2)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("RGB"))
    # The chroma of half resolution is interpolated by two libraries.
    np.testing.assert_allclose(decode_image(content, 3), expected, atol=16)
    assert np.abs(decode_image(_encoded("CMYK", "JPEG", quality=95), 3).numpy() - expected.astype(int)).max() > 60


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_gray_and_color_jpegs_have_the_pixels_of_pil(mode):
    content = _encoded(mode, "JPEG", quality=95, subsampling=0)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_allclose(decode_image(content, 3), expected, atol=8)
    assert decode_image(content, 0).shape[-1] == (1 if mode == "L" else 3)
