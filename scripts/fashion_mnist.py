"""Writes Debian's copy of Fashion-MNIST as a TFDS data set: `python -m scripts.fashion_mnist --output_dir=DIR`.

    apt-get install dataset-fashion-mnist
    python -m scripts.fashion_mnist --output_dir=data
    python train.py --dataset=fashion_mnist --data_dir=data --model=condconv_mobilenet_v1 --model_dir=runs/fashion_mnist

60,000 training and 10,000 test images, 28x28, gray, ten classes (Xiao, Rasul, Vollgraf, arXiv 1708.07747); no download.
`--validation_images=10000` holds out the last training images as the split `validation` and leaves the test images out:
for choosing a recipe.
"""

import gzip
import math
import pathlib
import struct
import zlib

import numpy as np
from absl import flags

from condconv_keras.commands import cli
from condconv_keras.utils.errors import UserError
from scripts import tfds_store

NAME = "fashion_mnist"
PACKAGE, SOURCE = "dataset-fashion-mnist", pathlib.Path("/usr/share/datasets/fashion-mnist")
VERSION = "3.0.1"  # of TFDS's own builder, which downloads the same images
SIZE = 28
SPLITS = {"train": "train", "test": "t10k"}  # to the start of the files' names
# In the order of the labels, as in the data set's README.
CLASS_NAMES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]

FLAGS = flags.FLAGS


def main(argv):
    cli.expect_flags_only(argv)
    output = tfds_store.new_data_set(FLAGS.output_dir, NAME)
    source = pathlib.Path(FLAGS.source).expanduser()
    used = ["train"] if FLAGS.validation_images else list(SPLITS)
    splits = {split: read_split(source, SPLITS[split]) for split in used}
    return store(tfds_store.hold_out(splits, FLAGS.validation_images), output, source)


def read_split(source, prefix):
    """Reads the images and labels of one split.

    Args:
        source: folder of the files.
        prefix: start of the names, `"train"` or `"t10k"`.

    Returns:
        A uint8 array `[count, 28, 28, 1]` and a uint8 array `[count]` of labels below 10.

    Raises:
        UserError: a file is missing, damaged, or does not fit the other one.
    """
    images = read_idx(source / f"{prefix}-images-idx3-ubyte.gz", 3)
    labels = read_idx(source / f"{prefix}-labels-idx1-ubyte.gz", 1)
    if images.shape != (len(labels), SIZE, SIZE) or not len(labels):
        raise UserError(
            f"expected as many {SIZE}x{SIZE} images as labels of {prefix!r} in {str(source)!r}, "
            f"received: images {images.shape}, labels {labels.shape}"
        )
    if labels.max() >= len(CLASS_NAMES):
        raise UserError(f"expected labels below {len(CLASS_NAMES)} in {str(source)!r}, received: {labels.max()}")
    return images[..., np.newaxis], labels


def read_idx(path, dimensions):
    """Reads a gzip-compressed IDX file of unsigned bytes with this number of dimensions as a uint8 array.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a big-endian
    32-bit integer, the values in row-major order. Raises a `UserError` for a missing file and for another content.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(
            f"there is no {str(path)!r}: apt-get install {PACKAGE}, or give the folder with --source"
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"expected a gzip file, {str(path)!r} is damaged ({error})") from error
    header = struct.calcsize(f">4B{dimensions}I")
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < header:
        raise UserError(f"expected an IDX file of bytes in {dimensions} dimensions, {str(path)!r} is none")
    shape = struct.unpack_from(f">{dimensions}I", content, offset=4)
    if len(content) - header != math.prod(shape):
        raise UserError(f"expected {math.prod(shape)} values in {str(path)!r}, received: {len(content) - header}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def store(splits, output, source):
    """Writes the splits of `read_split`, which come from the folder `source`, and returns one line about them."""
    versions = tfds_store.package_versions([PACKAGE]) if source == SOURCE else {}
    return tfds_store.store(
        splits,
        output,
        name=NAME,
        version=VERSION,
        class_names=CLASS_NAMES,
        homepage="https://github.com/zalandoresearch/fashion-mnist",
        sources={"source": str(source), "versions": versions},
    )


if __name__ == "__main__":
    flags.DEFINE_string(
        "source",
        str(SOURCE),
        "Folder of the four -ubyte.gz files; default: the Debian package's.",
    )
    tfds_store.define_flags()
    cli.run(main)
