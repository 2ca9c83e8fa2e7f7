"""The one decoder of encoded images: what is checked up front is what training reads."""

import dataclasses
import os
from typing import Any

from condconv_keras.data.formats import bmp, gif, webp
from condconv_keras.data.formats.damage import damage
from condconv_keras.data.formats.exif import is_plain_jpeg, is_png, jpeg_orientation, orientation_of_no_jpeg
from condconv_keras.data.formats.file_bytes import check, part, subgraph
from condconv_keras.data.input.orientation import stored_window, turned, turned_size
from condconv_keras.utils.errors import UserError, op_reason
from condconv_keras.utils.lazy import tensorflow as tf


def is_common(content):
    """Whether a file, a string scalar, is in one of the formats that TensorFlow decodes alone: JPEG or PNG."""
    return tf.io.is_jpeg(content) | is_png(content)


def decode_image(encoded, channels, apply_orientation=True, only_common=False):
    """Decodes a JPEG, PNG, BMP, GIF or WebP image, of an animation the first frame, by graph operations alone.

    Palettes are applied; transparency (alpha, or that of a color) is dropped, which leaves the color below it; of 16
    bits the upper 8 are taken; CMYK is converted, inverted where Adobe's marker says that it is stored so.

    Args:
        encoded: string scalar, the file's content.
        channels: 1 (gray), 3 (RGB), or 0 for 1 where a JPEG or PNG file has gray pixels, else 3.
        apply_orientation: whether the pixels are turned as the EXIF orientation of a JPEG, PNG or WebP file says.
        only_common: whether formats other than those of `is_common` are refused: the others take a graph that is
            built and made ready in half a second. Without either the graph is one operation.

    Returns:
        A uint8 tensor `[height, width, channels]`.

    Raises:
        tf.errors.OpError: when run on content that is truncated, corrupt or of another format.
    """
    return tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: _decode_jpeg(encoded, channels, apply_orientation),
        lambda: _decode_no_jpeg(encoded, channels, apply_orientation, only_common),
    )


def _decode_jpeg(encoded, channels, apply_orientation):
    image = _decode(encoded, channels)
    if not apply_orientation:
        return image
    is_upright = is_plain_jpeg(encoded)
    return tf.cond(is_upright, lambda: tf.identity(image), lambda: _turned_as(image, encoded, jpeg_orientation))


def _decode_no_jpeg(encoded, channels, apply_orientation, only_common):
    if only_common:
        image = _decode_png(encoded, channels)
    else:
        image = tf.cond(
            is_png(encoded), lambda: _decode(encoded, channels), lambda: _of_rgb(_decode_other(encoded), channels)
        )
    return _turned_as(image, encoded, orientation_of_no_jpeg) if apply_orientation else image


def _turned_as(image, encoded, orientation):
    """The image turned as a function of its file says."""
    with after(image):
        return turned(image, orientation(encoded))


def after(decoded):
    """Returns a context whose operations wait for what a decoder yields, a tensor.

    What ran beside a decoder that fails would be stopped, and that could be told instead of what is wrong.
    """
    return tf.control_dependencies([decoded])


def _decode(encoded, channels):
    """Decodes a JPEG or PNG image."""
    image = tf.io.decode_image(encoded, channels, expand_animations=False)
    # Of channels as they are stored, gray or RGB.
    return image if channels else image[..., : tf.where(tf.shape(image)[-1] < 3, 1, 3)]


def _decode_png(encoded, channels):
    # What has become another file since would be decoded in another way.
    with tf.control_dependencies([check(is_png(encoded), "expected a JPEG or PNG file, as when it was checked")]):
        return _decode(encoded, channels)


@subgraph
def _decode_other(encoded):
    """Decodes an image that is no JPEG and no PNG as RGB."""
    return tf.case(
        [
            (part(encoded, 0, len(bmp.MAGIC)) == bmp.MAGIC, lambda: bmp.decode_bmp(encoded)),
            (part(encoded, 0, len(gif.MAGIC)) == gif.MAGIC, lambda: gif.decode_gif(encoded)),
            (webp.is_webp(encoded), lambda: webp.decode_webp(encoded)),
        ],
        # TensorFlow says what is wrong with the content.
        default=lambda: tf.io.decode_image(encoded, 3, expand_animations=False),
    )


