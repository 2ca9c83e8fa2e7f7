"""Arguments of `open_dataset` that a data set would ignore."""

import pytest

from condconv_keras.data import open_dataset
from condconv_keras.data.unused_arguments import check_data_arguments, check_validation_fraction
from condconv_keras.utils.errors import UserError


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("digits", "data_dir", "^`data_dir` is for data sets of TFDS"),
        ("FOLDER", "data_dir", "^`data_dir` is for data sets of TFDS"),
        ("digits", "validation_fraction", "^`validation_fraction` is for data without a held-out split, this"),
        ("fashion_mnist", "skip_bad_images", "^`skip_bad_images` is for a folder of images$"),
        ("digits", "apply_orientation", "^`apply_orientation` is for image files, an embedded data set has none$"),
    ],
)
def test_what_a_data_set_would_ignore_is_refused(name, given, message, tmp_path):
    name = str(tmp_path) if name == "FOLDER" else name
    with pytest.raises(UserError, match=message):
        check_data_arguments({given, "batch_size"}, name, None)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("fashion_mnist", {"data_dir", "apply_orientation"}),
        ("FOLDER", {"validation_fraction", "skip_bad_images", "apply_orientation"}),
        ("digits", set()),
    ],
)
def test_what_a_data_set_uses_is_taken(name, given, tmp_path):
    check_data_arguments(given, str(tmp_path) if name == "FOLDER" else name, None)


def test_a_fraction_for_data_with_a_split_of_its_own_is_refused():
    digits = open_dataset("digits")
    with pytest.raises(UserError, match=r"`validation_fraction` is for data without .*, 'digits' has one"):
        check_validation_fraction({"validation_fraction"}, digits)
    check_validation_fraction(set(), digits)
    digits.held_out = True
    check_validation_fraction({"validation_fraction"}, digits)
