"""Decoding every image file once, to find the bad ones before training does."""

import os
from multiprocessing.pool import ThreadPool

from absl import logging

from condconv_keras.data.input.decoding import decode_image
from condconv_keras.utils.errors import UserError, op_reason
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import tensorflow as tf

tqdm = LazyModule("tqdm")

CHANNELS = 3  # of every image of a folder
PROGRESS_FROM = 300  # files; fewer are checked in a moment


def decoded_sizes(paths, skip_bad_images):
    """Decodes every image.

    Args:
        paths: list of image files.
        skip_bad_images: whether undecodable images are logged and left out instead of refused.

    Returns:
        A dict of the path of every good image to its `(height, width)`.

    Raises:
        UserError: unless they are skipped, for undecodable images.
    """
    results = dict(zip(paths, _decode_all(paths), strict=True))
    bad = {path: reason for path, reason in results.items() if isinstance(reason, str)}
    if bad and not skip_bad_images:
        path, reason = next(iter(bad.items()))
        raise UserError(
            f"cannot decode {path!r} ({reason}); bad images: {len(bad)} of {len(results)}. "
            "Leave them out with `skip_bad_images=True`"
        )
    for path, reason in bad.items():
        logging.warning("Skipping %s: %s", path, reason)
    return {path: size for path, size in results.items() if path not in bad}


def common_size(sizes):
    """Returns `(height, width)` of a list of such pairs, with None where they differ."""
    heights, widths = ({size[axis] for size in sizes} for axis in (0, 1))
    return tuple(next(iter(values)) if len(values) == 1 else None for values in (heights, widths))


def read_file(path):
    """Returns the content of a file as a string tensor; the path is a string or a string tensor of its bytes."""
    # TensorFlow itself takes a string for UTF-8, which the name of a file need not be.
    return tf.io.read_file(os.fsencode(path) if isinstance(path, str) else path)


def _decode_all(paths):
    """Returns, per path, the (height, width) of its image or the reason why it cannot be decoded."""
    with ThreadPool(os.cpu_count()) as pool:
        checks = pool.imap(_decoded_size, paths, chunksize=8)
        progress = tqdm.tqdm(
            checks, "Checking images", total=len(paths), unit="image", disable=len(paths) < PROGRESS_FROM
        )
        return list(progress)


def _decoded_size(path):
    try:
        height, width, _ = decode_image(read_file(path), CHANNELS).shape
    except tf.errors.OpError as error:
        return op_reason(error)
    return height, width
