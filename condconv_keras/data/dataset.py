"""One description of a labelled image data set, whatever its source, and the function that opens one by name."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable

from condconv_keras.data.input.decoding import DecodedImage, EncodedImage
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import tensorflow as tf

TRAIN_SPLIT = "train"
EVALUATION_SPLITS = ("validation", "val", "test")  # in order of preference
EMBEDDED = ("digits", "digit_scenes")  # data sets that come with the requirements


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageDataset:
    """A data set of images with one class label each.

    Attributes:
        name: as it was asked for: `"digits"`, a TFDS name or a folder.
        class_names: tuple of strings; label `i` means `class_names[i]`.
        image_shape: `(height, width, channels)`; height and width are None where the images differ.
        splits: dict of split name to the number of its examples.
        held_out: whether the evaluation split is a part of the source's training examples, not a split of its own.
        skipped: dict of split name to the number of unreadable images that were left out.
        decoded_sizes: dict of split name to its size in bytes as uint8 images, None where unknown.
        read_records: function of a split name and a seed (None for the stored order) that returns a `tf.data.Dataset`
            of `(record, label)`. A record is whatever is small to shuffle: a path, an encoded image. The seed
            (an integer or a scalar tensor) permutes what is free to permute, such as paths and files.
        encoded_record: function of a record that returns the content of its image file, a string scalar; None where
            the records are decoded images, uint8 `[height, width, channels]`.
        seed_permutes_all: whether the seed of `read_records` permutes all records, so that none need be kept in
            memory to shuffle them.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int | None, int | None, int]
    splits: dict[str, int]
    held_out: bool
    skipped: dict[str, int]
    decoded_sizes: dict[str, int | None]
    read_records: Callable = dataclasses.field(repr=False)
    encoded_record: Callable | None = dataclasses.field(repr=False)
    seed_permutes_all: bool = False

    @property
    def train_split(self):
        return TRAIN_SPLIT

    @property
    def evaluation_split(self):
        """The first of `EVALUATION_SPLITS` that exists; where none does `check_split` refuses the answer."""
        return next((split for split in EVALUATION_SPLITS if split in self.splits), EVALUATION_SPLITS[0])

    def check_split(self, split):
        """Raises a `UserError` that names the existing splits if `split` is not one of them."""
        if split not in self.splits:
            raise UserError(f"data set {self.name!r} has the splits {', '.join(self.splits)}; received: {split!r}")

    def decoded_bytes(self, split):
        """Returns the bytes that the split's decoded (uint8) images take, or None when that is unknown."""
        self.check_split(split)
        return self.decoded_sizes[split]

    def left_out(self, *splits):
        """Returns how many images of the splits were left out, as a dict that JSON can hold."""
        return {"skipped_images": sum(self.skipped[split] for split in splits)}

    def records(self, split, shuffle_seed=None):
        """Returns a `tf.data.Dataset` of `(record, int32 label)`: `examples` before decoding."""
        self.check_split(split)
        return self.read_records(split, shuffle_seed)

    def image(self, record):
        """Returns the image of a record as a `DecodedImage` or `EncodedImage`, to be read whole or in part."""
        if self.encoded_record is None:
            return DecodedImage(record)
        return EncodedImage(self.encoded_record(record), self.image_shape)

    def examples(self, split, shuffle_files_seed=None):
        """Returns a `tf.data.Dataset` of `(uint8 [height, width, channels], int32 [])`, every image once.

        The order is fixed. It is the stored one unless `shuffle_files_seed` is given, which permutes the files.
        """
        records = self.records(split, shuffle_files_seed)
        return records.map(lambda record, label: (self.image(record).whole(), label), tf.data.AUTOTUNE)


def slice_records(records, labels, shuffle_seed):
    """Returns a `tf.data.Dataset` of `(record, label)` from two arrays, permuted if there is a seed."""
    dataset = tf.data.Dataset.from_tensor_slices((records, labels))
    if shuffle_seed is None:
        return dataset
    return dataset.shuffle(len(labels), seed=shuffle_seed, reshuffle_each_iteration=False)


def open_dataset(name, data_dir=None, validation_fraction=0.2, skip_bad_images=False, download=True):
    """Opens a data set.

    Args:
        name: `"digits"` (embedded), a TFDS name (`"fashion_mnist"`, `"name:1.0.0"`, `"name/config"`), or a folder of
            images by class. What is prepared in `data_dir` comes before a folder, a folder before TFDS's registry.
        data_dir: the folder of prepared TFDS data sets, TFDS's own default if None.
        validation_fraction: the part of the examples that is held out where the source has a training part only.
        download: whether TFDS may download and prepare a data set that is not in `data_dir`.
        skip_bad_images: whether a folder's undecodable images are logged and left out instead of refused.

    Returns:
        An `ImageDataset`.

    Raises:
        UserError: if there is no such data set, or it does not hold labelled images.
    """
    check_validation_fraction(validation_fraction)
    name = os.fspath(name)
    if name == "digits":
        from condconv_keras.data.sources.digits import open_digits

        return open_digits()
    if is_folder(name, data_dir):
        from condconv_keras.data.sources.image_folder import open_folder

        return open_folder(name, validation_fraction, skip_bad_images)
    if name == "digit_scenes":
        raise UserError("expected images with labels, such as 'digits'; 'digit_scenes' has boxes: it is for detectors")
    check_no_path(name)
    from condconv_keras.data.sources.tfds_source import open_tfds

    return open_tfds(name, data_dir, validation_fraction, download)


def check_validation_fraction(fraction):
    """Raises a `UserError` unless the fraction leaves something for training and for validation."""
    if not 0 < fraction < 1:
        raise UserError(f"expected a validation fraction between 0 and 1, received: {fraction!r}")


def check_no_path(name):
    """Raises a `UserError` for a name that can only be a folder's, given that there is no such folder."""
    if os.path.isabs(name) or name.startswith((".", "~")):
        raise UserError(f"expected a folder of images, there is none at {name!r}")


def is_folder(name, data_dir):
    """Whether a data set name means a folder of images: not an embedded set, nor one prepared in `data_dir`."""
    return name not in EMBEDDED and os.path.isdir(os.path.expanduser(name)) and not _is_prepared(name, data_dir)


def _is_prepared(name, data_dir):
    """Whether `data_dir` holds a TFDS data set of this name, judged without importing TFDS."""
    stem = re.split("[/:]", name)[0]
    return bool(data_dir and stem) and any(pathlib.Path(data_dir, stem).expanduser().rglob("dataset_info.json"))
