"""Faces of Debian's Japanese and Chinese fonts: which there are, how they draw, and which are alike.

A face is drawn four times too large and reduced, so that neither hinting nor the bitmaps inside some fonts matter.
"""

import dataclasses
import itertools
import pathlib
import re

import numpy as np
from PIL import Image, ImageFont, features

from condconv_keras.utils.errors import UserError
from scripts import tfds_store

# Each has a face that the others lack. fonts-misaki is left out: it has 8x8 pixels.
PACKAGES = (
    "fonts-aoyagi-kouzan-t",
    "fonts-aoyagi-soseki",
    "fonts-arphic-bkai00mp",
    "fonts-arphic-bsmi00lp",
    "fonts-arphic-gbsn00lp",
    "fonts-arphic-gkai00mp",
    "fonts-arphic-uming",
    "fonts-babelstone-han",
    "fonts-cns11643-kai",
    "fonts-cns11643-sung",
    "fonts-cwtex-kai",
    "fonts-cwtex-ming",
    "fonts-dejima-mincho",
    "fonts-dotgothic16",
    "fonts-droid-fallback",
    "fonts-hanazono",
    "fonts-horai-umefont",
    "fonts-ipaexfont-gothic",
    "fonts-ipaexfont-mincho",
    "fonts-kanjistrokeorders",
    "fonts-kiloji",
    "fonts-klee",
    "fonts-konatu",
    "fonts-kouzan-mouhitsu",
    "fonts-lxgw-wenkai",
    "fonts-migmix",
    "fonts-morisawa-bizud-gothic",
    "fonts-morisawa-bizud-mincho",
    "fonts-motoya-l-cedar",
    "fonts-motoya-l-maruberi",
    "fonts-noto-cjk",
    "fonts-noto-cjk-extra",
    "fonts-oradano-mincho-gsrr",
    "fonts-rampart",
    "fonts-reggae",
    "fonts-ricty-diminished",
    "fonts-rocknroll",
    "fonts-sawarabi-gothic",
    "fonts-sawarabi-mincho",
    "fonts-seto",
    "fonts-smiley-sans",
    "fonts-stick",
    "fonts-train",
    "fonts-wqy-zenhei",
    "fonts-yozvox-yozfont-antique",
    "fonts-yusei-magic",
)
INSTALL = "apt-get install --no-install-recommends " + " ".join(PACKAGES)

SIZE = 32
_OVERSAMPLING = 4
_TYPICAL_SIDE = 26  # pixels of the larger side of a face's middle character: the largest ones still fit
_NO_CHARACTERS = "\uffff\ue123"  # a noncharacter and one of private use: what a face draws for those, it lacks
_LEAST_SHARE = 0.9  # of the characters that a face must have


@dataclasses.dataclass(frozen=True)
class Face:
    """One face: the Debian package, the file, the number inside the file, and the size in pixels to draw it at."""

    package: str
    path: str
    index: int = 0
    pixels: int = SIZE * _OVERSAMPLING

    @property
    def name(self):
        """The file's name and the number inside it, as `NotoSansCJK-Bold.ttc:2`."""
        return f"{pathlib.PurePath(self.path).name}:{self.index}"

    @property
    def stem(self):
        """The file's name up to the first mark, as `NotoSansCJK`: faces that share it are of one design."""
        return re.split(r"[-_.]", self.name)[0]

    def draw(self, characters):
        """Returns the glyphs of the characters that the face has, as `{character: uint8 [32, 32]}`, white on black.

        The middle of the glyph's box lies in the middle of the image; what is larger than the image is cut off.
        A character is lacking if its glyph is empty, is the one of characters that no font has, or stands for two of
        the characters.
        """
        font = self._font(self.pixels)
        glyphs = {character: _ink(font, character) for character in [*characters, *_NO_CHARACTERS]}
        found = {}
        for character, glyph in glyphs.items():
            found.setdefault((glyph.shape, glyph.tobytes()), []).append(character)
        alone = {same[0] for same in found.values() if len(same) == 1}
        return {c: _reduced(glyphs[c]) for c in characters if c in alone and glyphs[c].size}

    def fitted(self, characters):
        """Returns the face at the size where the larger side of its middle character has 26 pixels.

        Args:
            characters: to look at.

        Returns:
            A `Face`, or None if the face lacks more than a tenth of the characters.
        """
        font = self._font(self.pixels)
        lacking = [_ink(font, character).tobytes() for character in _NO_CHARACTERS]
        glyphs = [_ink(font, character) for character in characters]
        sides = [max(glyph.shape) for glyph in glyphs if glyph.size and glyph.tobytes() not in lacking]
        if len(sides) < _LEAST_SHARE * len(characters):
            return None
        pixels = round(self.pixels * _TYPICAL_SIDE * _OVERSAMPLING / np.median(sides))
        face = dataclasses.replace(self, pixels=pixels)
        return face if len(face.draw(characters)) >= _LEAST_SHARE * len(characters) else None

    def _font(self, pixels):
        return ImageFont.truetype(self.path, pixels, index=self.index, layout_engine=ImageFont.Layout.BASIC)


