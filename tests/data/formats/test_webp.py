"""WebP files; what PIL reads in them is what is expected."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from condconv_keras.data.formats.webp import decode_webp
from condconv_keras.data.input.decoding import decode_image
from tests.images import encoded, smooth_photo

decode_in_graph = tf.function(decode_webp, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def _photo(seed, mode="RGB"):
    image = smooth_photo(24, 31, seed)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 31), dtype=np.uint8)))
    return image


def _animation(mode, **options):
    frames = [_photo(seed, mode) for seed in range(3)]
    return encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], **options)


FILES = {
    "lossless": encoded(_photo(0), "WEBP", lossless=True),
    "lossy": encoded(_photo(0), "WEBP"),
    "alpha, lossless": encoded(_photo(0, "RGBA"), "WEBP", lossless=True, exact=True),
    "alpha, lossy": encoded(_photo(0, "RGBA"), "WEBP"),
    "EXIF data": encoded(_photo(0), "WEBP", lossless=True, exif=b"Exif\0\0none"),
    "an animation": _animation("RGB", lossless=True),
    "a lossy animation": _animation("RGB"),
    "an animation with alpha": _animation("RGBA", lossless=True, exact=True),
    "a lossy animation with alpha": _animation("RGBA"),
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_pil_without_alpha(name):
    with Image.open(io.BytesIO(FILES[name])) as image:
        expected = np.asarray(image)[..., :3]
    if "loss" in name and "lossy" not in name:
        np.testing.assert_array_equal(expected, np.asarray(_photo(0)))
    for decode in (decode_webp, decode_in_graph, lambda content: decode_image(content, 3)):
        np.testing.assert_array_equal(decode(tf.constant(FILES[name])), expected)


def test_a_first_frame_that_is_smaller_than_the_canvas():
    """The canvas of a file of one small frame made larger, and the frame moved."""
    content = bytearray(_animation("RGB", lossless=True))
    content[24:30] = bytes([39, 0, 0, 29, 0, 0])  # 40 columns, 30 rows
    frame = content.index(b"ANMF")
    content[frame + 8 : frame + 14] = bytes([3, 0, 0, 2, 0, 0])  # 6 columns, 4 rows
    expected = np.zeros((30, 40, 3), np.uint8)
    expected[4:28, 6:37] = np.asarray(_photo(0))
    for decode in (decode_webp, decode_in_graph):
        np.testing.assert_array_equal(decode(tf.constant(bytes(content))), expected)


@pytest.mark.parametrize("name", ["lossless", "alpha, lossy", "an animation", "a lossy animation with alpha"])
@pytest.mark.parametrize("kept", [12, 0.3, -10])
def test_a_truncated_file_is_refused(name, kept):
    content = FILES[name]
    kept = int(kept * len(content)) if isinstance(kept, float) else kept
    for decode in (decode_webp, decode_in_graph):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(tf.constant(content[:kept]))
