import numpy as np
import pytest
from PIL import Image

from condconv_keras.data.formats.damage import damage
from condconv_keras.data.input.decoding import image_of
from condconv_keras.data.sources.image_checks import check_images
from condconv_keras.utils.errors import UserError
from tests.images import encoded

RGB = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
GIF = encoded(Image.fromarray(RGB).quantize(16), "GIF")
WEBP = encoded(RGB, "WEBP", lossless=True)


@pytest.mark.parametrize("content", [GIF, WEBP, encoded(RGB, "PNG"), encoded(RGB, "JPEG")])
def test_good_files(content):
    assert damage(content) is None


def _changed(content, place, value):
    return content[:place] + bytes([value]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # A code that no entry of the table is: TensorFlow shows some pixels.
        (_changed(GIF, GIF.index(b",\0\0\0\0") + 33, 0x55), "the GIF file is damaged: broken data stream"),
        # A part that is shorter than the picture in it.
        (_changed(WEBP, 17, 0), "the WEBP file is damaged: "),
    ],
)
def test_what_tensorflow_passes_over_is_found(content, message, tmp_path):
    assert damage(content).startswith(message)
    with pytest.raises(UserError, match=f"'a' is none .{message}"):
        image_of(content, "a")
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match=message):
        check_images(tmp_path, [str(tmp_path / "a")], skip_bad_images=False, apply_orientation=True)
