import pathlib

import numpy as np
from PIL import Image

from condconv_keras.data import open_dataset
from condconv_keras.facts import imagenet


def test_names_are_a_thousand_and_differ():
    names = imagenet.class_names()
    assert len(set(names)) == 1000
    # Classes of the photographs that `make pretrained` classifies, and the two pairs of one name.
    known = {0: "tench", 99: "goose", 251: "dalmatian", 305: "dung beetle", 471: "cannon", 949: "strawberry"}
    known |= {
        134: "crane (bird)",
        517: "crane (machine)",
        638: "maillot",
        639: "maillot (tank suit)",
        999: "toilet tissue",
    }
    assert {i: names[i] for i in known} == known


def test_synsets_of_tfds_become_names():
    import tensorflow_datasets as tfds

    assert imagenet.readable(_synsets()) == imagenet.class_names()
    assert imagenet.readable(["a", "b"]) == ("a", "b")
    assert imagenet.readable(_synsets()[::-1]) == tuple(_synsets()[::-1])
    # The synsets of the 50,000 validation images, which TFDS comes with.
    labels = pathlib.Path(tfds.__file__).parent / "datasets/imagenet2012/validation_labels.txt"
    assert sorted(set(labels.read_text().split())) == _synsets()


def test_folder_of_imagenet_has_readable_names(tmp_path):
    for synset in _synsets():
        for split in ("train", "validation"):
            path = tmp_path / split / synset / "0.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path)
    dataset = open_dataset(str(tmp_path))
    assert dataset.class_names == imagenet.class_names()


def _synsets():
    return list(imagenet.names_by_synset())
