"""Encoded images read whole and in part; every encoding is written by PIL."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from condconv_keras.data import AugmentationOptions, Preprocessing, open_dataset, training_batches
from condconv_keras.data.augment.augmentation import get_spatial
from condconv_keras.data.input.decoding import DecodedImage, EncodedImage

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
    "GIF": _encoded("RGB", "GIF"),
}
GRAY = ("JPEG", "gray JPEG", "PNG", "gray PNG")


@pytest.mark.parametrize(
    ("encoding", "channels"), [*((encoding, 3) for encoding in ENCODINGS), *((encoding, 1) for encoding in GRAY)]
)
def test_a_window_is_that_part_of_the_whole_image(encoding, channels):
    image = EncodedImage(ENCODINGS[encoding], (None, None, channels))
    whole = image.whole().numpy()
    assert whole.shape == (90, 121, channels)
    read = tf.function(lambda window: image.window(lambda shape: window), autograph=False)
    for window in WINDOWS:
        row, column, height, width = window
        expected = whole[row : row + height, column : column + width].astype(int)
        part = read(tf.constant(window))
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
    assert dataset.image(path) == EncodedImage(tf.constant(ENCODINGS["JPEG"]), (90, 121, 3))


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
