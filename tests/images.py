"""Writes real image files for tests."""

import io
import pathlib
import struct

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def write_digit_folder(root, per_class=12, classes=(0, 1, 2)):
    """Writes `root/<class>/*` with real handwritten digits: JPEG and PNG, gray and color, sizes that differ.

    Returns:
        The paths.
    """
    digits = load_digits()
    paths = []
    for label in classes:
        folder = pathlib.Path(root) / f"digit_{label}"
        folder.mkdir(parents=True)
        for i, pixels in enumerate(digits.images[digits.target == label][:per_class]):
            image = Image.fromarray((pixels * 255 / 16).astype(np.uint8))
            image = image.resize((40 + 3 * i, 64 - 2 * i), Image.Resampling.BICUBIC)
            if i % 3 == 0:
                image = image.convert("RGB")
            paths.append(folder / f"{i:03}.{'png' if i % 4 == 0 else 'jpg'}")
            image.save(paths[-1])
    return paths


def truncate(path):
    """Cuts a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def encoded(image, file_format, **options):
    """Returns the content of a file of a PIL image or an array."""
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def smooth_photo(height, width, seed=0):
    """Returns a PIL image of soft color changes, which JPEG keeps well and in which no turn looks like another."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def exif(orientation, byte_order="<", kind="H"):
    """Returns EXIF data with an orientation between other entries.

    Args:
        orientation: int.
        byte_order: `"<"` (little-endian) or `">"`.
        kind: `"H"` for a number of 16 bits, as the standard says, or `"I"` for one of 32.
    """
    value = struct.pack(f"{byte_order}{kind}", orientation).ljust(4, b"\0")
    entries = [
        struct.pack(f"{byte_order}HHI", 0x010F, 2, 3) + b"Me\0\0",
        struct.pack(f"{byte_order}HHI", 0x0112, {"H": 3, "I": 4}[kind], 1) + value,
        struct.pack(f"{byte_order}HHIHH", 0x0128, 3, 1, 2, 0),
    ]
    mark = b"II*\0" if byte_order == "<" else b"MM\0*"
    directory = struct.pack(f"{byte_order}IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    return b"Exif\0\0" + mark + directory
