"""The Fashion-MNIST script on a small folder of IDX files."""

import gzip
import json
import struct

import numpy as np
import pytest

from condconv_keras.data import open_dataset
from condconv_keras.utils.errors import UserError
from scripts import fashion_mnist
from tests import processes

COUNTS = {"train": 30, "t10k": 12}


def _idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def _compressed(content):
    """The same bytes in every process of the tests: names of tests have them, and gzip writes the time."""
    return gzip.compress(content, mtime=0)


def _arrays(prefix):
    count = COUNTS[prefix]
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return images, np.arange(count, dtype=np.uint8) % 10


def _write(path, array):
    path.write_bytes(_compressed(_idx(array)))


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for prefix in COUNTS:
        images, labels = _arrays(prefix)
        _write(folder / f"{prefix}-images-idx3-ubyte.gz", images)
        _write(folder / f"{prefix}-labels-idx1-ubyte.gz", labels)
    return folder


def test_the_data_set_can_be_opened(source, tmp_path):
    splits = {
        split: fashion_mnist.read_split(source, prefix) for split, prefix in (("train", "train"), ("test", "t10k"))
    }
    fashion_mnist.store(splits, tmp_path / "data", source)
    record = json.loads((tmp_path / "data/fashion_mnist/3.0.1/sources.json").read_text())
    assert (record["source"], record["versions"]) == (str(source), {})  # the package is not where these come from
    assert {split: part["images"] for split, part in record["splits"].items()} == {"train": 30, "test": 12}
    dataset = open_dataset("fashion_mnist", data_dir=tmp_path / "data")
    assert dataset.splits == {"train": 30, "test": 12}
    assert dataset.image_shape == (28, 28, 1)
    assert (dataset.class_names[0], dataset.class_names[9]) == ("T-shirt/top", "Ankle boot")
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = _arrays(prefix)
        stored = sorted((image.tobytes(), int(label)) for image, label in dataset.examples(split).as_numpy_iterator())
        assert stored == sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


def test_a_missing_package_or_an_existing_data_set(source, tmp_path):
    without = processes.without_frameworks(tmp_path)
    script = ("-m", "scripts.fashion_mnist", f"--output_dir={tmp_path / 'data'}")
    processes.assert_refused(
        *script,
        f"--source={tmp_path}",
        contains=["apt-get install dataset-fashion-mnist", "--source", "train-images-idx3-ubyte.gz"],
        **without,
    )
    assert not (tmp_path / "data").exists()
    kept = tmp_path / "data" / "fashion_mnist" / "notes.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    processes.assert_refused(*script, f"--source={source}", contains="holds a fashion_mnist already", **without)
    assert kept.read_text() == "mine"


def test_validation_images_are_the_last_training_images(source, tmp_path):
    for path in source.glob("t10k*"):  # which are not used
        path.unlink()
    command = (f"--source={source}", f"--output_dir={tmp_path / 'data'}")
    answer = processes.run("-m", "scripts.fashion_mnist", *command, "--validation_images=7")
    assert "23 train, 7 validation images" in answer.stdout
    dataset = open_dataset("fashion_mnist", data_dir=tmp_path / "data")
    assert dataset.splits == {"train": 23, "validation": 7}
    images = _arrays("train")[0]
    stored = {image.tobytes() for image, _ in dataset.examples("validation").as_numpy_iterator()}
    assert stored == {image.tobytes() for image in images[23:]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip file", "expected a gzip file"),
        (_compressed(_idx(_arrays("train")[0]))[:-200], "expected a gzip file"),
        (_compressed(b""), "expected an IDX file of bytes in 3 dimensions"),
        (_compressed(_idx(_arrays("train")[1])), "expected an IDX file of bytes in 3 dimensions"),
        (_compressed(b"\0\0\x0d\x03" + _idx(_arrays("train")[0])[4:]), "expected an IDX file of bytes"),
        (_compressed(_idx(_arrays("train")[0])[:-1]), "expected 23520 values in .*, received: 23519"),
        (_compressed(_idx(_arrays("train")[0]) + b"0"), "expected 23520 values in .*, received: 23521"),
        (
            _compressed(_idx(_arrays("t10k")[0])),
            r"as many .* as labels .* images \(12, 28, 28\), labels \(30,",
        ),
        (_compressed(_idx(_arrays("train")[0][:, 1:])), r"as many 28x28 images as labels .* images \(30, 27, 28\)"),
    ],
)
def test_files_that_are_damaged_or_do_not_fit(content, message, source):
    (source / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(UserError, match=message):
        fashion_mnist.read_split(source, "train")


def test_a_label_without_a_class(source):
    _write(source / "train-labels-idx1-ubyte.gz", np.full(30, 10, np.uint8))
    with pytest.raises(UserError, match=r"expected labels below 10 .* received: 10"):
        fashion_mnist.read_split(source, "train")
