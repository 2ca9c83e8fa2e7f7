"""The classes of ImageNet (ILSVRC 2012)."""

import functools
import pathlib

# A line per class, in order: WordNet synset identifier, tab, name.
_FILE = pathlib.Path(__file__).parent / "imagenet_classes.txt"


def class_names():
    """Returns the names of the 1000 classes, in the order of their synset identifiers, which all models share.

    A name is the first lemma of the synset; the two of `crane` and of `maillot` are told apart in parentheses.
    """
    return tuple(names_by_synset().values())


def readable(names):
    """Returns `class_names()` for the 1000 synset identifiers in their order, and other class names as they are.

    TFDS's `imagenet2012` and the usual folders of ImageNet name the classes by their synsets.
    """
    return class_names() if tuple(names) == tuple(names_by_synset()) else tuple(names)


@functools.cache
def names_by_synset():
    """Returns a dict of the synset identifier of each class to its name, in order; it must not be changed."""
    return dict(line.split("\t") for line in _FILE.read_text(encoding="utf-8").splitlines())
