"""The first image of a GIF file."""

from condconv_keras.data.formats.file_bytes import check, check_pixels, integers, part
from condconv_keras.utils.lazy import tensorflow as tf

MAGIC = b"GIF"
_VERSIONS = (b"GIF87a", b"GIF89a")
# Where the size of the canvas and the flags of the file are, and where its palette begins.
_CANVAS, _SCREEN_FLAGS, _HEADER = 6, 10, 13
_EXTENSION, _IMAGE, _END = b"!", b",", b";"
_CONTROL = 0xF9  # the kind of extension that may state a transparent color
_PLACE, _SIDES, _IMAGE_FLAGS, _IMAGE_HEADER = 1, 5, 9, 10  # the same of an image, from where it begins
_FULL = 255  # bytes of all blocks but the last, as encoders write them


def decode_gif(content):
    """Decodes the first image of a GIF file; transparency is dropped, as alpha is.

    TensorFlow would make transparent pixels black, pass over the end of a file that ends too soon, and cut an image
    that does not cover the canvas. So it is given a file of this image alone, which says nothing of transparency.

    Args:
        content: string scalar, the file's content.

    Returns:
        A uint8 tensor `[height, width, 3]` of the file's canvas. What the image does not cover has its transparent
        color, or the first one of its palette, as PIL reads it.

    Raises:
        tf.errors.InvalidArgumentError: when run on a file that ends before its first image does, or is damaged.
    """
    file_of_image, begin, background = _first_image(content)
    width, height = tf.unstack(integers(content, _CANVAS, 2, "uint16"))
    with tf.control_dependencies([check_pixels(width, height)]):
        image = tf.io.decode_image(file_of_image, 3, expand_animations=False)
    left, top = tf.unstack(integers(content, begin + _PLACE, 2, "uint16"))
    bottom, right = height - top - tf.shape(image)[0], width - left - tf.shape(image)[1]
    padding = [[top, tf.maximum(bottom, 0)], [left, tf.maximum(right, 0)], [0, 0]]
    is_covered = tf.pad(tf.ones_like(image, tf.bool), padding)
    return tf.ensure_shape(tf.where(is_covered, tf.pad(image, padding), background), (None, None, 3))


def _first_image(content):
    """Returns a GIF file of the first image, without extensions, at the upper left; and what belongs to that image.

    That is where it begins in the file, and the color that it shows where it has none, uint8 [3].
    """
    size = tf.strings.length(content)
    data = tf.pad(tf.io.decode_raw(content, tf.uint8), [[0, 1]])  # what lies behind the end is 0

    def at(position):
        return tf.cast(data[tf.minimum(position, size)], tf.int32)

    def after_blocks(position):
        """Where the blocks end that begin at a position: each has its size before it, the last one the size 0."""

        def next_block(position):
            sizes = data[position :: 1 + _FULL]
            full = tf.argmax(tf.concat([tf.cast(sizes < _FULL, tf.int32), [1]], axis=0), output_type=tf.int32)
            return (position + tf.where(full > 0, (1 + _FULL) * full, 1 + at(position)),)

        return 1 + tf.while_loop(lambda position: at(position) > 0, next_block, (position,))[0]

    header_end = _HEADER + _palette_bytes(at(_SCREEN_FLAGS))

    def next_extension(position, transparent):
        is_stated = (at(position + 1) == _CONTROL) & (at(position + 3) % 2 == 1)
        return after_blocks(position + 2), tf.where(is_stated, at(position + 6), transparent)

    image, transparent = tf.while_loop(
        lambda position, _: at(position) == ord(_EXTENSION), next_extension, (header_end, tf.constant(0))
    )
    # Between the palette and the blocks is a byte, the size of the first codes.
    own_palette = _palette_bytes(at(image + _IMAGE_FLAGS))
    end = after_blocks(image + _IMAGE_HEADER + own_palette + 1)
    palette = tf.where(own_palette > 0, image + _IMAGE_HEADER, _HEADER)
    background = tf.cast(integers(content, palette + 3 * transparent, 3, "uint8"), tf.uint8)
    checks = [
        check(
            tf.reduce_any(part(content, 0, len(_VERSIONS[0])) == tf.constant(_VERSIONS)),
            f"expected a GIF file of the versions {' and '.join(map(bytes.decode, _VERSIONS))}",
        ),
        check(at(image) == ord(_IMAGE), "expected an image in the GIF file"),
        check_pixels(*tf.unstack(integers(content, image + _SIDES, 2, "uint16"))),
        check(end <= size, "the GIF file ends before its first image does"),
    ]
    with tf.control_dependencies(checks):
        parts = [part(content, 0, header_end), _IMAGE + bytes(4), part(content, image + 5, end - image - 5), _END]
        return tf.strings.join(parts), image, background


def _palette_bytes(flags):
    """The size of the palette that the flags of a file or an image announce."""
    has_palette = tf.bitwise.bitwise_and(flags, 0x80) > 0
    return tf.where(has_palette, 3 * tf.bitwise.left_shift(2, tf.bitwise.bitwise_and(flags, 7)), 0)
