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


class Digits(ImageDataset):
    """The digits: 1,437 for training and 360 for testing, stratified by class."""

    embedded_name = "digits"
    has_labels_in_memory = True

    def __init__(self, request):
        self._arrays = digit_splits()
        images, labels = self._arrays["train"]
        super().__init__(
            name=request.name,
            class_names=map(str, range(labels.max() + 1)),
            image_shape=images.shape[1:],
            splits={split: len(labels) for split, (_, labels) in self._arrays.items()},
        )

    def read_records(self, split, shuffle_seed):
        return slice_records(*self._arrays[split], shuffle_seed)


def digit_splits():
    """Returns a dict of `"train"` and `"test"` to images, uint8 `[count, 8, 8, 1]`, 255 for ink, and int32 labels."""
    digits = sklearn_datasets.load_digits()
    images = np.round(digits.images * (255 / MAX_VALUE)).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int32)
    train_images, test_images, train_labels, test_labels = model_selection.train_test_split(
        images, labels, test_size=TEST_EXAMPLES, random_state=SPLIT_SEED, stratify=labels
    )
    return {"train": (train_images, train_labels), "test": (test_images, test_labels)}
