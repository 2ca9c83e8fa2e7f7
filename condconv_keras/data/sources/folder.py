"""What all folders of images say of themselves before they are opened."""

import abc
import os
import pathlib
import re

from absl import logging

from condconv_keras.data.dataset import EVALUATION_SPLITS, TRAIN_SPLIT
from condconv_keras.data.input.decoding import EncodedImage
from condconv_keras.data.sources.image_checks import read_file
from condconv_keras.data.sources.split_folders import split_folders
from condconv_keras.data.split_rule import held_out, names_below
from condconv_keras.facts.class_names import spelled_alike
from condconv_keras.utils.errors import UserError, some_of


class FolderSource(abc.ABC):
    """The part of a `Dataset` that folders share: the name is a path, records are the bytes of paths of image files.

    Attributes:
        decoding: what it takes to read the images, as a dict of arguments of `EncodedImage`.
    """

    is_folder = True
    checks_images = True
    reads_files = True
    seed_permutes_all = True

    @classmethod
    def claims(cls, name, data_dir):
        """Whether there is such a folder, and `data_dir` holds no data set of its name."""
        return os.path.isdir(os.path.expanduser(name)) and not _is_prepared(name, data_dir)

    @classmethod
    def may_hold_out(cls, name):
        """Whether the folder lacks one of a split to train on and a split to evaluate on."""
        folder = pathlib.Path(os.path.expanduser(name))
        splits = split_folders(folder) if folder.is_dir() else ()
        return not (TRAIN_SPLIT in splits and len(splits) > 1)

    def warn_of_alike_classes(self):
        """Says which classes have names that people take for one; they stay as many as they are."""
        alike = spelled_alike(self.class_names)
        if alike:
            shown = some_of([" and ".join(map(repr, names)) for names in alike])
            logging.warning("Classes of %s that differ in their spelling only, and are not one: %s", self.name, shown)

    @abc.abstractmethod
    def paths(self, split):
        """Returns the list of the paths of a split's images, strings."""

    def example_names(self, split):
        return names_below(str(pathlib.Path(os.path.expanduser(self.name))), self.paths(split))

    def image(self, record):
        return EncodedImage(read_file(record), self.image_shape, **self.decoding)


def _is_prepared(name, data_dir):
    """Whether `data_dir` holds a TFDS data set of this name, judged without importing TFDS."""
    stem = re.split("[/:]", name)[0]
    if not (data_dir and stem):
        return False
    return any(pathlib.Path(os.path.expanduser(data_dir), stem).rglob("dataset_info.json"))


def hold_out(paths, classes, root, request):
    """Divides the images of a folder into those for training and those that are held out.

    Args:
        paths: list of the images' paths, strings.
        classes: list of what class each is of, as in `condconv_keras.data.split_rule.held_out`.
        root: path of the folder.
        request: `Request`.

    Returns:
        A dict of the two splits to a list of booleans, whether each image is in it, and the names of the images that
        were moved.

    Raises:
        UserError: a split has none, as where those that a run has held out are gone.
    """
    names = names_below(str(root), paths)
    chosen, moved = held_out(names, classes, request.validation_fraction, request.split_rule)
    splits = {TRAIN_SPLIT: [not is_held_out for is_held_out in chosen], EVALUATION_SPLITS[0]: chosen}
    for split, is_in_split in splits.items():
        if not any(is_in_split):
            raise UserError(f"{str(root)!r} has no image for {split}: those of the run are gone")
    return splits, moved
