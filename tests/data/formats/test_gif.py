"""The first image of GIF files; what PIL reads in them is what is expected."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from condconv_keras.data.formats.gif import decode_gif
from tests.images import encoded

decode_in_graph = tf.function(decode_gif, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def _indexed(seed, height=40, width=60):
    """Noise: its data take many blocks."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).quantize(200)


def _rgb(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def _animation(**options):
    return encoded(_indexed(0), "GIF", save_all=True, append_images=[_indexed(1), _indexed(2)], **options)


FILES = {
    "a still image": encoded(_indexed(0), "GIF"),
    "an animation": _animation(duration=100, loop=0),
    "an image that is not interlaced": encoded(_indexed(0), "GIF", interlace=False),
    "a comment": encoded(_indexed(0), "GIF", comment=b"to be passed over" * 50),
    "two colors": encoded(_indexed(0).convert("1"), "GIF"),
    "bytes behind the end": encoded(_indexed(0), "GIF") + b"\0\0more",
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_pil(name):
    expected = _rgb(FILES[name])
    for decode in (decode_gif, decode_in_graph):
        np.testing.assert_array_equal(decode(tf.constant(FILES[name])), expected)


@pytest.mark.parametrize("animated", [False, True])
def test_transparency_is_dropped(animated):
    """A transparent color stays the color that it is."""
    image = _indexed(0)
    (count, index) = max(image.getcolors())
    options = {"save_all": True, "append_images": [_indexed(1)], "disposal": 2} if animated else {}
    content = encoded(image, "GIF", transparency=index, optimize=False, **options)
    with Image.open(io.BytesIO(content)) as reread:
        assert "transparency" in reread.info
    assert count > 5
    for decode in (decode_gif, decode_in_graph):
        np.testing.assert_array_equal(decode(tf.constant(content)), np.asarray(image.convert("RGB")))


def test_what_the_first_image_does_not_cover_is_as_in_pil():
    content = encoded(_indexed(0, 5, 6), "GIF")
    canvas = content[:6] + bytes([8, 0, 9, 0]) + content[10:]  # eight columns and nine rows
    begin = canvas.index(b"," + bytes(4))
    for left, top in ((0, 0), (2, 3)):
        moved = canvas[: begin + 1] + bytes([left, 0, top, 0]) + canvas[begin + 5 :]
        expected = np.zeros((9, 8, 3), np.uint8) + np.frombuffer(content[13:16], np.uint8)  # the first color
        expected[top : top + 5, left : left + 6] = _rgb(content)
        np.testing.assert_array_equal(decode_gif(moved), expected)
        np.testing.assert_array_equal(_rgb(moved), expected)


@pytest.mark.parametrize("kept", [6, 12, 13, 300, 790, 1000, 0.5, 0.9, -3, -2])
def test_a_truncated_file_is_refused(kept):
    content = FILES["a still image"]
    kept = int(kept * len(content)) if isinstance(kept, float) else kept
    for decode in (decode_gif, decode_in_graph):
        with pytest.raises(tf.errors.InvalidArgumentError, match="GIF file"):
            decode(tf.constant(content[:kept]))


def test_an_animation_that_is_cut_behind_its_first_image_shows_that():
    content = FILES["an animation"]
    expected = _rgb(content)
    np.testing.assert_array_equal(decode_gif(content[: len(content) * 2 // 3]), expected)


def test_a_canvas_that_takes_all_memory_is_refused():
    content = FILES["a still image"]
    begin = content.index(b"," + bytes(4))
    for place in (6, begin + 5):
        huge = content[:place] + b"\xff" * 4 + content[place + 4 :]
        with pytest.raises(tf.errors.InvalidArgumentError, match="expected an image of at most 134217728 pixels"):
            decode_gif(tf.constant(huge))
