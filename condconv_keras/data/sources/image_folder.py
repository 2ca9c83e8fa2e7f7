"""A folder of images by class: `root/train/<class>/*` beside `root/validation/<class>/*`, or `root/<class>/*`."""

import collections
import dataclasses
import itertools
import os
import pathlib

import numpy as np
from absl import logging

from condconv_keras.data.dataset import EVALUATION_SPLITS, TRAIN_SPLIT, ImageDataset, slice_records
from condconv_keras.data.sources.class_depth import check_depth
from condconv_keras.data.sources.folder import FolderSource, hold_out
from condconv_keras.data.sources.image_checks import CHANNELS, check_images, common_size
from condconv_keras.data.sources.image_files import (
    ending,
    entries,
    is_folder,
    is_hidden,
    is_image,
    no_image,
    search,
    sub_folders,
    warn_of_ignored,
)
from condconv_keras.data.sources.other_layouts import detection_clause, yolo_clause
from condconv_keras.data.sources.same_bytes import count_repeated
from condconv_keras.data.sources.split_folders import check_classes_are_no_splits, split_folders
from condconv_keras.facts.class_names import match_classes
from condconv_keras.facts.imagenet import readable
from condconv_keras.utils.errors import UserError, some_of
from condconv_keras.utils.text_files import is_unicode


@dataclasses.dataclass(frozen=True)
class _Images:
    """The images of a split: their paths, and their labels as int32 [n]."""

    paths: list[str]
    labels: np.ndarray

    def chosen(self, are_chosen):
        """Returns those of them for which a list of booleans, or an array, says so."""
        are_chosen = np.asarray(are_chosen, bool)
        return _Images(list(itertools.compress(self.paths, are_chosen)), self.labels[are_chosen])


class ImageFolder(FolderSource, ImageDataset):
    """A folder of images by class. Opening it decodes every file once, to find bad ones before training does.

    What was found is remembered (`condconv_keras.data.sources.image_memory`): what has not changed is not read when the
    folder is opened again. With `Request.check_images=False` no file is opened before it is needed; then the size of
    the images is unknown, and whether some are on both sides of a split.

    A class is a sub-folder; its images may lie deeper, and behind symbolic links. Classes are sorted by name. What
    `condconv_keras.data.sources.image_files` does not take for an image is ignored, and counted in a warning. Images
    are delivered as RGB.

    With `root/train` and at least one of `root/validation`, `root/val` and `root/test`, those are the splits; otherwise
    every sub-folder is a class, a part of which is held out as `validation` (`condconv_keras.data.split_rule`). Splits
    may be spelled in other ways, as `condconv_keras.data.sources.split_folders` says.

    Raises:
        UserError: if classes are missing, empty or differ between splits, if folders are no classes or cannot be told
            from splits, or for undecodable images.
    """

    has_labels_in_memory = True
    may_be_trusted = True

    def __init__(self, request):
        folder = pathlib.Path(os.path.expanduser(request.name))
        ignored = collections.Counter()
        class_names, splits = _find_splits(folder, ignored)
        is_held_out, moved = set(splits) == {TRAIN_SPLIT}, ()
        if is_held_out:
            splits, moved = _hold_out(splits[TRAIN_SPLIT], folder, class_names, request)
        self._is_trusted = not request.check_images
        self._images, self.decoding, facts = (_trust if self._is_trusted else _check)(folder, splits, request)
        for split, images in self._images.items():
            # Classes that have lost the images that a run has held out get no others.
            if request.split_rule.is_new or not is_held_out:
                _check_every_class_has_images(folder, split, images, class_names)
        super().__init__(
            name=request.name,
            class_names=readable(class_names),
            splits={split: len(images.paths) for split, images in self._images.items()},
            held_out=is_held_out,
            split_rule=request.split_rule.name if is_held_out else None,
            moved=moved,
            **facts,
        )
        warn_of_ignored(folder, ignored)
        self.warn_of_alike_classes()

    def takes_in(self, path):
        root, place = map(os.path.realpath, (os.path.expanduser(self.name), path))
        first = os.path.relpath(place, root).split(os.sep)[0]
        if first == os.pardir or is_hidden(first):
            return False
        # Beside classes it would be one; beside splits it is not used.
        return self.held_out or any(name.startswith(f"{first}/") for s in self.splits for name in self.example_names(s))

    def paths(self, split):
        return self._images[split].paths

    def read_records(self, split, shuffle_seed):
        images = self._images[split]
        return slice_records(list(map(os.fsencode, images.paths)), images.labels, shuffle_seed)

    def class_counts(self, split):
        self.check_split(split)
        labels = self._images[split].labels
        if self._indices is not None:
            labels = np.array(self._indices)[labels]
        return np.bincount(labels, minlength=len(self.class_names))

    def check_trusted(self):
        if self._is_trusted:
            logging.warning("Checking the images of %s, which were trusted, for one that cannot be read", self.name)
            paths = [path for split in self.splits for path in self.paths(split)]
            check_images(os.path.expanduser(self.name), paths, False, self.decoding["apply_orientation"])


