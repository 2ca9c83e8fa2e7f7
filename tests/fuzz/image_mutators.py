"""Mutators of image files: where they lie, what they are called, and how their pixels are stored."""

import io
import os

import numpy as np
from PIL import Image

from tests.fuzz.mutators import IMAGES, named, of_files


# Folders of images.
@of_files(*IMAGES)
def a_hidden_file(path, rng):
    path.with_name(".hidden.png").write_bytes(b"no image")


@of_files(*IMAGES)
def a_text_beside(path, rng):
    path.with_name("README.md").write_text("no image")


@of_files(*IMAGES)
def ending_in_capitals(path, rng):
    path.rename(path.with_suffix(path.suffix.upper()))


@of_files(*IMAGES)
def a_name_with_spaces(path, rng):
    path.rename(path.with_name(f"a 'name' of {path.name}"))


@of_files(*IMAGES)
def a_name_that_is_not_utf8(path, rng):
    os.rename(os.fsencode(path), os.fsencode(path.parent) + b"/caf\xe9" + os.fsencode(path.suffix))


@of_files(*IMAGES)
def a_name_of_other_letters(path, rng):
    path.rename(path.with_name(f"été {path.name}"))


@of_files(*IMAGES)
def behind_a_link(path, rng):
    target = path.parent.parent / ".stored" / path.name
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    path.symlink_to(target)


@of_files(*IMAGES)
def a_link_that_leads_back(path, rng):
    link = path.parent / "again"
    if link.is_symlink():
        return False
    link.symlink_to(path.parent, target_is_directory=True)


@of_files(*IMAGES)
def a_link_to_nothing(path, rng):
    link = path.with_name(f"lost-{path.name}")
    if link.is_symlink():
        return False
    link.symlink_to("nowhere.png")


@of_files(*IMAGES)
def remove_an_image(path, rng):
    path.unlink()


@of_files(*IMAGES)
def another_copy(path, rng):
    path.with_name(f"copy-{path.name}").write_bytes(path.read_bytes())


# Variants of an image's pixels.
def _of_pixels(change):
    def changed_pixels(path, rng):
        try:
            image = Image.open(path)
            image.load()
        except (OSError, SyntaxError, ValueError):
            return False
        content = io.BytesIO()
        changed, *options = change(image.convert("RGB"), rng)
        changed.save(content, **{"format": "PNG", **dict(*options)})
        path.write_bytes(content.getvalue())

    return of_files(".png")(named(changed_pixels, change))


@_of_pixels
def palette(image, rng):
    return (image.quantize(16),)


@_of_pixels
def gray(image, rng):
    return (image.convert("L"),)


@_of_pixels
def with_alpha(image, rng):
    image.putalpha(rng.randrange(256))
    return (image,)


@_of_pixels
def bits_16(image, rng):
    return (Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257),)


@_of_pixels
def bits_1(image, rng):
    return (image.convert("1"),)


@_of_pixels
def a_bitmap_with_the_wrong_ending(image, rng):
    return image, {"format": "BMP"}


@_of_pixels
def a_palette_bitmap(image, rng):
    return image.quantize(8), {"format": "BMP"}


@_of_pixels
def an_animation(image, rng):
    return image, {"format": "GIF", "save_all": True, "append_images": [Image.new("RGB", image.size)]}


@_of_pixels
def webp(image, rng):
    return image, {"format": "WEBP", "lossless": True}


@_of_pixels
def orientation(image, rng):
    exif = Image.Exif()
    exif[0x0112] = rng.randrange(0, 10)
    return image, {"exif": exif}
