"""Opening a data set by name: what is imported, and what is said about a wrong name."""

import subprocess
import sys

import pytest

from condconv_keras.data import open_dataset
from condconv_keras.utils.errors import UserError

HEAVY = ("tensorflow", "keras", "tensorflow_datasets", "sklearn")


def _imported_by(code):
    """Runs `code` in a fresh process and returns which heavy packages it has imported."""
    report = f"import sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    process = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return process.stdout.split()


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "from condconv_keras.data import open_dataset, Preprocessing, training_batches, evaluation_batches\n"
        "Preprocessing((8, 8), 1, 0.0, 1.0)"
    )
    assert _imported_by(code) == []


def test_a_wrong_name_imports_no_tensorflow():
    code = """
from condconv_keras.data import open_dataset
try:
    open_dataset("fashion_mnits", data_dir="no_such_folder")
except ValueError as error:
    assert "fashion_mnist" in str(error)
else:
    raise AssertionError
"""
    assert _imported_by(code) == ["tensorflow_datasets"]


def test_digits_import_no_tfds():
    assert _imported_by("from condconv_keras.data import open_dataset; open_dataset('digits')") == ["sklearn"]


@pytest.mark.parametrize(
    ("name", "close"), [("digts", "digits"), ("fashion-mnist", "fashion_mnist"), ("cifar", "cifar10")]
)
def test_a_wrong_name_suggests_close_ones(name, close, tmp_path):
    with pytest.raises(UserError, match=f"unknown data set or folder '{name}'. Did you mean .*'{close}'"):
        open_dataset(name, data_dir=tmp_path)


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "../none"])
def test_a_missing_folder(name):
    with pytest.raises(UserError, match=f"expected a folder of images, there is none at '{name}'"):
        open_dataset(name)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_a_wrong_validation_fraction(fraction):
    with pytest.raises(UserError, match=f"between 0 and 1, received: {fraction}"):
        open_dataset("digits", validation_fraction=fraction)


def test_check_split_names_the_splits():
    digits = open_dataset("digits")
    digits.check_split("train")
    for use in (digits.check_split, digits.examples, digits.decoded_bytes):
        with pytest.raises(UserError, match="data set 'digits' has the splits train, test; received: 'validation'"):
            use("validation")
