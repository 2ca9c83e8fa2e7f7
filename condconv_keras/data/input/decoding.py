"""The one decoder of encoded images: what is checked up front is what training reads."""

import dataclasses
import os
from typing import Any

from condconv_keras.utils.errors import UserError, op_reason
from condconv_keras.utils.lazy import tensorflow as tf


def decode_image(encoded, channels):
    """Decodes a JPEG, PNG, BMP or GIF (its first frame) image.

    Args:
        encoded: string scalar, the file's content.
        channels: 1 (gray) or 3 (RGB): gray, palette and alpha images are converted, alpha is dropped; 0: as stored.

    Returns:
        A uint8 tensor `[height, width, channels]`.

    Raises:
        tf.errors.OpError: when run on content that is truncated, corrupt or of another format.
    """
    return tf.io.decode_image(encoded, channels=channels, expand_animations=False)


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
    """A JPEG, PNG, BMP or GIF image that is not decoded yet.

    Attributes:
        encoded: string scalar, the file's content.
        shape: `(height, width, channels)` of the decoded image; height and width are None if unknown.
    """

    encoded: Any
    shape: tuple[int | None, int | None, int]

    def whole(self):
        """Returns the image as uint8 `[height, width, channels]`; `decode_image` says what is raised."""
        return tf.ensure_shape(decode_image(self.encoded, self.shape[-1]), self.shape)

    def window(self, sample):
        """Returns a part of the image as uint8, decoding no more of a JPEG than that takes.

        The part is that of the whole image but for a line of pixels at its border, where the colors of a JPEG, which
        are stored at half the resolution, are interpolated from what is decoded. Damage of a JPEG beyond the part is
        not noticed.

        Args:
            sample: as in `DecodedImage.window`.
        """
        channels = self.shape[-1]

        def decode_part():
            # The channels are those of the file: what `sample` gets is the shape of the decoded image.
            size = tf.io.extract_jpeg_shape(self.encoded)[:2]
            window = sample(tf.concat([size, [channels]], axis=0))
            return tf.io.decode_and_crop_jpeg(self.encoded, window, channels=channels)

        return tf.cond(tf.io.is_jpeg(self.encoded), decode_part, lambda: DecodedImage(self.whole()).window(sample))


def read_image(path):
    """Reads one image file with the channels it has, without alpha.

    Args:
        path: JPEG, PNG, BMP or GIF file.

    Returns:
        A uint8 tensor `[height, width, 1 or 3]`.

    Raises:
        UserError: the file cannot be read, or is no such image.
    """
    try:
        image = decode_image(tf.io.read_file(os.fsencode(path)), channels=0)
    except tf.errors.OpError as error:
        raise UserError(f"expected an image, {str(path)!r} is none ({op_reason(error)})") from error
    return image[..., : 1 if image.shape[-1] < 3 else 3]