def _of_rgb(image, channels):
    return tf.image.rgb_to_grayscale(image) if channels == 1 else image


@dataclasses.dataclass(frozen=True)
class DecodedImage:
    """An image in memory.

    Attributes:
        pixels: uint8 or float tensor `[height, width, channels]`.
    """

    pixels: Any

    def whole(self):
        """Returns the image `[height, width, channels]`."""
        return self.pixels

    def window(self, sample):
        """Returns a part of the image.

        Args:
            sample: function of the image's shape, an int32 tensor [3], that returns the part's first row and column
                and its height and width as an int32 tensor [4].
        """
        row, column, height, width = tf.unstack(sample(tf.shape(self.pixels)))
        return self.pixels[row : row + height, column : column + width]


@dataclasses.dataclass(frozen=True)
class EncodedImage:
    """An image in a format of `decode_image` that is not decoded yet.

    Attributes:
        encoded: string scalar, the file's content.
        shape: `(height, width, channels)` of the decoded image; height and width are None if unknown.
        apply_orientation, only_common: as in `decode_image`.
    """

    encoded: Any
    shape: tuple[int | None, int | None, int]
    apply_orientation: bool = True
    only_common: bool = False

    def whole(self):
        """Returns the image as uint8 `[height, width, channels]`; `decode_image` says what is raised."""
        image = decode_image(self.encoded, self.shape[-1], self.apply_orientation, self.only_common)
        return tf.ensure_shape(image, self.shape)

    def window(self, sample):
        """Returns a part of the image as uint8, decoding no more of a JPEG than that takes.

        The part is that of the whole image but for a line of pixels at its border, where the colors of a JPEG, which
        are stored at half the resolution, are interpolated from what is decoded. Damage of a JPEG beyond the part is
        not noticed.

        Args:
            sample: as in `DecodedImage.window`.
        """
        channels = self.shape[-1]

        def window_in(size):
            # The channels that a JPEG says it has are those of the file: `sample` gets those of the decoded image.
            return sample(tf.concat([size, [channels]], axis=0))

        def decode_part():
            size = tf.io.extract_jpeg_shape(self.encoded)[:2]

            def stored_part():
                return tf.io.decode_and_crop_jpeg(self.encoded, window_in(size), channels=channels)

            def turned_part():
                orientation = jpeg_orientation(self.encoded)
                window = stored_window(window_in(turned_size(size, orientation)), size, orientation)
                return turned(tf.io.decode_and_crop_jpeg(self.encoded, window, channels=channels), orientation)

            if not self.apply_orientation:
                return stored_part()
            return tf.cond(is_plain_jpeg(self.encoded), stored_part, turned_part)

        return tf.cond(tf.io.is_jpeg(self.encoded), decode_part, lambda: DecodedImage(self.whole()).window(sample))


def read_image(path, apply_orientation=True):
    """Reads one image file as gray or RGB pixels, whichever it has; `decode_image` says what becomes of them.

    Args:
        path: file in a format of `decode_image`.
        apply_orientation: as there.

    Returns:
        A uint8 tensor `[height, width, 1 or 3]`.

    Raises:
        UserError: the file cannot be read, or is no such image.
    """
    try:
        encoded = tf.io.read_file(os.fsencode(path))
    except tf.errors.OpError as error:
        raise UserError(f"expected an image, {str(path)!r} cannot be read ({op_reason(error)})") from error
    return image_of(encoded, path, apply_orientation)


def image_of(encoded, name, apply_orientation=True):
    """Returns the image of a file's content, as `read_image` does.

    Args:
        encoded: bytes or string scalar.
        name: what it is called in the message of a `UserError`.
        apply_orientation: as in `decode_image`.
    """
    encoded = tf.convert_to_tensor(encoded)
    try:
        image = decode_image(encoded, 0, apply_orientation)
        problem = damage(encoded.numpy())
    except tf.errors.OpError as error:
        problem = op_reason(error)
    if problem is not None:
        raise UserError(f"expected an image, {str(name)!r} is none ({problem})")
    return image
