"""What every data set is: images in splits, read as records, and what a source says of itself before it is opened."""

from __future__ import annotations

import abc
import copy
import dataclasses
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from condconv_keras.data.input.decoding import DecodedImage, EncodedImage
from condconv_keras.data.input.tuning import PARALLEL_CALLS, untuned
from condconv_keras.data.split_rule import NEW, SplitRule
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import tensorflow as tf

TRAIN_SPLIT = "train"
EVALUATION_SPLITS = ("validation", "val", "test")  # in order of preference
# Part of the data that is held out where it has no split of its own.
VALIDATION_FRACTION = 0.2


@dataclasses.dataclass(frozen=True)
class Request:
    """Which data set a source is to open, and how.

    Attributes:
        name, data_dir, validation_fraction, skip_bad_images, download, apply_orientation, check_images: as in
            `condconv_keras.data.open_dataset`.
        embedded_names: the embedded data sets with labels of the kind, which may have been meant by a name that nothing
            has.
        split_rule: as in `condconv_keras.data.open_dataset`.

    Raises:
        UserError: if the fraction does not leave something for training and for validation, or bad images are to be
            left out and no image is to be checked.
    """

    name: str
    data_dir: str | os.PathLike[str] | None = None
    validation_fraction: float = VALIDATION_FRACTION
    skip_bad_images: bool = False
    download: bool = True
    embedded_names: tuple[str, ...] = ()
    split_rule: SplitRule = NEW
    apply_orientation: bool = True
    check_images: bool = True

    def __post_init__(self) -> None:
        if self.skip_bad_images and not self.check_images:
            raise UserError("`skip_bad_images` leaves out what the check finds: it is not for `check_images=False`")
        if not 0 < self.validation_fraction < 1:
            raise UserError(f"`validation_fraction` must be between 0 and 1. Received: {self.validation_fraction!r}")


