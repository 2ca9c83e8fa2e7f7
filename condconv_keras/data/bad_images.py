"""Which file it was, where an image cannot be decoded that was not checked before."""

import contextlib

from condconv_keras.utils.lazy import tensorflow as tf


@contextlib.contextmanager
def bad_images_named(dataset):
    """While open, an error of TensorFlow over an image that was trusted becomes a `UserError` that names its file.

    A graph that fails does not say what it was reading: all images that were trusted are checked then.

    Args:
        dataset: `condconv_keras.data.Dataset`, or None.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if dataset is not None and isinstance(error, _errors_of_images()):
            dataset.check_trusted()
        raise


def _errors_of_images():
    """What content that is none, a file that is gone, one without the right to read it, and a folder end in."""
    errors = tf.errors
    return (
        errors.InvalidArgumentError,
        errors.NotFoundError,
        errors.PermissionDeniedError,
        errors.FailedPreconditionError,
    )
