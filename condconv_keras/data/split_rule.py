"""Which images of a data set without a split to evaluate on are held out.

By the rule of today an image is held out if the hash of its name is small. That depends on nothing but the image: to
add, remove or rename others moves none from one side to the other. Version 0.1 permuted the places of the images in
their sorted list, so that one more image drew the split anew; its runs keep their rule.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import unicodedata
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

PATH_HASH = "path_hash"  # the hash of an image's path below the folder
PLACE = "place"  # a permutation of the places in the sorted list; of version 0.1
SLICE = "slice"  # the last examples as they are stored; of TFDS, whose examples have no path
PLACE_SEED = 0
_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")  # of the images that version 0.1 found


@dataclasses.dataclass(frozen=True)
class SplitRule:
    """How images are held out.

    Attributes:
        name: `PATH_HASH` or `PLACE`.
        moved: None for a new split: a class that would have no image on one side gets one from the other. For the split
            of a run the names of the images that it moved so, which stay where they are; then no others are moved, as
            they would be carried from training into the evaluation or back.
        fraction: of the split of a run the part that it held out, which says to which side an image was moved; None
            where it is the one that is asked for.
    """

    name: str = PATH_HASH
    moved: tuple[str, ...] | None = None
    fraction: float | None = None

    @property
    def is_new(self) -> bool:
        """Whether it makes a new split, in which every class has images on both sides."""
        return self.moved is None

    def moved_names(self, fraction: float) -> tuple[set[str], set[str]]:
        """Returns the sets of the names that a run moved into the part held out, and into training.

        Args:
            fraction: that is asked for. It may be a smaller one than the run's, of which alone the sides are.
        """
        fraction = fraction if self.fraction is None else self.fraction
        into_held_out = {name for name in self.moved or () if name_hash(name) >= fraction}
        return into_held_out, set(self.moved or ()) - into_held_out


NEW = SplitRule()


def names_below(root: str, paths: Iterable[str]) -> list[str]:
    """Returns the names of images in a folder: their paths below it, "/" between parts, composed Unicode characters.

    Systems differ in these two for copies of one folder. Root and paths are strings.
    """
    return [unicodedata.normalize("NFC", path.replace(os.sep, "/")) for path in paths_below(root, paths)]


def paths_below(root: str, paths: Iterable[str]) -> list[str]:
    """Returns paths as they are below a folder; root and paths are strings."""
    if root == os.curdir:
        # `pathlib` leaves "./" out of the paths of what lies in it.
        return [os.path.relpath(path, root) if os.path.isabs(path) else path for path in paths]
    start = os.path.join(root, "")
    # What is written out is a hundred times quicker, which counts for a million images.
    return [path[len(start) :] if path.startswith(start) else os.path.relpath(path, root) for path in paths]


def name_hash(name: str) -> float:
    """Returns the hash of an image's name as a number in [0, 1]: the first 8 bytes of the SHA-256 of its UTF-8."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def held_out(
    names: Sequence[str], classes: Iterable[Hashable], fraction: float, rule: SplitRule = NEW
) -> tuple[list[bool], tuple[str, ...]]:
    """Chooses the images to hold out, of every class by itself.

    Args:
        names: list of the images' names, as of `names_below`, in their order.
        classes: list of what class each is of; of a new split each has two images at least.
        fraction: the part to hold out, in (0, 1).
        rule: `SplitRule`.

    Returns:
        A list of booleans, whether each image is held out, and the tuple of the names that were moved, sorted.
    """
    members: dict[Hashable, list[int]] = {}
    for place, label in enumerate(classes):
        members.setdefault(label, []).append(place)
    chosen, moved = set(), set(rule.moved or ())
    into_held_out, into_training = rule.moved_names(fraction)

    def is_out(name: str) -> bool:
        return name in into_held_out or (name_hash(name) < fraction and name not in into_training)

    for places in members.values():
        if rule.name == PLACE:
            chosen.update(_by_place([place for place in places if names[place].lower().endswith(_ENDINGS)], fraction))
            continue
        of_class = {place for place in places if is_out(names[place])}
        stray = _stray(places, of_class, names) if rule.is_new else None
        if stray is not None:
            of_class ^= {stray}
            moved.add(names[stray])
        chosen |= of_class
    return [place in chosen for place in range(len(names))], tuple(sorted(moved))


def _by_place(places: Sequence[int], fraction: float) -> list[int]:
    count = min(max(round(fraction * len(places)), 1), len(places) - 1)
    return [places[i] for i in np.random.default_rng(PLACE_SEED).permutation(len(places))[:count]]


def _stray(places: Sequence[int], chosen: set[int], names: Sequence[str]) -> int | None:
    """The image of a class that has to change sides, so that both have one, or None."""

    def order(place: int) -> tuple[float, str]:
        return name_hash(names[place]), names[place]

    if not chosen:
        return min(places, key=order)
    return max(places, key=order) if len(chosen) == len(places) else None
