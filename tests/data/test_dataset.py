"""What every data set says of itself, and what follows from its description."""

import numpy as np
import pytest

from condconv_keras.data import Dataset, DetectionDataset, ImageDataset, open_dataset
from condconv_keras.data.dataset import slice_records
from condconv_keras.data.input.decoding import DecodedImage
from condconv_keras.utils.errors import UserError


def test_check_split_names_the_splits():
    digits = open_dataset("digits")
    digits.check_split("train")
    for use in (digits.check_split, digits.records, digits.examples, digits.decoded_bytes):
        with pytest.raises(UserError, match="data set 'digits' has the splits train, test; received: 'validation'"):
            use("validation")


class _Toy(ImageDataset):
    def read_records(self, split, shuffle_seed):
        return slice_records(np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1), np.arange(3), shuffle_seed)


class _Boxes(DetectionDataset):
    read_records = _Toy.read_records


@pytest.mark.parametrize(("shape", "size"), [((2, 2, 1), 4), ((5, 4, 3), 60), ((None, None, 3), None)])
def test_what_a_description_leaves_out(shape, size):
    toy = _Toy(name="toy", class_names=["a", "b"], image_shape=shape, splits={"train": 3, "val": 2})
    assert (toy.held_out, toy.skipped) == (False, {"train": 0, "val": 0})
    assert toy.left_out("train", "val") == {"skipped_images": 0}
    assert [toy.decoded_bytes(split) for split in toy.splits] == [size and 3 * size, size and 2 * size]
    assert (toy.class_names, toy.evaluation_split, toy.content) == (("a", "b"), "val", "labels")
    boxes = _Boxes(name="toy", class_names=["a", "b"], image_shape=shape, splits={"test": 3})
    assert (boxes.category_ids, boxes.skipped_boxes, boxes.content) == ((1, 2), {"test": {}}, "boxes")
    assert boxes.left_out("test") == {"skipped_images": 0, "skipped_boxes": 0}


def test_records_are_images_where_a_source_says_nothing_else():
    toy = _Toy(name="toy", class_names="ab", image_shape=(2, 2, 1), splits={"train": 3})
    for i, (image, label) in enumerate(toy.examples("train").as_numpy_iterator()):
        np.testing.assert_array_equal(image[..., 0], [[4 * i, 4 * i + 1], [4 * i + 2, 4 * i + 3]])
        assert label == i
    assert isinstance(toy.image(np.zeros((2, 2, 1))), DecodedImage)


@pytest.mark.parametrize("base", [Dataset, ImageDataset, DetectionDataset])
def test_a_data_set_reads_records(base):
    with pytest.raises(TypeError, match="read_records"):
        base(name="toy", class_names="ab", image_shape=(2, 2, 1), splits={"train": 3})
