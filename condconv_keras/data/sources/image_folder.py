"""A folder of images by class: `root/train/<class>/*` beside `root/validation/<class>/*`, or `root/<class>/*`."""

import collections
import os
import pathlib

import numpy as np
from absl import logging

from condconv_keras.data.dataset import TRAIN_SPLIT, ImageDataset, slice_records
from condconv_keras.data.sources.class_folders import find_splits
from condconv_keras.data.sources.folder import FolderSource, hold_out
from condconv_keras.data.sources.image_checks import CHANNELS, check_images, common_size
from condconv_keras.data.sources.image_files import (
    is_hidden,
    warn_of_ignored,
)
from condconv_keras.data.sources.same_bytes import count_repeated
from condconv_keras.facts.imagenet import readable
from condconv_keras.utils.errors import UserError, some_of


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
        class_names, splits = find_splits(folder, ignored)
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
