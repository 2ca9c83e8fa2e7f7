"""The embedded data set: scikit-learn's 1,797 handwritten digits, 8x8, one channel.

Source: `sklearn.datasets.load_digits`, the test part of the UCI set "Optical Recognition of Handwritten Digits".
"""

import numpy as np

from condconv_keras.data.dataset import ImageDataset, slice_records
from condconv_keras.utils.lazy import LazyModule

sklearn_datasets = LazyModule("sklearn.datasets")
model_selection = LazyModule("sklearn.model_selection")

TEST_EXAMPLES = 360
SPLIT_SEED = 0
MAX_VALUE = 16  # load_digits counts the dark pixels of 4x4 blocks


def open_digits():
    """Returns the digits as an `ImageDataset`: 1,437 for training and 360 for testing, stratified by class."""
    arrays = digit_splits()
    images, labels = arrays["train"]
    return ImageDataset(
        name="digits",
        class_names=tuple(str(digit) for digit in range(labels.max() + 1)),
        image_shape=images.shape[1:],
        splits={split: len(labels) for split, (_, labels) in arrays.items()},
        held_out=False,
        skipped=dict.fromkeys(arrays, 0),
        decoded_sizes={split: images.nbytes for split, (images, _) in arrays.items()},
        read_records=lambda split, shuffle_seed: slice_records(*arrays[split], shuffle_seed),
        encoded_record=None,
    )


def digit_splits():
    """Returns a dict of `"train"` and `"test"` to images, uint8 `[count, 8, 8, 1]`, 255 for ink, and int32 labels."""
    digits = sklearn_datasets.load_digits()
    images = np.round(digits.images * (255 / MAX_VALUE)).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int32)
    train_images, test_images, train_labels, test_labels = model_selection.train_test_split(
        images, labels, test_size=TEST_EXAMPLES, random_state=SPLIT_SEED, stratify=labels
    )
    return {"train": (train_images, train_labels), "test": (test_images, test_labels)}
