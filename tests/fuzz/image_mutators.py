"""Mutators of image files: how their pixels are stored."""

import io

import numpy as np
from PIL import Image

from tests.fuzz.mutators import named, of_files

IMAGES = (".png", ".jpg", ".bmp", ".gif", ".webp")
_ORIENTATION = 0x0112
# Formats that keep pixels as they are and may state an orientation.
_WITH_EXIF = ({"format": "PNG"}, {"format": "WEBP", "lossless": True})


def _of_pixels(change):
    """Decorates a function of an RGB image and of the random numbers that returns another, and options to save it."""

    def changed_pixels(path, rng):
        try:
            image = Image.open(path).convert("RGB")
            image.info.clear()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return False
        changed, options = change(image, rng)
        content = io.BytesIO()
        changed.save(content, **{"format": "PNG", **options})
        path.write_bytes(content.getvalue())

    return of_files(*IMAGES)(named(changed_pixels, change))


@_of_pixels
def palette(image, rng):
    return image.quantize(rng.choice((2, 4, 16, 256))), {}


@_of_pixels
def palette_with_a_transparent_color(image, rng):
    return image.quantize(16), {"transparency": rng.randrange(16), "format": rng.choice(("PNG", "GIF"))}


@_of_pixels
def gray(image, rng):
    return image.convert("L"), {"format": rng.choice(("PNG", "BMP", "JPEG", "GIF", "WEBP")), "lossless": True}


@_of_pixels
def with_alpha(image, rng):
    image.putalpha(rng.randrange(256))
    # WebP would leave out the color below what is not seen at all.
    return image, {"format": rng.choice(("PNG", "WEBP", "BMP")), "lossless": True, "exact": True}


@_of_pixels
def gray_with_alpha(image, rng):
    image = image.convert("L")
    image.putalpha(rng.randrange(256))
    return image, {}


@_of_pixels
def a_transparent_color(image, rng):
    return image, {"transparency": image.getpixel((0, 0))}


@_of_pixels
def bits_16(image, rng):
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257 ^ rng.randrange(256)), {}


@_of_pixels
def bits_1(image, rng):
    return image.convert("1"), {"format": rng.choice(("PNG", "BMP"))}


@_of_pixels
def a_bitmap(image, rng):
    return image, {"format": "BMP"}


@_of_pixels
def a_palette_bitmap(image, rng):
    return image.quantize(rng.choice((8, 256))), {"format": "BMP"}


@_of_pixels
def a_gif(image, rng):
    return image, {"format": "GIF", "interlace": rng.choice((0, 1))}


@_of_pixels
def an_animation(image, rng):
    others = [Image.new("RGB", image.size, color) for color in ("red", "blue")]
    return image, {"format": rng.choice(("GIF", "WEBP", "PNG")), "save_all": True, "append_images": others} | {
        "lossless": True
    }


@_of_pixels
def webp(image, rng):
    return image, {"format": "WEBP", "lossless": True}


@_of_pixels
def a_jpeg(image, rng):
    return image, {"format": "JPEG", "quality": 95, "subsampling": 0, "progressive": rng.choice((False, True))}


@_of_pixels
def cmyk(image, rng):
    return image.convert("CMYK"), {"format": "JPEG", "quality": 95, "subsampling": 0}


@_of_pixels
def orientation(image, rng):
    exif = Image.Exif()
    exif[_ORIENTATION] = rng.randrange(0, 10)
    return image, {"exif": exif, **rng.choice(_WITH_EXIF)}


@_of_pixels
def orientation_of_a_jpeg(image, rng):
    exif = Image.Exif()
    exif[_ORIENTATION] = rng.randrange(1, 9)
    return image, {"exif": exif, "format": "JPEG", "quality": 95, "subsampling": 0}


@_of_pixels
def one_pixel(image, rng):
    return image.resize((1, 1)), {"format": rng.choice(("PNG", "BMP", "GIF"))}


@_of_pixels
def another_size(image, rng):
    return image.resize((image.width + rng.randrange(-3, 4), image.height)), {}


@_of_pixels
def another_format(image, rng):
    return image, {"format": rng.choice(("TIFF", "PPM", "ICO", "TGA"))}


@of_files(*IMAGES)
def a_web_page(path, rng):
    path.write_text("<html><body>404 Not Found</body></html>")