def _find_splits(folder, ignored):
    """Returns the class names and a dict of split name to its `_Images`; with `train` alone none is held out.

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
    """Returns the `_Images` of a split's classes, sorted by class and path; raises a `UserError` for an empty one."""
    paths, counts = [], []
    for name in class_names:
        found = search(folder / name)
        if not found.images:
            raise UserError(f"{no_image('the class folder', folder / name, found)}{detection_clause(folder)}")
        paths += found.images
        counts.append(len(found.images))
        ignored += found.ignored
    return _Images(paths, np.repeat(np.arange(len(counts), dtype=np.int32), counts))


def _hold_out(images, folder, class_names, request):
    """As `hold_out`; raises a `UserError` for a class that has too few images for a new split."""
    counts = np.bincount(images.labels)
    if request.split_rule.is_new and (counts < 2).any():
        raise UserError(
            f"class {class_names[counts.argmin()]!r} has a single image: two are needed for a training and a "
            "validation part"
        )
    splits, moved = hold_out(images.paths, images.labels.tolist(), folder, request)
    return {split: images.chosen(are_chosen) for split, are_chosen in splits.items()}, moved


def _check(folder, splits, request):
    """Decodes every image; returns the good ones by split, their `decoding`, and what `Dataset` is told as a dict."""
    paths = [path for images in splits.values() for path in images.paths]
    checked = check_images(folder, paths, request.skip_bad_images, request.apply_orientation)
    ends = np.cumsum([len(images.paths) for images in splits.values()])
    good, sizes, contents, skipped = {}, {}, {}, {}
    for (split, images), end in zip(splits.items(), ends.tolist(), strict=True):
        rows = slice(end - len(images.paths), end)
        is_good = checked.is_good[rows]
        good[split], skipped[split] = images.chosen(is_good), int(np.count_nonzero(~is_good))
        sizes[split], contents[split] = checked.sizes[rows][is_good], checked.contents[rows][is_good]
    return (
        good,
        checked.decoding,
        {
            "image_shape": (*common_size(np.concatenate([*sizes.values()])), CHANNELS),
            "repeated": count_repeated({split: (good[split].paths, contents[split]) for split in good}),
            "skipped": skipped,
            "decoded_sizes": {split: _pixels(of_split) * CHANNELS for split, of_split in sizes.items()},
        },
    )


def _pixels(sizes):
    return int(sizes.astype(np.int64).prod(axis=1).sum())


def _trust(folder, splits, request):
    """As `_check`, of images that are left as they are."""
    logging.warning(
        "The images of %s are not checked: one that cannot be decoded stops the run when it is read, and images with "
        "the same bytes on both sides of a split are not counted",
        folder,
    )
    decoding = {"apply_orientation": request.apply_orientation}
    return splits, decoding, {"image_shape": (None, None, CHANNELS), "repeated": dict.fromkeys(splits)}


def _check_every_class_has_images(folder, split, images, class_names):
    missing = np.setdiff1d(np.arange(len(class_names)), images.labels).tolist()
    if missing:
        names = [class_names[label] for label in missing]
        raise UserError(f"no readable image is left in {split} of {str(folder)!r} for: {some_of(names)}")
