"""Decoding every image file once, to find the bad ones before training does."""

import dataclasses
import functools
import itertools
import os
import sys
from multiprocessing.pool import ThreadPool

import numpy as np
from absl import logging

from condconv_keras.data.formats.damage import damage
from condconv_keras.data.formats.exif import UPRIGHT, exif_orientation
from condconv_keras.data.input.decoding import after, decode_image, is_common
from condconv_keras.data.input.orientation import FIRST_TRANSPOSED
from condconv_keras.data.input.tuning import PARALLEL_CALLS, untuned
from condconv_keras.data.sources.image_memory import ImageMemory
from condconv_keras.utils.errors import UserError, op_reason
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import tensorflow as tf

tqdm = LazyModule("tqdm")

CHANNELS = 3  # of every image of a folder
PROGRESS_FROM = 300  # files; fewer are checked in a moment
# Files: to begin takes two seconds, and then each takes some tenths of a millisecond less than by Python.
BULK_FROM = 5000
_SECONDS_IN_LOGS = 10  # between two lines of progress
_BATCH = 64  # images between two looks at the bar and at Ctrl-C


@dataclasses.dataclass(frozen=True)
class CheckedImage:
    """A good image.

    Attributes:
        size: `(height, width)` of the image as it is delivered.
        orientation: the EXIF orientation that is applied, from 1 to 8; 1 where none is.
        content: the same for files of the same bytes, another for others.
    """

    size: tuple[int, int]
    orientation: int
    content: bytes

    @property
    def stored_size(self):
        """`(height, width)` of the image as it is stored."""
        return self.size[::-1] if self.orientation >= FIRST_TRANSPOSED else self.size


@dataclasses.dataclass(frozen=True)
class CheckedImages:
    """What is known of a list of image files; row `i` is about file `i`.

    Attributes:
        is_good: booleans [n]; of a bad image the other rows mean nothing.
        sizes: int [n, 2], (height, width) of the images as they are delivered.
        orientations: int [n], as in `CheckedImage`.
        are_common: booleans [n], as of `condconv_keras.data.input.decoding.is_common`.
        contents: int64 [n, 2], the rows as in `CheckedImage`.
    """

    is_good: np.ndarray
    sizes: np.ndarray
    orientations: np.ndarray
    are_common: np.ndarray
    contents: np.ndarray

    @property
    def decoding(self):
        """What it takes to read the good ones, as a dict of arguments of `EncodedImage`."""
        is_turned = self.is_good & (self.orientations != UPRIGHT)
        return {"apply_orientation": bool(is_turned.any()), "only_common": bool(self.are_common[self.is_good].all())}

    def by_path(self, paths):
        """Returns a dict of the path of every good image to its `CheckedImage`; `paths` are those of the files."""
        rows = zip(map(tuple, self.sizes.tolist()), self.orientations.tolist(), map(bytes, self.contents), strict=True)
        good = itertools.compress(zip(paths, rows, strict=True), self.is_good)
        return {path: CheckedImage(*row) for path, row in good}


def check_images(root, paths, skip_bad_images, apply_orientation):
    """Decodes every image, but for those of which it is remembered what came of it.

    Args:
        root: path of the folder that the images belong to, by which they are remembered.
        paths: list of image files, strings.
        skip_bad_images: whether undecodable images are logged and left out instead of refused.
        apply_orientation: whether images are delivered turned as their EXIF orientation says.

    Returns:
        The `CheckedImages`.

    Raises:
        UserError: unless they are skipped, for undecodable images.
    """
    facts = _facts(root, paths)
    bad = sorted(facts.reasons)
    if bad and not skip_bad_images:
        raise UserError(
            f"cannot decode {paths[bad[0]]!r} ({facts.reasons[bad[0]]}); bad images: {len(bad)} of {len(paths)}. "
            "Leave them out with `skip_bad_images=True`"
        )
    for i in bad:
        logging.warning("Skipping %s: %s", paths[i], facts.reasons[i])
    table, is_good = facts.table, np.ones(len(paths), bool)
    is_good[bad] = False
    orientations = table["orientation"] if apply_orientation else np.full(len(paths), UPRIGHT)
    sizes = np.stack([table["height"], table["width"]], axis=1)
    is_transposed = orientations >= FIRST_TRANSPOSED
    sizes[is_transposed] = sizes[is_transposed, ::-1]
    contents = np.stack([table["bytes"], table["hash"]], axis=1)
    return CheckedImages(is_good, sizes, orientations, table["is_common"], contents)


