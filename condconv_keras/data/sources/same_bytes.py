"""Images that lie on both sides of a split: the same bytes under two names."""

from absl import logging

from condconv_keras.data.dataset import EVALUATION_SPLITS, TRAIN_SPLIT


def count_repeated(images):
    """Counts the images of the evaluation splits whose bytes are those of a training image; a warning says so.

    Args:
        images: dict of split name to the list of the paths of its image files and their `contents`, as of
            `condconv_keras.data.sources.image_checks.CheckedImages`.

    Returns:
        A dict of split name to the number, without the splits where it is 0.
    """
    counts = {}
    others, known = images.get(TRAIN_SPLIT, ((), ()))
    for split in (split for split in EVALUATION_SPLITS if split in images):
        paths, contents = images[split]
        pairs = same_contents(contents, known)
        if pairs:
            counts[split] = len(pairs)
            place, other = next(iter(pairs.items()))
            logging.warning(
                "%d of %d images of %s have the same bytes as an image of %s, such as %s and %s: what is measured on "
                "them has been learned by heart",
                *(len(pairs), len(paths), split, TRAIN_SPLIT, paths[place], others[other]),
            )
    return counts


def same_contents(contents, others):
    """Returns a dict of the place of each content that is among others to the first place where it is there.

    Args:
        contents, others: arrays, or sequences of arrays, whose rows are compared.
    """
    first = {}
    for place, content in enumerate(others):
        first.setdefault(bytes(content), place)
    return {place: first[key] for place, key in enumerate(map(bytes, contents)) if key in first}
