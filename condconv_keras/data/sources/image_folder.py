"""A folder of images by class: `root/train/<class>/*` beside `root/validation/<class>/*`, or `root/<class>/*`."""

import dataclasses
import pathlib

import numpy as np

from condconv_keras.data.dataset import EVALUATION_SPLITS, TRAIN_SPLIT, ImageDataset, slice_records
from condconv_keras.data.sources.folder import FolderSource, hold_out
from condconv_keras.data.sources.image_checks import CHANNELS, common_size, decoded_sizes
from condconv_keras.data.sources.image_files import EXTENSIONS, image_paths
from condconv_keras.data.sources.same_bytes import count_repeated
from condconv_keras.facts.imagenet import readable
from condconv_keras.utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class _Image:
    path: str
    label: int


class ImageFolder(FolderSource, ImageDataset):
    """A folder of images by class. Opening it decodes every file once, to find bad ones before training does.

    A class is a sub-folder; its images may lie deeper. Classes are sorted by name. Hidden files and folders, and files
    with other extensions than JPEG, PNG, BMP and GIF, are ignored. Images are delivered as RGB.

    With `root/train` and at least one of `root/validation`, `root/val` and `root/test`, those are the splits; otherwise
    every sub-folder is a class, a part of which is held out as `validation` (`condconv_keras.data.split_rule`).

    Raises:
        UserError: if classes are missing, empty or differ between splits, or for undecodable images.
    """

    def __init__(self, request):
        folder = pathlib.Path(request.name).expanduser()
        class_names, splits = _find_splits(folder)
        is_held_out, moved = set(splits) == {TRAIN_SPLIT}, ()
        if is_held_out:
            splits, moved = _hold_out(splits[TRAIN_SPLIT], folder, class_names, request)
        decoded, skipped = _check_images(splits, request.skip_bad_images)
        for split, sizes in decoded.items():
            # Classes that have lost the images that a run has held out get no others.
            if request.split_rule.is_new or not is_held_out:
                _check_every_class_has_images(folder, split, sizes, class_names)
        height, width = common_size([size for sizes in decoded.values() for size in sizes.values()])
        self._paths_and_labels = {
            split: ([image.path for image in sizes], np.array([image.label for image in sizes], np.int32))
            for split, sizes in decoded.items()
        }
        super().__init__(
            name=request.name,
            class_names=readable(class_names),
            image_shape=(height, width, CHANNELS),
            splits={split: len(sizes) for split, sizes in decoded.items()},
            held_out=is_held_out,
            split_rule=request.split_rule.name if is_held_out else None,
            moved=moved,
            repeated=count_repeated({split: self.paths(split) for split in decoded}),
            skipped=skipped,
            decoded_sizes={split: sum(h * w for h, w in sizes.values()) * CHANNELS for split, sizes in decoded.items()},
        )

    def paths(self, split):
        return self._paths_and_labels[split][0]

    def read_records(self, split, shuffle_seed):
        return slice_records(*self._paths_and_labels[split], shuffle_seed)


def _find_splits(folder):
    """Returns the class names and a dict of split name to its list of `_Image`; with `train` alone none is held out."""
    evaluation = [split for split in EVALUATION_SPLITS if (folder / split).is_dir()]
    if (folder / TRAIN_SPLIT).is_dir():
        names = [TRAIN_SPLIT, *evaluation]
    else:  # images to evaluate on only, or none: a class may be called "test"
        names = [split for split in evaluation if _sub_folders(folder / split)]
    if evaluation and names:
        class_names = _class_names(folder / names[0])
        for split in names[1:]:
            _check_same_classes(folder, names[0], split, class_names)
        return class_names, {name: _list_images(folder / name, class_names) for name in names}
    if (folder / TRAIN_SPLIT).is_dir() and _sub_folders(folder / TRAIN_SPLIT):
        raise UserError(
            f"expected {' or '.join(EVALUATION_SPLITS)} beside train in {str(folder)!r}; "
            f"to hold out a part of train, give {str(folder / TRAIN_SPLIT)!r} as the data set"
        )
    class_names = _class_names(folder)
    return class_names, {TRAIN_SPLIT: _list_images(folder, class_names)}


def _sub_folders(folder):
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _class_names(folder):
    names = tuple(_sub_folders(folder))
    if not names:
        raise UserError(f"expected one folder of images per class in {str(folder)!r}, found no folder")
    return names


def _check_same_classes(folder, first, split, class_names):
    names = _class_names(folder / split)
    only_first = sorted(set(class_names) - set(names))
    only_split = sorted(set(names) - set(class_names))
    if only_first or only_split:
        differences = [
            f"only in {where}: {_some(classes)}"
            for where, classes in ((first, only_first), (split, only_split))
            if classes
        ]
        raise UserError(f"the classes of {first} and {split} in {str(folder)!r} differ: {'; '.join(differences)}")


def _some(names, limit=5):
    """Joins names for a message, the first few of a long list."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _list_images(folder, class_names):
    """Returns the `_Image`s of a split, sorted by class and path; raises a `UserError` for an empty class."""
    images = []
    for label, name in enumerate(class_names):
        paths = sorted(image_paths(folder / name))
        if not paths:
            raise UserError(f"no image ({', '.join(EXTENSIONS)}) in the class folder {str(folder / name)!r}")
        images += [_Image(path, label) for path in paths]
    return images


def _hold_out(images, folder, class_names, request):
    """As `hold_out`; raises a `UserError` for a class that has too few images for a new split."""
    labels = [image.label for image in images]
    counts = np.bincount(labels)
    if request.split_rule.is_new and (counts < 2).any():
        raise UserError(
            f"class {class_names[counts.argmin()]!r} has a single image: two are needed for a training and a "
            "validation part"
        )
    return hold_out(images, labels, folder, request)


def _check_images(splits, skip_bad_images):
    """Decodes every image and returns, per split, a dict of good `_Image` to (height, width), and the count of bad."""
    sizes = decoded_sizes([image.path for split in splits.values() for image in split], skip_bad_images)
    decoded = {
        name: {image: sizes[image.path] for image in split if image.path in sizes} for name, split in splits.items()
    }
    return decoded, {name: len(split) - len(decoded[name]) for name, split in splits.items()}


def _check_every_class_has_images(folder, split, images, class_names):
    missing = set(range(len(class_names))) - {image.label for image in images}
    if missing:
        names = [class_names[label] for label in sorted(missing)]
        raise UserError(f"no readable image is left in {split} of {str(folder)!r} for: {_some(names)}")