def common_size(sizes):
    """Returns `(height, width)` of an array [n, 2] of such pairs, with None where they differ."""
    values = (np.unique(side) for side in np.asarray(sizes).reshape(-1, 2).T)
    return tuple(int(of_side[0]) if len(of_side) == 1 else None for of_side in values)


def read_file(path):
    """Returns the content of a file as a string tensor; the path is a string or a string tensor of its bytes."""
    # TensorFlow itself takes a string for UTF-8, which the name of a file need not be.
    return tf.io.read_file(os.fsencode(path) if isinstance(path, str) else path)


def _facts(root, paths):
    """Returns the `ImageFacts` of all images, and remembers them."""
    memory = ImageMemory(root, paths)
    facts = memory.recall()
    unknown = np.flatnonzero(~facts.is_known).tolist()
    try:
        if unknown:
            _find_out(paths, unknown, facts)
    finally:
        # Also of a check that is interrupted: the next one goes on from there.
        if unknown or memory.size != len(paths):
            memory.keep(facts)
    return facts


def _find_out(paths, unknown, facts):
    """Checks the images of these rows and puts what is found into the `ImageFacts`."""
    count = len(unknown)
    options = {"disable": count < PROGRESS_FROM, "mininterval": 0.1 if sys.stderr.isatty() else _SECONDS_IN_LOGS}
    with tqdm.tqdm(desc="Checking images", total=count, unit="image", **options) as bar:
        for rows, *values in _measured_in_bulk(paths, unknown) if count >= BULK_FROM else ():
            _put(facts, rows, *values)
            bar.update(len(rows))
        # Those that could not be decoded, as of a stream nothing says why, and those of formats that PIL looks at, too.
        rest = [row for row in unknown if not facts.is_known[row]]
        for row, measured in zip(rest, _measured_one_by_one([paths[row] for row in rest]), strict=True):
            if isinstance(measured, _Bad):
                facts.reasons[row], facts.is_known[row] = measured.reason, measured.stays
            else:
                _put(facts, row, *measured)
            bar.update()


def _put(facts, rows, sizes, orientations, are_common, hashes):
    facts.table["height"][rows], facts.table["width"][rows] = sizes.T
    facts.table["orientation"][rows], facts.table["is_common"][rows] = orientations, are_common
    facts.table["hash"][rows] = hashes
    facts.is_known[rows] = True


def _measured_in_bulk(paths, rows):
    """Yields rows and what `_measure` returns for the good JPEG and PNG ones of these images, some at a time.

    All of it is done by threads of TensorFlow: where images are small, Python would take longer than the decoder.
    """
    measure = _measure()
    named = tf.data.Dataset.from_tensor_slices((rows, [os.fsencode(paths[row]) for row in rows]))
    measured = named.map(
        tf.autograph.experimental.do_not_convert(lambda row, path: (row, *measure(read_file(path)))),
        num_parallel_calls=PARALLEL_CALLS,
        deterministic=False,
    )
    common = measured.ignore_errors().filter(lambda row, size, orientation, is_common, hashed: is_common)
    return untuned(common.batch(_BATCH)).as_numpy_iterator()


@dataclasses.dataclass(frozen=True)
class _Bad:
    """Why an image cannot be used, and whether that stays so as long as the file does not change."""

    reason: str
    stays: bool


def _measured_one_by_one(paths):
    """Yields, per path, what `_measure` returns, or a `_Bad`."""
    pool = ThreadPool(os.cpu_count())
    try:
        yield from pool.imap(functools.partial(_measured, _measure()), paths, chunksize=8)
    finally:
        # No image is read any more when the caller goes on, after Ctrl-C neither.
        pool.terminate()
        pool.join()


def _measured(measure, path):
    try:
        content = read_file(path)
        values = [value.numpy() for value in measure(content)]
    except tf.errors.OpError as error:
        # Another content would be decoded. What cannot be read may be readable again, and the content the same.
        return _Bad(op_reason(error), isinstance(error, tf.errors.InvalidArgumentError))
    reason = damage(content.numpy())
    return values if reason is None else _Bad(reason, True)


@functools.cache
def _measure():
    """Returns a function of a file's content that returns what `FACTS` have of it.

    These are the height and width as they are stored, int32 [2], the EXIF orientation, whether the file is JPEG or PNG,
    and a hash of the content. The function is traced once, so that threads which run it hardly wait for each other in
    Python.
    """

    def measure(content):
        size = tf.shape(decode_image(content, CHANNELS, apply_orientation=False))[:2]
        hashed = tf.strings.to_hash_bucket_fast(content, 2**63 - 1)
        with after(size):
            return size, exif_orientation(content), is_common(content), hashed

    return tf.function(measure, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
