"""What all folders of images say of themselves before they are opened."""

import os
import pathlib
import re

from condconv_keras.data.dataset import TRAIN_SPLIT
from condconv_keras.data.input.decoding import EncodedImage
from condconv_keras.data.sources.image_checks import read_file
from condconv_keras.data.sources.split_folders import split_folders


class FolderSource:
    """The part of a `Dataset` that folders share: the name is a path, records are the bytes of paths of image files."""

    is_folder = True
    checks_images = True
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

    def image(self, record):
        return EncodedImage(read_file(record), self.image_shape)


def _is_prepared(name, data_dir):
    """Whether `data_dir` holds a TFDS data set of this name, judged without importing TFDS."""
    stem = re.split("[/:]", name)[0]
    if not (data_dir and stem):
        return False
    return any(pathlib.Path(os.path.expanduser(data_dir), stem).rglob("dataset_info.json"))
