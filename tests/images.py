"""Writes real image files for tests."""

import pathlib

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
