"""Images that lie on both sides of a split: the same bytes under two names."""

import collections
import os

from absl import logging

from condconv_keras.data.dataset import EVALUATION_SPLITS, TRAIN_SPLIT
from condconv_keras.utils.files import file_hash

_END = 4096  # bytes at the end of a file, where images of one camera differ though their headers do not


def count_repeated(paths):
    """Counts the images of the evaluation splits whose bytes are those of a training image; a warning says so.

    Args:
        paths: dict of split name to the list of its image files.

    Returns:
        A dict of split name to the number, without the splits where it is 0.
    """
    counts = {}
    for split in EVALUATION_SPLITS:
        pairs = same_bytes(paths.get(split, ()), paths.get(TRAIN_SPLIT, ()))
        if pairs:
            counts[split] = len(pairs)
            path, other = next(iter(pairs.items()))
            logging.warning(
                "%d of %d images of %s have the same bytes as an image of %s, such as %s and %s: what is measured on "
                "them has been learned by heart",
                *(len(pairs), len(paths[split]), split, TRAIN_SPLIT, path, other),
            )
    return counts


def same_bytes(paths, others):
    """Finds the files among `paths` that have the same content as one of `others`.

    Files are read as far as it takes to tell them apart: of most the size is enough.

    Returns:
        A dict of such a path to the first of the others.
    """
    # By what the files on both sides have in common so far.
    candidates = {(): (paths, others)}
    for feature in (os.path.getsize, _last_bytes, file_hash):
        finer = collections.defaultdict(lambda: ([], []))
        for common, sides in candidates.items():
            for i, side in enumerate(sides):
                for path in side:
                    finer[(*common, feature(path))][i].append(path)
        candidates = {common: sides for common, sides in finer.items() if all(sides)}
    return {path: sides[1][0] for sides in candidates.values() for path in sides[0]}


def _last_bytes(path):
    with open(path, "rb") as file:
        file.seek(-min(_END, os.path.getsize(path)), os.SEEK_END)
        return file.read()