def _ink(font, character):
    """Returns the glyph inside its box as a uint8 array, empty if there is none or its program is broken."""
    try:
        mask = font.getmask(character, mode="L")
    except OSError:  # as of glyphs of the Ume fonts, "invalid opcode"
        return np.zeros((0, 0), np.uint8)
    image = Image.frombytes("L", mask.size, bytes(mask)) if all(mask.size) else Image.new("L", (1, 1))
    return np.asarray(image.crop(image.getbbox() or (0, 0, 0, 0)))


def _reduced(glyph):
    side = SIZE * _OVERSAMPLING
    canvas = np.zeros((side, side), np.uint16)
    for axis in (0, 1):
        start = max(glyph.shape[axis] - side, 0) // 2
        glyph = glyph.take(range(start, start + min(glyph.shape[axis], side)), axis)
    top, left = ((side - length) // 2 for length in glyph.shape)
    canvas[top : top + glyph.shape[0], left : left + glyph.shape[1]] = glyph
    blocks = canvas.reshape(SIZE, _OVERSAMPLING, SIZE, _OVERSAMPLING).sum((1, 3))
    return ((blocks + _OVERSAMPLING**2 // 2) // _OVERSAMPLING**2).astype(np.uint8)


def installed_faces():
    """Returns the faces of `PACKAGES`, sorted by package, file and number, and the packages' versions.

    Raises:
        UserError: a package is missing, as all are where there is no dpkg.
    """
    versions = tfds_store.package_versions(PACKAGES)
    if missing := [name for name in PACKAGES if name not in versions]:
        raise UserError(
            f"the fonts are not all there: apt-get install --no-install-recommends {' '.join(missing)} "
            "(packages of Debian 12)"
        )
    faces = []
    for package in PACKAGES:
        files = [
            line
            for line in tfds_store.dpkg("-L", package).split("\n")
            if line.lower().endswith((".ttf", ".ttc", ".otf"))
        ]
        faces += [Face(package, path, index) for path in sorted(files) for index in _numbers(path)]
    return faces, versions | {"freetype": features.version("freetype2")}


def _numbers(path):
    for index in itertools.count():
        try:
            ImageFont.truetype(path, SIZE, index=index)
        except OSError:
            return
        yield index


def difference(first, second):
    """Returns how much two arrays of images differ: the sum of `|a - b|` over that of `a + b`, 0 (equal) to 1.

    Args:
        first: uint8 array `[..., 32, 32]`, white on black.
        second: array that broadcasts to it.

    Returns:
        A float array `[...]`.
    """
    first, second = np.asarray(first, np.int32), np.asarray(second, np.int32)
    both = first.sum((-2, -1)) + second.sum((-2, -1))
    return np.abs(first - second).sum((-2, -1)) / np.maximum(both, 1)


def face_difference(first, second):
    """Returns the median of the `difference` of the glyphs that two faces have; 1 if they share none.

    Args:
        first: dict of `Face.draw`.
        second: dict of `Face.draw`.
    """
    shared = [character for character in first if character in second]
    if not shared:
        return 1.0
    return float(np.median(difference(np.stack([first[c] for c in shared]), np.stack([second[c] for c in shared]))))


def without_near(items, far_enough):
    """Returns the items, in their order, without those that are near to one that is kept.

    Args:
        items: list.
        far_enough: function of two items.
    """
    kept = []
    for item in items:
        if all(far_enough(item, other) for other in kept):
            kept.append(item)
    return kept


def families(faces, near):
    """Returns the faces as lists, where a chain of faces that are near to the next one is a list.

    Args:
        faces: list.
        near: function of two faces.

    Returns:
        The lists, each in the order of `faces`, sorted by their first face's place in it.
    """
    groups = []
    for face in faces:
        joined = [group for group in groups if any(near(face, other) for other in group)]
        merged = sorted([*itertools.chain(*joined), face], key=faces.index)
        groups = [group for group in groups if group not in joined] + [merged]
    return sorted(groups, key=lambda group: faces.index(group[0]))
