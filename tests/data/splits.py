"""What is held out of a folder, computed without the library."""

import hashlib

import numpy as np
from PIL import Image


def small_hashes(names, fraction):
    """The names, in their order, whose SHA-256 begins with less than the fraction of all numbers."""
    return [name for name in names if int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) < fraction * 16**16]


def write_classes(root, counts, first=0):
    """Writes `root/<class>/<number>.png`, every image of other pixels; returns the names, sorted by class."""
    names = []
    for c, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(first, first + count):
            pixels = np.random.default_rng([c, i]).integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i:02}.png")
            names.append(f"{name}/{i:02}.png")
    return names
