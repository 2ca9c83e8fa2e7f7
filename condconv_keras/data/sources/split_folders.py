"""Which folders and lists of a data set are its splits, however they are spelled."""

import collections
import re

from condconv_keras.data.dataset import EVALUATION_SPLITS, TRAIN_SPLIT
from condconv_keras.data.sources.image_files import sub_folders
from condconv_keras.utils.errors import UserError

SPLITS = (TRAIN_SPLIT, *EVALUATION_SPLITS)
_SPELLINGS = {
    **dict.fromkeys(("train", "training"), TRAIN_SPLIT),
    **dict.fromkeys(("validation", "valid", "evaluation", "eval", "dev"), "validation"),
    "val": "val",
    **dict.fromkeys(("test", "testing"), "test"),
}
# As in "training_set", "Test images", "test1" and COCO's "val2017".
_SPLIT = re.compile(rf"({'|'.join(_SPELLINGS)})([ _.-]?(data|dataset|images|imgs|set|split))?([ _-]?\d{{1,4}})?")
# Where a name begins or ends with a word that splits are called by, as "seg_train" and "testA" do.
_WORDS = "training|train|validation|valid|val|testing|test"
_BEGINS = re.compile(rf"(?P<word>{_WORDS})(?P<rest>.+)", re.IGNORECASE)
_ENDS = re.compile(rf"(?P<rest>.+?)(?P<word>{_WORDS})", re.IGNORECASE)


def split_name(name):
    """Returns the split that something of this name is: `"train"`, `"validation"`, `"val"`, `"test"`, or None.

    So `Training`, `train_set` and `train2017` are `"train"`, and `valid` is `"validation"`.
    """
    match = _SPLIT.fullmatch(name.casefold())
    return None if match is None else _SPELLINGS[match[1]]


def split_folders(folder):
    """Returns a dict of split name to the list of the sub-folders, as paths, that are called like it.

    It is in the order of `SPLITS`; there are several where a folder has several spellings.

    Args:
        folder: `pathlib.Path`.
    """
    found = collections.defaultdict(list)
    for name in sub_folders(folder):
        found[split_name(name)].append(folder / name)
    return {split: found[split] for split in SPLITS if split in found}


def check_classes_are_no_splits(folder, class_names):
    """Raises a `UserError` for folders of classes that are splits under unknown names, or have splits inside.

    Args:
        folder: `pathlib.Path` of the folder.
        class_names: list of the names of its sub-folders.
    """
    pair = _look_alikes(class_names)
    if pair is not None:
        raise UserError(
            f"expected folders of classes in {str(folder)!r}, {pair[0]!r} and {pair[1]!r} look like splits: "
            f"call them {TRAIN_SPLIT} and {' or '.join(EVALUATION_SPLITS)}"
        )
    for name in class_names:
        inside = split_folders(folder / name)
        if TRAIN_SPLIT in inside and len(inside) > 1:
            first, second, *_ = (path.name for paths in inside.values() for path in paths)
            advice = (
                f"give {str(folder / name)!r} as the data set"
                if len(class_names) == 1
                else f"expected SPLIT/CLASS, as {second}/{name}"
            )
            raise UserError(f"the folder {str(folder / name)!r} has splits, {first!r} and {second!r}: {advice}")


def _look_alikes(names):
    """Returns the first two names that a training and another split differ in and nothing else does, or None."""
    found = {}
    for name in names:
        for key, is_training in _split_words(name):
            other = found.get((key, not is_training))
            if other is not None:
                return (name, other) if is_training else (other, name)
            found[key, is_training] = name
    return None


def _split_words(name):
    """Yields, where a name begins or ends with the word of a split, what else it has, and whether it is of training."""
    for pattern in (_BEGINS, _ENDS):
        match = pattern.fullmatch(name)
        if match is not None:
            word, rest = match["word"], match["rest"]
            before, after = (word[-1], rest[0]) if pattern is _BEGINS else (rest[-1], word[0])
            # "trainA" and "seg_train", but no "trainer" and "contest".
            if not (before.isalpha() and after.isalpha()) or (before.islower() and after.isupper()):
                yield (pattern is _BEGINS, rest.casefold()), word.casefold().startswith("train")
