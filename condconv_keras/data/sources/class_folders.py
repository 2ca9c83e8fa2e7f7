"""Which folders of images by class are splits and which are classes, and the images in them."""

import dataclasses
import itertools
import os

import numpy as np
from absl import logging

from condconv_keras.data.dataset import EVALUATION_SPLITS, TRAIN_SPLIT
from condconv_keras.data.sources.class_depth import check_depth
from condconv_keras.data.sources.image_files import (
    ending,
    entries,
    is_folder,
    is_hidden,
    is_image,
    no_image,
    search,
    sub_folders,
)
from condconv_keras.data.sources.other_layouts import detection_clause, yolo_clause
from condconv_keras.data.sources.split_folders import check_classes_are_no_splits, split_folders
from condconv_keras.facts.class_names import match_classes
from condconv_keras.utils.errors import UserError, some_of
from condconv_keras.utils.text_files import is_unicode


@dataclasses.dataclass(frozen=True)
class ClassImages:
    """The images of a split: their paths, and their labels as int32 [n]."""

    paths: list[str]
    labels: np.ndarray

    def chosen(self, are_chosen):
        """Returns those of them for which a list of booleans, or an array, says so."""
        are_chosen = np.asarray(are_chosen, bool)
        return ClassImages(list(itertools.compress(self.paths, are_chosen)), self.labels[are_chosen])


def find_splits(folder, ignored):
    """Returns the class names and a dict of split name to its `ClassImages`; with `train` alone none is held out.

    What is passed over is added to the `Counter` `ignored`.
    """
    unread = yolo_clause(folder)
    if unread:
        raise UserError(f"expected one folder of images per class in {str(folder)!r}{unread}")
    _ignore_files(folder, ignored)
    own = _own_splits(folder)
    if not own:
        class_names = _class_names(folder)
        check_classes_are_no_splits(folder, class_names)
        check_depth(folder, class_names)
        return class_names, {TRAIN_SPLIT: _list_images(folder, class_names, ignored)}
    for name in sorted({*sub_folders(folder)} - {path.name for path in own.values()}):
        ignored[f"folder {name!r}"] += 1
    for path in own.values():
        _ignore_files(path, ignored)
    class_names, ordered = _common_classes(folder, own)
    return class_names, {split: _list_images(path, ordered[split], ignored) for split, path in own.items()}


def _own_splits(folder):
    """Returns a dict of split name to the path of its folder, empty where every sub-folder is a class."""
    spelled = split_folders(folder)
    evaluation = [split for split in EVALUATION_SPLITS if split in spelled]
    # Images without classes, as of a competition's test, are not used where others are there to evaluate on.
    with_classes = [split for split in evaluation if any(map(sub_folders, spelled[split]))]
    if TRAIN_SPLIT in spelled and evaluation:
        used = (TRAIN_SPLIT, *(with_classes or evaluation))
        return {split: _only(folder, split, paths) for split, paths in spelled.items() if split in used}
    if TRAIN_SPLIT in spelled and any(map(sub_folders, spelled[TRAIN_SPLIT])):
        train = _only(folder, TRAIN_SPLIT, spelled[TRAIN_SPLIT])
        raise UserError(
            f"expected {' or '.join(EVALUATION_SPLITS)} beside {train.name} in {str(folder)!r}; "
            f"to hold out a part of {train.name}, give {str(train)!r} as the data set"
        )
    # Images to evaluate on only, or none: a class may be called "test".
    own = {split: _only(folder, split, spelled[split]) for split in with_classes}
    others = [name for name in sub_folders(folder) if name not in {path.name for path in own.values()}]
    if own and any(search(folder / name).images for name in others):
        raise UserError(
            f"expected splits or classes in {str(folder)!r}, received the split {next(iter(own.values())).name!r} and "
            f"{some_of(others)}: move or rename the one or the other"
        )
    return own


def _only(folder, split, paths):
    """The one folder of a split; raises a `UserError` for several, as `Train` beside `train`."""
    if len(paths) > 1:
        raise UserError(
            f"expected one folder of {split} in {str(folder)!r}, received: {', '.join(path.name for path in paths)}"
        )
    return paths[0]


def _ignore_files(folder, ignored):
    """Counts the files beside folders of classes or splits; raises a `UserError` for a broken link that may be one."""
    for entry in entries(folder):
        if is_hidden(entry.name) or is_folder(entry):
            continue
        if not os.path.exists(entry.path):
            if not os.path.splitext(entry.name)[1]:
                raise UserError(f"expected a folder, the link {entry.path!r} leads nowhere: mend or remove it")
            ignored["broken links"] += 1
            continue
        ignored[ending(entry.name) + (" outside of the classes" if is_image(entry.name) else "")] += 1


def _class_names(folder):
    names = tuple(sub_folders(folder))
    if not names:
        flat = next((entry.name for entry in entries(folder) if is_image(entry.name) and "\\" in entry.name), None)
        clause = f"; unpack the archive again, of {flat!r} with its folders" if flat else detection_clause(folder)
        raise UserError(f"expected one folder of images per class in {str(folder)!r}, found no folder{clause}")
    for name in names:
        if not is_unicode(name):
            raise UserError(f"expected names of classes in UTF-8, rename the folder {name!r} in {str(folder)!r}")
    return names


def _common_classes(folder, own):
    """Finds the classes that splits have in common.

    Args:
        folder: path, for messages.
        own: dict of split to the path of its folder.

    Returns:
        The class names, those of the first split, and a dict of split to the names that its folders have, in the order
        of the classes; what only their spelling tells apart is said.

    Raises:
        UserError: they differ.
    """
    names = {split: _class_names(path) for split, path in own.items()}
    first, class_names = next(iter(names.items()))
    ordered = {}
    for split, of_split in names.items():
        try:
            match = match_classes(class_names, of_split, subset=False)
        except UserError as error:
            parts = ((first, class_names, of_split), (split, of_split, class_names))
            differences = [(own[where].name, sorted({*mine} - {*theirs})) for where, mine, theirs in parts]
            found = "; ".join(f"only in {where}: {some_of(classes)}" for where, classes in differences if classes)
            text = f"the classes of {own[first].name} and {own[split].name} in {str(folder)!r} differ: {found}"
            raise UserError(text) from error
        ordered[split] = [of_split[i] for i in np.argsort(match.indices)]
        if match.respelled:
            pairs = some_of([f"{theirs!r} is {mine!r}" for theirs, mine in match.respelled])
            logging.warning("Class folders of %s that are spelled otherwise than in %s: %s", split, first, pairs)
    return class_names, ordered


def _list_images(folder, class_names, ignored):
    """Returns the `ClassImages` of a split, sorted by class and path; raises a `UserError` for an empty class."""
    paths, counts = [], []
    for name in class_names:
        found = search(folder / name)
        if not found.images:
            raise UserError(f"{no_image('the class folder', folder / name, found)}{detection_clause(folder)}")
        paths += found.images
        counts.append(len(found.images))
        ignored += found.ignored
    return ClassImages(paths, np.repeat(np.arange(len(counts), dtype=np.int32), counts))
