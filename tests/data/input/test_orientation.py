"""Images turned as PIL turns them, whole and in part, eagerly and in graphs; boxes turned as the pixels inside."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from condconv_keras.data.formats.exif import exif_orientation
from condconv_keras.data.input.decoding import EncodedImage, decode_image, read_image
from condconv_keras.data.input.orientation import turned, turned_boxes
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.serving.signatures import decode_images
from condconv_keras.utils.errors import UserError
from tests.data.part_reader import part_reader
from tests.images import encoded, exif, smooth_photo

ORIENTATIONS = range(1, 9)
PHOTO = smooth_photo(90, 121)
# Colors that are not stored at half the resolution: what is read in part is equal.
JPEG = {"quality": 95, "subsampling": 0}


def _file(orientation, file_format="JPEG", byte_order="<"):
    options = JPEG if file_format == "JPEG" else {"lossless": True} if file_format == "WEBP" else {}
    return encoded(PHOTO, file_format, exif=exif(orientation, byte_order), **options)


def _upright(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_files_are_turned_as_pil_turns_them(file_format, byte_order, orientation):
    content = _file(orientation, file_format, byte_order)
    expected = _upright(content)
    for turn in range(1, 9):
        other = np.asarray(ImageOps.exif_transpose(_with(turn)))
        same = other.shape == expected.shape and np.abs(other.astype(int) - expected).max() < 20
        assert same == (turn == orientation)
    for channels in (3, 0):
        received = decode_image(tf.constant(content), channels).numpy()
        # The decoders of JPEG files round differently.
        np.testing.assert_allclose(received, expected, atol=6 if file_format == "JPEG" else 0)
    stored = decode_image(tf.constant(content), 3, apply_orientation=False).numpy()
    np.testing.assert_allclose(stored, np.asarray(PHOTO), atol=8 if file_format == "JPEG" else 0)


def _with(orientation):
    image = PHOTO.copy()
    image.getexif()[0x0112] = orientation
    return image


def test_a_jpeg_file_with_its_exif_data_behind_the_tables_is_left_as_it_is():
    """Wherever it is read, in the same way."""
    content = encoded(PHOTO, "JPEG", **JPEG)
    begin = content.index(b"\xff\xc0")
    data = exif(6)
    content = content[:begin] + b"\xff\xe1" + (2 + len(data)).to_bytes(2, "big") + data + content[begin:]
    assert exif_orientation(tf.constant(content)) == 1
    stored = decode_image(tf.constant(content), 3, apply_orientation=False)
    np.testing.assert_array_equal(decode_image(tf.constant(content), 3), stored)
    part = EncodedImage(content, (None, None, 3)).window(lambda shape: tf.concat([[0, 0], shape[:2]], 0))
    np.testing.assert_array_equal(part, stored)


decode_in_graph = tf.function(
    lambda content: decode_image(content, 3), input_signature=[tf.TensorSpec([], tf.string)], autograph=False
)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_graphs_do_the_same(orientation):
    content = tf.constant(_file(orientation))
    np.testing.assert_array_equal(decode_in_graph(content), decode_image(content, 3))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_part_is_that_of_the_turned_image(orientation, channels):
    content = _file(orientation)
    whole = EncodedImage(content, (None, None, channels)).whole().numpy()
    height, width = whole.shape[:2]
    assert (height, width) == ((121, 90) if orientation >= 5 else (90, 121))
    read = part_reader(channels)
    windows = [(0, 0, height, width), (5, 20, 40, 30), (height - 7, 3, 7, 80), (30, width - 11, 33, 11), (2, 1, 1, 1)]
    for row, column, rows, columns in windows:
        expected = whole[row : row + rows, column : column + columns]
        np.testing.assert_array_equal(read(content, tf.constant((row, column, rows, columns))), expected)


def test_a_part_is_sampled_from_the_shape_of_the_turned_image():
    shapes = []

    def sample(shape):
        shapes.append(shape.numpy().tolist())
        return tf.constant([0, 0, 1, 1])

    for apply_orientation in (True, False):
        for file_format in ("JPEG", "PNG"):
            EncodedImage(_file(6, file_format), (None, None, 3), apply_orientation).window(sample)
    assert shapes == [[121, 90, 3], [121, 90, 3], [90, 121, 3], [90, 121, 3]]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_boxes_are_around_the_same_pixels(orientation):
    """A box of ones in an image of zeros."""
    pixels = np.zeros((20, 40, 1), np.uint8)
    pixels[3:8, 11:30] = 1
    boxes = np.array([[3 / 20, 11 / 40, 8 / 20, 30 / 40], [0, 0, 1, 0.5]])
    image = turned(tf.constant(pixels), orientation).numpy()
    ymin, xmin, ymax, xmax = np.round(turned_boxes(boxes, orientation)[0] * np.tile(image.shape[:2], 2)).astype(int)
    assert image.sum() == 5 * 19
    assert image[ymin:ymax, xmin:xmax].sum() == (ymax - ymin) * (xmax - xmin) == 5 * 19


@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_served_model_sees_what_an_evaluation_sees(tmp_path, channels):
    for apply_orientation in (True, False):
        preprocessing = Preprocessing((48, 32), channels, 0.0, 1.0, apply_orientation=apply_orientation)
        files = [*map(_file, ORIENTATIONS), _file(6, "PNG"), _file(8, "WEBP"), encoded(PHOTO.convert("L"), "PNG")]
        expected = []
        for content in files:
            (tmp_path / "image").write_bytes(content)
            expected.append(read_image(tmp_path / "image", apply_orientation))
        decode = tf.function(lambda contents: decode_images(contents, preprocessing), autograph=False)  # noqa: B023
        images, sizes = decode(tf.constant(files))
        np.testing.assert_array_equal(sizes, [image.shape[:2] for image in expected])
        assert (sizes.numpy() == (121, 90)).all(axis=1).sum() == (6 if apply_orientation else 0)
        np.testing.assert_allclose(images, preprocessing.evaluation_images(expected), atol=1e-3)


def test_a_file_that_is_no_image_is_named(tmp_path):
    path = tmp_path / "x.bmp"
    path.write_bytes(encoded(PHOTO.quantize(16), "BMP")[:-5])
    with pytest.raises(UserError, match=rf"^expected an image, '{path}' is none \(the BMP file ends before its pixels"):
        read_image(path)
