"""Damage of image files that TensorFlow's decoders pass over, found by PIL. This is for places that are no graph."""

import io

from condconv_keras.data.formats import gif
from condconv_keras.utils.errors import one_line
from condconv_keras.utils.lazy import LazyModule

Image = LazyModule("PIL.Image")


def damage(content):
    """Returns what is wrong with an image file that TensorFlow has decoded, as text, or None.

    For codes of a GIF file that mean nothing it makes up pixels; in a WebP file it reads on behind a part's end.

    Args:
        content: bytes.
    """
    if content.startswith(gif.MAGIC):
        return _refusal(content, "GIF", lambda image: image.load())
    if content.startswith(b"RIFF"):
        return _refusal(content, "WEBP", lambda image: None)
    return None


def _refusal(content, name, read):
    try:
        with Image.open(io.BytesIO(content), formats=[name]) as image:
            read(image)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        # What cannot be opened at all is called by the name of an object in memory.
        reason = "not as the format says" if isinstance(error, Image.UnidentifiedImageError) else one_line(error)
        return f"the {name} file is damaged: {reason}"
    return None
