"""WebP images: still ones, and the first frame of animated ones."""

from condconv_keras.data.formats.file_bytes import check, check_pixels, integers, part
from condconv_keras.utils.lazy import tensorflow as tf

_CONTAINER, _KIND = b"RIFF", b"WEBP"
FIRST_CHUNK = 12  # where the first chunk begins
_EXTENDED, _FRAME, _PICTURES = b"VP8X", b"ANMF", (b"VP8 ", b"VP8L")
_FLAGS, _CANVAS = 20, 24  # where an extended file has them
_IS_ANIMATED = 2
_CHUNK_HEADER, _FRAME_HEADER = 8, 16  # bytes


def is_webp(content):
    """Whether a file, a string scalar, is WebP, as a bool scalar."""
    return (part(content, 0, 4) == _CONTAINER) & (part(content, 8, 4) == _KIND)


def decode_webp(content):
    """Decodes a WebP image, of an animation the first frame; alpha is dropped.

    Args:
        content: string scalar, the file's content.

    Returns:
        A uint8 tensor `[height, width, 3]`; what the first frame of an animation leaves of its canvas is black.

    Raises:
        tf.errors.InvalidArgumentError: when run on a file that ends too soon or is damaged.
    """
    is_extended = part(content, FIRST_CHUNK, 4) == _EXTENDED
    flags = integers(content, _FLAGS, 1, "uint8")[0]
    is_animated = is_extended & (tf.bitwise.bitwise_and(flags, _IS_ANIMATED) > 0)
    return tf.cond(is_animated, lambda: _first_frame(content), lambda: _still(content))


def find_chunk(content, begin, *names):
    """Returns where the first chunk with one of some names begins, or the end of the file or more if there is none.

    Args:
        content: string scalar.
        begin: int32 scalar, where the first chunk to look at begins.
        *names: bytes of 4.
    """
    size = tf.strings.length(content)

    def is_other(begin):
        name = part(content, begin, 4)
        return (begin < size) & tf.reduce_all(name != tf.constant(names))

    def next_chunk(begin):
        # A size of more than the file is damage. It must neither lead back nor overflow.
        length = tf.clip_by_value(integers(content, begin + 4, 1, "int32")[0], 0, size)
        return (begin + _CHUNK_HEADER + length + length % 2,)

    return tf.while_loop(is_other, next_chunk, (tf.convert_to_tensor(begin),))[0]


def _still(content):
    return tf.ensure_shape(tf.io.decode_image(content, expand_animations=False)[..., :3], (None, None, 3))


def _first_frame(content):
    """The first frame on its canvas.

    TensorFlow writes behind its memory where it decodes an animation without alpha. So it is given the frame's picture
    as a still image: the same file, in which the picture comes first and the rest is not looked at.
    """
    frame = find_chunk(content, FIRST_CHUNK, _FRAME)
    picture = find_chunk(content, frame + _CHUNK_HEADER + _FRAME_HEADER, *_PICTURES)
    is_there = check(picture < tf.strings.length(content), "expected a picture in the animated WebP file")
    with tf.control_dependencies([is_there]):
        header = part(content, 0, FIRST_CHUNK)
    rest = part(content, FIRST_CHUNK, picture - FIRST_CHUNK)
    image = _still(tf.strings.join([header, part(content, picture, tf.strings.length(content)), rest]))
    # Numbers of three bytes: offsets in steps of two pixels, and the canvas less one pixel.
    left, top = tf.unstack(2 * _numbers(content, frame + _CHUNK_HEADER))
    width, height = tf.unstack(1 + _numbers(content, _CANVAS))
    with tf.control_dependencies([check_pixels(width, height)]):
        bottom, right = height - top - tf.shape(image)[0], width - left - tf.shape(image)[1]
    return tf.ensure_shape(tf.pad(image, [[top, bottom], [left, right], [0, 0]]), (None, None, 3))


def _numbers(content, begin):
    """Two numbers of three bytes each, the lowest first."""
    return tf.reduce_sum(tf.reshape(integers(content, begin, 6, "uint8"), (2, 3)) * (1, 2**8, 2**16), axis=1)
