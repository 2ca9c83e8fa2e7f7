"""Decoding every image file once, to find the bad ones before training does."""

import dataclasses
import functools
import os
from multiprocessing.pool import ThreadPool

from absl import logging

from condconv_keras.data.formats.exif import UPRIGHT, exif_orientation
from condconv_keras.data.input.decoding import decode_image
from condconv_keras.data.input.orientation import FIRST_TRANSPOSED, turned_size
from condconv_keras.utils.errors import UserError, op_reason
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import tensorflow as tf

tqdm = LazyModule("tqdm")

CHANNELS = 3  # of every image of a folder
PROGRESS_FROM = 300  # files; fewer are checked in a moment


@dataclasses.dataclass(frozen=True)
class CheckedImage:
    """A good image.

    Attributes:
        size: `(height, width)` of the image as it is delivered.
        orientation: the EXIF orientation that is applied, from 1 to 8; 1 where none is.
    """

    size: tuple[int, int]
    orientation: int

    @property
    def stored_size(self):
        """`(height, width)` of the image as it is stored."""
        return self.size[::-1] if self.orientation >= FIRST_TRANSPOSED else self.size


def decoded_sizes(paths, skip_bad_images, apply_orientation):
    """Decodes every image; returns a dict of the path of every good one to its `size`, else as `check_images`."""
    checked = check_images(paths, skip_bad_images, apply_orientation)
    return {path: image.size for path, image in checked.items()}


def check_images(paths, skip_bad_images, apply_orientation):
    """Decodes every image.

    Args:
        paths: list of image files.
        skip_bad_images: whether undecodable images are logged and left out instead of refused.
        apply_orientation: whether images are delivered turned as their EXIF orientation says.

    Returns:
        A dict of the path of every good image to its `CheckedImage`.

    Raises:
        UserError: unless they are skipped, for undecodable images.
    """
    results = dict(zip(paths, _check_all(paths, apply_orientation), strict=True))
    bad = {path: reason for path, reason in results.items() if isinstance(reason, str)}
    if bad and not skip_bad_images:
        path, reason = next(iter(bad.items()))
        raise UserError(
            f"cannot decode {path!r} ({reason}); bad images: {len(bad)} of {len(results)}. "
            "Leave them out with `skip_bad_images=True`"
        )
    for path, reason in bad.items():
        logging.warning("Skipping %s: %s", path, reason)
    return {path: image for path, image in results.items() if path not in bad}


def common_size(sizes):
    """Returns `(height, width)` of a list of such pairs, with None where they differ."""
    heights, widths = ({size[axis] for size in sizes} for axis in (0, 1))
    return tuple(next(iter(values)) if len(values) == 1 else None for values in (heights, widths))


def read_file(path):
    """Returns the content of a file as a string tensor; the path is a string or a string tensor of its bytes."""
    # TensorFlow itself takes a string for UTF-8, which the name of a file need not be.
    return tf.io.read_file(os.fsencode(path) if isinstance(path, str) else path)


def _check_all(paths, apply_orientation):
    """Returns, per path, the `CheckedImage` or the reason why it cannot be decoded."""
    check = functools.partial(_checked, _measure(apply_orientation))
    with ThreadPool(os.cpu_count()) as pool:
        checks = pool.imap(check, paths, chunksize=8)
        progress = tqdm.tqdm(
            checks, "Checking images", total=len(paths), unit="image", disable=len(paths) < PROGRESS_FROM
        )
        return list(progress)


def _checked(measure, path):
    try:
        size, orientation = _measured(measure, read_file(path))
    except tf.errors.OpError as error:
        return op_reason(error)
    return CheckedImage(tuple(size.numpy().tolist()), int(orientation))


def _measured(measure, content):
    try:
        return measure(content)
    except tf.errors.CancelledError:
        # Of a graph that fails, a part that was stopped by that may be told of first. Operation by operation it is not.
        return measure.python_function(content)


@functools.cache
def _measure(apply_orientation):
    """Returns a function of a file's content that returns the size of its image, int32 [2], and the orientation.

    It is traced, so that threads which run it hardly wait for each other in Python.
    """

    def measure(content):
        stored_size = tf.shape(decode_image(content, CHANNELS, apply_orientation=False))[:2]
        orientation = exif_orientation(content) if apply_orientation else tf.constant(UPRIGHT)
        return turned_size(stored_size, orientation), orientation

    return tf.function(measure, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
