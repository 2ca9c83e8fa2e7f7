"""Real images: those that int8 quantization is calibrated on, and others that the exported files are checked on."""

import dataclasses
import os
import pathlib

import numpy as np

from condconv_keras.data.dataset import TRAIN_SPLIT, Dataset
from condconv_keras.data.input.decoding import read_image
from condconv_keras.data.sources.image_files import find_images, warn_of_ignored
from condconv_keras.data.sources.photographs import photographs
from condconv_keras.data.sources.split_folders import split_folders
from condconv_keras.utils.errors import UserError

CALIBRATION_IMAGES = 128
CHECK_IMAGES = 16
MIN_CHECK_IMAGES = 8


@dataclasses.dataclass(frozen=True)
class DatasetImages:
    """The images of a data set: calibration uses its training split, the check a held-out one."""

    dataset: Dataset

    def calibration(self):
        """Yields the images; raises a `UserError` if the data set has no training split."""
        if TRAIN_SPLIT not in self.dataset.splits:
            raise UserError(
                f"calibration needs training images, data set {self.dataset.name!r} has the splits "
                f"{', '.join(self.dataset.splits)}: give `representative_data`"
            )
        return self._some(TRAIN_SPLIT, CALIBRATION_IMAGES)

    def check(self):
        """Yields held-out images, and training images after them for a check that needs more."""
        yield from self._some(self.dataset.evaluation_split, CHECK_IMAGES)
        if TRAIN_SPLIT in self.dataset.splits:
            yield from self._some(TRAIN_SPLIT, CHECK_IMAGES)

    def _some(self, split, count):
        # The files of a folder are sorted by class: their order is permuted, the same way every time.
        return (image for image, _ in self.dataset.examples(split, shuffle_files_seed=0).take(count))


@dataclasses.dataclass(frozen=True)
class FolderImages:
    """Image files: calibration uses up to 128, evenly spaced in their sorted order, the check others if it can.

    They are turned as their EXIF orientation says if `apply_orientation`.
    """

    paths: list[pathlib.Path]
    apply_orientation: bool = True

    def calibration(self):
        """Yields the images; raises a `UserError` for a file that cannot be decoded."""
        return map(self._read, self._calibration_paths())

    def check(self):
        """Yields images that calibration has not seen, if there are enough of them; errors as in `calibration`."""
        used = set(self._calibration_paths())
        others = [path for path in self.paths if path not in used]
        return map(self._read, _evenly_spaced(others if len(others) >= MIN_CHECK_IMAGES else self.paths, CHECK_IMAGES))

    def _read(self, path):
        return read_image(path, self.apply_orientation)

    def _calibration_paths(self):
        return _evenly_spaced(self.paths, CALIBRATION_IMAGES)


class Photographs:
    """Windows of the two photographs that scikit-learn ships, for models without data.

    Args:
        trained: whether the model is. A random network may answer a few of many windows fiftyfold, and the ranges of
            int8 would be those windows': it is calibrated on the windows that `condconv_keras.stored.untrained` sets
            its scales by.
    """

    def __init__(self, trained=True):
        self._grid = {"rows": 8, "columns": 8} if trained else {}

    def calibration(self):
        """Yields the images."""
        return photographs(**self._grid)

    def check(self):
        """Yields other images: the photographs are mirrored."""
        return (window[:, ::-1] for window in photographs())


def folder_images(folder, dataset=None, apply_orientation=True):
    """The images below a folder, whatever its sub-folders mean, without those that a data set holds out.

    Args:
        folder: path; where it has a folder `train`, however that is spelled, it is searched alone.
        dataset: `Dataset` that the accuracy is measured on, or None.
        apply_orientation: whether the images are turned as their EXIF orientation says.

    Raises:
        UserError: there is no image, or none that is not held out.
    """
    folder = pathlib.Path(os.path.expanduser(folder))
    held_out = _held_out_files(dataset)
    found = find_images(split_folders(folder).get(TRAIN_SPLIT, [folder]))
    paths = [path for path in found.images if os.path.realpath(path) not in held_out]
    if not paths:
        raise UserError(f"every image in {str(folder)!r} is held out to measure the accuracy: give other images")
    warn_of_ignored(folder, found.ignored)
    return FolderImages(paths, apply_orientation)


def check_images(source, preprocessing):
    """Returns 8 to 16 images that differ, as of `Preprocessing.evaluation_images`.

    They are those of a source first, photographs where they are few.
    """
    found = {}
    for place in (source, Photographs()):
        for image in place.check():
            image = np.asarray(preprocessing.evaluation_image(image))
            found.setdefault(image.tobytes(), image)
            if len(found) == CHECK_IMAGES:
                return np.stack(list(found.values()))
        if len(found) >= MIN_CHECK_IMAGES:
            break
    return np.stack(list(found.values()))


def _held_out_files(dataset):
    """The real paths of a data set's image files outside its training split; empty for data of another kind."""
    if dataset is None or not os.path.isdir(os.path.expanduser(dataset.name)):
        return set()
    splits = [split for split in dataset.splits if split != TRAIN_SPLIT]
    records = [record for split in splits for record, _ in dataset.records(split).as_numpy_iterator()]
    return {os.path.realpath(os.fsdecode(record)) for record in records if isinstance(record, bytes)}


def _evenly_spaced(values, count):
    return [values[i] for i in np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int)]
