"""The one decoder of encoded images: what is checked up front is what training reads."""

import re

from condconv_keras.errors import UserError


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
    import tensorflow as tf

    return tf.io.decode_image(encoded, channels=channels, expand_animations=False)


def read_image(path):
    """Reads one image file with the channels it has, without alpha.

    Args:
        path: JPEG, PNG, BMP or GIF file.

    Returns:
        A uint8 tensor `[height, width, 1 or 3]`.

    Raises:
        UserError: the file cannot be read, or is no such image.
    """
    import tensorflow as tf

    try:
        image = decode_image(tf.io.read_file(str(path)), channels=0)
    except tf.errors.OpError as error:
        raise UserError(f"expected an image, {str(path)!r} is none ({decode_reason(error)})") from error
    return image[..., : 1 if image.shape[-1] < 3 else 3]


def decode_reason(error):
    """Why an image could not be decoded: the first line of a `tf.errors.OpError` without the name of the op."""
    # As in "{{function_node ...}} Input is empty. [Op:DecodeImage]".
    return re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", error.message).split("\n")[0].removesuffix(" name: ").strip(" .")
