"""What all folders of images say of themselves before they are opened."""

import os
import pathlib
import re

from condconv_keras.data.dataset import EVALUATION_SPLITS, TRAIN_SPLIT
from condconv_keras.data.input.decoding import EncodedImage
from condconv_keras.data.sources.image_checks import read_file


class FolderSource:
    """The part of a `Dataset` that folders share: the name is a path, records are paths of image files.

    Attributes:
        apply_orientation: as in `condconv_keras.data.open_dataset`.
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
        has_train, *has_evaluation = (os.path.isdir(os.path.join(name, s)) for s in (TRAIN_SPLIT, *EVALUATION_SPLITS))
        return not (has_train and any(has_evaluation))

    def image(self, record):
        return EncodedImage(read_file(record), self.image_shape, self.apply_orientation)


def _is_prepared(name, data_dir):
    """Whether `data_dir` holds a TFDS data set of this name, judged without importing TFDS."""
    stem = re.split("[/:]", name)[0]
    return bool(data_dir and stem) and any(pathlib.Path(data_dir, stem).expanduser().rglob("dataset_info.json"))
