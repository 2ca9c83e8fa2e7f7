import itertools

import numpy as np
from sklearn.datasets import load_digits

from condconv_keras.data import open_dataset


def _arrays(dataset, split, **kwargs):
    images, labels = zip(*dataset.examples(split, **kwargs).as_numpy_iterator(), strict=True)
    return np.stack(images), np.array(labels)


def test_description():
    digits = open_dataset("digits")
    assert digits.name == "digits"
    assert digits.class_names == tuple("0123456789")
    assert digits.image_shape == (8, 8, 1)
    assert digits.splits == {"train": 1437, "test": 360}
    assert (digits.train_split, digits.evaluation_split) == ("train", "test")
    assert digits.skipped == {"train": 0, "test": 0}
    assert digits.decoded_bytes("train") == 1437 * 64


def test_the_splits_are_sklearns_digits_each_once():
    digits = open_dataset("digits")
    reference = load_digits()
    # The values 0..16 become 0..255: 255 / 16 = 15.9375.
    expected = sorted(
        (np.floor(image * 15.9375 + 0.5).astype(np.uint8).tobytes(), int(label))
        for image, label in zip(reference.images, reference.target, strict=True)
    )
    received = []
    for split, count in digits.splits.items():
        images, labels = _arrays(digits, split)
        assert images.dtype == np.uint8
        assert labels.dtype == np.int32
        assert images.shape == (count, 8, 8, 1)
        received += [(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)]
    assert sorted(received) == expected


def test_the_split_is_stratified():
    digits = open_dataset("digits")
    counts = np.bincount(load_digits().target)
    for split, size in digits.splits.items():
        _, labels = _arrays(digits, split)
        np.testing.assert_allclose(np.bincount(labels), counts * (size / 1797), atol=1)


def test_the_order_is_fixed_and_a_seed_permutes_it():
    first, _ = _arrays(open_dataset("digits"), "test")
    again, _ = _arrays(open_dataset("digits"), "test")
    shuffled, other = (_arrays(open_dataset("digits"), "test", shuffle_files_seed=seed)[0] for seed in (3, 4))
    np.testing.assert_array_equal(first, again)
    for one, two in itertools.combinations((first, shuffled, other), 2):
        assert not np.array_equal(one, two)
        assert sorted(image.tobytes() for image in one) == sorted(image.tobytes() for image in two)
