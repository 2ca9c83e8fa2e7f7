r"""Draws 1,000 kanji in the faces of Debian's fonts as a TFDS data set: `python -m scripts.glyphs --output_dir=DIR`.

    apt-get install --no-install-recommends PACKAGES
    python -m scripts.glyphs --output_dir=data
    python train.py --dataset=glyphs --data_dir=data --model=condconv_mobilenet_v1 --model_dir=runs/glyphs
    python eval.py --model=runs/glyphs --split=unseen_faces

32x32, gray, white on black; no download. The label is the character, whichever font drew it. The splits:

- `train`, and `test`: 12,000 of the images, drawn by lot; other images show the same character in other faces, and
  the same face with other characters.
- `unseen_faces`: every character in 14 faces that neither of the others has, nor any face of the same design.

`--validation_images=6000` holds out the last training images, which lie in an order drawn by lot, as the split
`validation` and leaves the other two out: for choosing a recipe.

The characters are drawn by lot from the 1,583 that Japan, China and Taiwan all count as common. Of two images of a
character that are nearly equal, one is left out. The images depend on the versions of the fonts and of FreeType, so
`sources.json` beside the data names them, with a hash of each split.
"""

import functools
import hashlib

import numpy as np
from absl import flags

from condconv_keras.commands import cli
from scripts import tfds_store
from scripts.glyph_faces import INSTALL, difference, face_difference, families, installed_faces, without_near

NAME = "glyphs"
VERSION = "1.0.0"
CHARACTERS = 1000
TEST_IMAGES = 12000
UNSEEN_FACES = 14
# Below this `difference` two faces are one, and so are two images of a character. Fonts that took over each other's
# glyphs have less than 0.001, neighboring weights of a family 0.05 to 0.15, unrelated faces more than 0.2.
NEAR_DUPLICATE = 0.05
FAMILY = 0.15
LARGEST_UNSEEN_FAMILY = 2  # faces: without a limit, the 21 of one family could be all the unseen ones
_PROBES = 40  # characters that faces are compared by

# The first part of each national standard, where the characters of daily use are: 2,965, 3,755 and 5,401 of them.
_COMMON = {"euc_jp": (0xB0A1, 0xCFFF), "gb2312": (0xB0A1, 0xD7FF), "big5": (0xA440, 0xC67E)}

FLAGS = flags.FLAGS


def main(argv):
    cli.expect_flags_only(argv)
    output = tfds_store.new_data_set(FLAGS.output_dir, NAME)
    letters = characters()
    faces, versions = installed_faces()
    tfds_store.check_held_out(FLAGS.validation_images, len(letters) * len(faces) - TEST_IMAGES)
    splits, sources = draw(letters, faces)
    return tfds_store.store(
        tfds_store.hold_out(splits, FLAGS.validation_images),
        output,
        name=NAME,
        version=VERSION,
        class_names=letters,
        homepage="https://packages.debian.org/bookworm/fonts/",
        sources={"versions": versions, **sources},
    )


def characters(count=CHARACTERS):
    """Returns a string of this many characters, drawn by lot from the common ones, in the order of their codes."""
    common = [chr(code) for code in range(0x4E00, 0xA000) if is_common(chr(code))]
    return "".join(sorted(sorted(common, key=lot)[:count]))


def is_common(character):
    """Whether a character is in level 1 of JIS X 0208, of GB 2312 and of Big5."""
    for encoding, (first, last) in _COMMON.items():
        try:
            code = int.from_bytes(character.encode(encoding))
        except UnicodeEncodeError:
            return False
        if not first <= code <= last:
            return False
    return True


def lot(*words):
    """Returns the bytes that words are sorted by where lots are drawn: a word's place does not depend on the others."""
    return hashlib.sha256(" ".join(words).encode()).digest()


def draw(letters, faces):
    """Draws the data set.

    Args:
        letters: string of the characters.
        faces: list of `Face`.

    Returns:
        A dict of `"train"`, `"test"` and `"unseen_faces"`, each a pair of uint8 images `[count, 32, 32, 1]` and int64
        labels `[count]`, the places in `letters`; and a dict of the names of the faces, for the record.
    """
    probes = letters[:: max(len(letters) // _PROBES, 1)]
    fitted = [face for face in (face.fitted(probes) for face in faces) if face]
    seen, unseen = chosen_faces(fitted, {face: face.draw(probes) for face in fitted})
    glyphs = {face: face.draw(letters) for face in [*seen, *unseen]}
    pairs = [(letter, face) for letter in letters for face in distinct(letter, [*seen, *unseen], glyphs)]
    pairs.sort(key=lambda pair: lot(pair[0], pair[1].name))
    splits = split_pairs(pairs, unseen)
    numbers = {letter: number for number, letter in enumerate(letters)}
    arrays = {
        split: (
            np.stack([glyphs[face][letter] for letter, face in pairs])[..., np.newaxis],
            np.array([numbers[letter] for letter, _ in pairs]),
        )
        for split, pairs in splits.items()
    }
    return arrays, {"faces": [face.name for face in seen], "unseen_faces": [face.name for face in unseen]}


def chosen_faces(faces, drawn):
    """Returns the faces to train on and those to hold out.

    Of near-duplicates the first one stays. Faces are of one family if their files' names begin alike, or they differ by
    less than `FAMILY`, or a chain of such faces connects them. Families of one or two are held out whole, in an order
    drawn by lot, up to `UNSEEN_FACES` faces.

    Args:
        faces: list of `Face`.
        drawn: dict of the `Face.draw` of each.

    Returns:
        Two lists in the order of `faces`.
    """

    @functools.cache
    def apart(one, other):
        return face_difference(drawn[one], drawn[other])

    kept = without_near(faces, lambda one, other: apart(one, other) >= NEAR_DUPLICATE)
    groups = families(kept, lambda one, other: one.stem == other.stem or apart(one, other) < FAMILY)
    unseen = []
    for group in sorted(groups, key=lambda group: lot(group[0].name)):
        if len(group) <= LARGEST_UNSEEN_FAMILY and len(unseen) + len(group) <= UNSEEN_FACES:
            unseen += group
    return [face for face in kept if face not in unseen], [face for face in kept if face in unseen]


def distinct(letter, faces, glyphs):
    """Returns the faces that have the character and draw it unlike all earlier ones of these.

    Args:
        letter: the character.
        faces: list of `Face`.
        glyphs: dict of the `Face.draw` of each.
    """
    having = [face for face in faces if letter in glyphs[face]]
    kept = []
    for face in having:
        images = [glyphs[other][letter] for other in kept]
        if not kept or difference(glyphs[face][letter], np.stack(images)).min() >= NEAR_DUPLICATE:
            kept.append(face)
    return kept


def split_pairs(pairs, unseen, test_images=TEST_IMAGES):
    """Returns pairs of a character and a face by split, each in the order of `pairs`: the first seen ones are the test.

    Args:
        pairs: list of pairs.
        unseen: faces that are held out.
        test_images: number of them.
    """
    seen = [pair for pair in pairs if pair[1] not in unseen]
    return {
        "train": seen[test_images:],
        "test": seen[:test_images],
        "unseen_faces": [pair for pair in pairs if pair[1] in unseen],
    }


if __name__ == "__main__":
    __doc__ = __doc__.replace("apt-get install --no-install-recommends PACKAGES", INSTALL)
    tfds_store.define_flags()
    cli.run(main)