class Dataset(abc.ABC):
    """A data set of images in splits.

    A source of data sets is a subclass of `ImageDataset` or `DetectionDataset` that stands in the table of
    `condconv_keras.data.opening`. A call with a `Request` opens the data set: `__init__` of the subclass passes the
    arguments below on to this one. Its class attributes say what flags have a use for, before anything is opened or
    TensorFlow imported.

    Args:
        name: as it was asked for: `"digits"`, a TFDS name or a folder.
        class_names: tuple of strings; class `i` is `class_names[i]`.
        image_shape: `(height, width, channels)`; height and width are None where the images differ.
        splits: dict of split name to the number of its examples.
        held_out: whether the evaluation split is a part of the source's training examples, not a split of its own.
        split_rule: name of the rule by which a part is held out, as in `condconv_keras.data.split_rule`; else None.
        moved: names of the images that are on the other side than the rule says, so that every class has some on both.
        repeated: dict of split name to the number of its images whose bytes are those of a training image, None where
            nobody has looked; none by default, as where there are no files to compare.
        skipped: dict of split name to the number of unreadable images that were left out; none by default.
        decoded_sizes: dict of split name to its size in bytes as uint8 images, None where unknown; by default what
            follows from the shape.

    Attributes:
        present_classes: None, or of a data set as of `with_classes` that lacks some of the classes the sorted indices
            of those that it has.
        content: a word for what its images have.
        purpose: the same as a clause that says which models it is for.
        embedded_name: the one name of a source that needs no files, None for other sources. It comes before all else
            that has the name.
        is_folder: whether the name of a data set is the path of a folder.
        checks_images: whether opening decodes every image, by TensorFlow, and `Request.skip_bad_images` is of use.
        may_be_trusted: whether it can be opened without that, by `Request.check_images`.
        reads_files: whether its images are files, which may state an EXIF orientation, and `Request.apply_orientation`
            is of use.
        uses_data_dir: whether `Request.data_dir` is of use.
        made_by_this_process: whether Python code of this process makes the images, which no other machine has.
        seed_permutes_all: whether the seed of `records` permutes all records, so that none need be kept in memory to
            shuffle them.
    """

    content: str
    purpose: str
    embedded_name: str | None = None
    is_folder: bool = False
    checks_images: bool = False
    may_be_trusted: bool = False
    reads_files: bool = False
    uses_data_dir: bool = False
    made_by_this_process: bool = False
    seed_permutes_all: bool = False

    _indices: tuple[int, ...] | None = None
    present_classes: tuple[int, ...] | None = None

    def __init__(
        self,
        *,
        name: str,
        class_names: Iterable[str],
        image_shape: Iterable[int | None],
        splits: dict[str, int],
        held_out: bool = False,
        split_rule: str | None = None,
        moved: Iterable[str] = (),
        repeated: Mapping[str, int | None] | None = None,
        skipped: dict[str, int] | None = None,
        decoded_sizes: dict[str, int | None] | None = None,
    ) -> None:
        self.name = name
        self.class_names = tuple(class_names)
        self.image_shape = tuple(image_shape)
        self.splits = splits
        self.held_out = held_out
        self.split_rule = split_rule
        self.moved = tuple(moved)
        self.repeated: dict[str, int | None] = {**dict.fromkeys(splits, 0), **(repeated or {})}
        self.skipped = dict.fromkeys(splits, 0) if skipped is None else skipped
        if decoded_sizes is None:
            sides = [side for side in self.image_shape if side is not None]
            size = math.prod(sides) if len(sides) == len(self.image_shape) else None
            decoded_sizes = {split: None if size is None else count * size for split, count in splits.items()}
        self.decoded_sizes = decoded_sizes

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, splits={self.splits})"

    @classmethod
    def claims(cls, name: str, data_dir: str | os.PathLike[str] | None) -> bool:
        """Whether a name means a data set of this source; judged at once, without importing anything heavy."""
        del data_dir
        return name == cls.embedded_name

    @classmethod
    def may_hold_out(cls, name: str) -> bool:
        """Whether the data set of this name may have no split to evaluate on, judged before it is opened."""
        del name
        return cls.embedded_name is None

    @abc.abstractmethod
    def read_records(self, split: str, shuffle_seed: int | tf.Tensor | None) -> tf.data.Dataset:
        """Returns a `tf.data.Dataset` of `(record, label)`.

        Args:
            split: one of `splits`.
            shuffle_seed: permutes what is free to permute, such as paths and files: an integer, a scalar tensor, or
                None for the stored order.

        Returns:
            Records are whatever is small to shuffle, as `image` takes them: paths, encoded or small decoded images.
        """

    def example_names(self, split: str) -> list[str] | None:
        """Returns a list of the names of a split's images, which do not change with the others, or None without any."""
        del split
        return None

    def check_trusted(self) -> None:  # noqa: B027 - most sources trust no image
        """Checks the images that were not when the data set was opened; raises a `UserError` that names a bad one."""

    def takes_in(self, path: str | os.PathLike[str]) -> bool:
        """Whether a folder at a path would be taken for a part of the data when they are opened again."""
        del path
        return False

    def image(self, record: tf.Tensor) -> DecodedImage | EncodedImage:
        """Returns the image of a record as a `DecodedImage` or `EncodedImage`, to be read whole or in part.

        Here a record is a decoded image, uint8 `[height, width, channels]`; sources of other records override this.
        """
        return DecodedImage(record)

    @property
    def train_split(self) -> str:
        return TRAIN_SPLIT

    @property
    def evaluation_split(self) -> str:
        """The first of `EVALUATION_SPLITS` that exists; where none does `check_split` refuses the answer."""
        return next((split for split in EVALUATION_SPLITS if split in self.splits), EVALUATION_SPLITS[0])

    def check_split(self, split: str) -> None:
        """Raises a `UserError` that names the existing splits if `split` is not one of them."""
        if split not in self.splits:
            raise UserError(f"data set {self.name!r} has the splits {', '.join(self.splits)}; received: {split!r}")

    def decoded_bytes(self, split: str) -> int | None:
        """Returns the bytes that the split's decoded (uint8) images take, or None when that is unknown."""
        self.check_split(split)
        return self.decoded_sizes[split]

    def left_out(self, *splits: str) -> dict[str, Any]:
        """Returns how many images of the splits were left out, as a dict that JSON can hold."""
        return {"skipped_images": sum(self.skipped[split] for split in splits)}

    def records(self, split: str, shuffle_seed: int | tf.Tensor | None = None) -> tf.data.Dataset:
        """Returns a `tf.data.Dataset` of `(record, label)`: `examples` before decoding."""
        self.check_split(split)
        records = self.read_records(split, shuffle_seed)
        if self._indices is None:
            return records
        indices = tf.constant(self._indices, tf.int32)
        return records.map(lambda record, label: (record, self._relabel(label, indices)), tf.data.AUTOTUNE)

    def with_classes(self, class_names: Sequence[str], indices: Sequence[int]) -> Self:
        """Returns the data set with the labels of a model.

        Args:
            class_names: names of the model's classes, in its order.
            indices: for each class of the data set the index of the model's, each once.
        """
        labeled = copy.copy(self)
        labeled.class_names = tuple(class_names)
        if tuple(indices) != tuple(range(len(class_names))):
            labeled._indices = tuple(indices)
        if len(indices) < len(class_names):
            labeled.present_classes = tuple(sorted(indices))
        return labeled

    def _relabel(self, label: Any, indices: tf.Tensor) -> Any:
        """Returns a record's label with its classes replaced by their `indices`, an int32 tensor."""
        return tf.gather(indices, label)

    def examples(self, split: str, shuffle_files_seed: int | tf.Tensor | None = None) -> tf.data.Dataset:
        """Returns a `tf.data.Dataset` of `(uint8 [height, width, channels], label)`, every image once.

        The order is fixed. It is the stored one unless `shuffle_files_seed` is given, which permutes the files.
        """
        records = self.records(split, shuffle_files_seed)
        return untuned(records.map(lambda record, label: (self.image(record).whole(), label), PARALLEL_CALLS))


class ImageDataset(Dataset):
    """A `Dataset` of images with one class label each, int32 `[]`: label `i` means `class_names[i]`.

    Attributes:
        has_labels_in_memory: whether `class_counts` reads no file.
    """

    content = "labels"
    purpose = "has labels, for classifiers"
    has_labels_in_memory = False

    def class_counts(self, split: str) -> np.ndarray:
        """Returns the number of examples of each class of a split, int64 [classes]. No image is decoded."""
        counts = np.zeros(len(self.class_names), np.int64)
        for labels in untuned(self.records(split).map(lambda _, label: label).batch(4096)).as_numpy_iterator():
            counts += np.bincount(labels, minlength=len(counts))
        return counts


def slice_records(records: np.ndarray, labels: np.ndarray, shuffle_seed: int | tf.Tensor | None) -> tf.data.Dataset:
    """Returns a `tf.data.Dataset` of `(record, label)` from two arrays, permuted if there is a seed."""
    dataset = tf.data.Dataset.from_tensor_slices((records, labels))
    if shuffle_seed is None:
        return dataset
    return dataset.shuffle(len(labels), seed=shuffle_seed, reshuffle_each_iteration=False)
