"""What other readers make of a user's images and folders: PIL and the file system, by what docs/data.md says."""

import dataclasses
import hashlib
import os
import pathlib
import unicodedata

import numpy as np
from PIL import Image, ImageOps

# Of what is read by two decoders of JPEG, which round differently: the mean difference of all values.
JPEG_TOLERANCE = 4.0
_ENDINGS = (".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp")
_ORIENTATION = 0x0112
_HELD_OUT = 0.2
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid"), "validation"),
    "val": "val",
    "test": "test",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Lossy:
    """Pixels of a JPEG file, which two decoders read nearly alike."""

    pixels: np.ndarray


def same(read, seen):
    """Whether what the library reads is what other readers do; `seen` may have `Lossy` pixels."""
    if isinstance(seen, dict):
        return isinstance(read, dict) and read.keys() == seen.keys() and all(same(read[k], seen[k]) for k in seen)
    if isinstance(seen, list | tuple):
        return len(read) == len(seen) and all(map(same, read, seen))
    if isinstance(seen, Lossy):
        difference = np.abs(read.astype(float) - seen.pixels) if read.shape == seen.pixels.shape else np.inf
        return np.mean(difference) <= JPEG_TOLERANCE
    if isinstance(seen, np.ndarray):
        return read.shape == seen.shape and np.allclose(read, seen, rtol=1e-4, atol=1e-4, equal_nan=True)
    return read == seen


def pixels_of(path):
    """What a person sees in the first frame of a file, uint8 RGB; `Lossy` of a JPEG file. Alpha is dropped."""
    with Image.open(path) as image:
        image.load()
        is_jpeg = image.format in ("JPEG", "MPO")
        pixels = np.asarray(_as_rgb(ImageOps.exif_transpose(image)))
    return Lossy(pixels) if is_jpeg else pixels


def _as_rgb(image):
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA"):
        return image.convert("RGBA").convert("RGB")
    image.info.pop("transparency", None)
    return image.convert("RGB")


def orientation_of(path):
    """The EXIF orientation of a file, from 1 to 8."""
    with Image.open(path) as image:
        orientation = image.getexif().get(_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def images_below(folder):
    """The sorted paths of the image files below a folder, behind links too."""
    own = {os.path.realpath(place) for place, _ in _places(folder, followlinks=False)}
    found = []
    for place, names in _places(folder, followlinks=True, own=own):
        found += [pathlib.Path(place, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.suffix.lower() in _ENDINGS and path.is_file())


def _places(folder, followlinks, own=()):
    """Yields the folders below one, not hidden, with the names of their files; links to its `own` are not followed."""
    for place, folders, names in os.walk(folder, followlinks=followlinks):
        real = os.path.realpath(place)
        kept = []
        for name in folders:
            inner = os.path.join(place, name)
            target = os.path.realpath(inner)
            is_followed = not os.path.islink(inner) or (followlinks and not _is_in(real, target) and target not in own)
            if not name.startswith(".") and is_followed:
                kept.append(name)
        folders[:] = kept
        yield place, names


def _is_in(place, folder):
    return pathlib.Path(place).is_relative_to(folder)


def folders_in(folder):
    """The names of the folders in a folder, links among them."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def split_of(name):
    """The split that a folder's name means, or None."""
    return _SPLITS.get(name.casefold())


def sides(root, paths, classes):
    """A dict of the images of a folder without a split to evaluate on to the split that each is in.

    Args:
        root: of the folder.
        paths: of the images.
        classes: of each image its class.
    """
    of_class = {}
    for path, label in zip(paths, classes, strict=True):
        name = unicodedata.normalize("NFC", path.relative_to(root).as_posix())
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        of_class.setdefault(label, []).append((int.from_bytes(digest[:8], "big") / 2**64, name, path))
    found = {}
    for members in of_class.values():
        members.sort()
        count = sum(value < _HELD_OUT for value, _, _ in members)
        count = min(max(count, 1), len(members) - 1)
        for place, (_, _, path) in enumerate(members):
            found[path] = "validation" if place < count else "train"
    return found


def turned(box, orientation, size):
    """A box (ymin, xmin, ymax, xmax) of a stored image, of the image as its orientation turns it.

    Args:
        size: (height, width) of the stored image.
    """
    corners = np.array([(box[0], box[1]), (box[2], box[3])], float)
    height, width = size
    rows, columns = corners.T
    rows, columns = {
        1: (rows, columns),
        2: (rows, width - columns),
        3: (height - rows, width - columns),
        4: (height - rows, columns),
        5: (columns, rows),
        6: (columns, height - rows),
        7: (width - columns, height - rows),
        8: (width - columns, rows),
    }[orientation]
    return [min(rows), min(columns), max(rows), max(columns)]
