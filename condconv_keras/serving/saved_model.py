"""What is asked of a loaded SavedModel before it is run, and what it is given."""

from condconv_keras.serving.litert import INPUT
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import tensorflow as tf

_WHITE = 255


def check_signature(path, signature, outputs):
    """Raises a `UserError` unless a SavedModel's signature takes `images` in 0..255 and returns these outputs.

    Args:
        path: of the SavedModel.
        signature: of what TensorFlow loaded.
        outputs: names that it has to return; others may come with them.
    """
    inputs, received = list(signature.structured_input_signature[1]), sorted(signature.structured_outputs)
    if inputs != [INPUT] or not set(outputs) <= set(received):
        raise UserError(
            f"expected a SavedModel written by `python -m export`, from {INPUT!r} to {', '.join(map(repr, outputs))}; "
            f"{str(path)!r} goes from {', '.join(map(repr, inputs))} to {', '.join(map(repr, received))}"
        )
    check_pixels(path, signature.structured_input_signature[1][INPUT].dtype)


def check_pixels(path, dtype):
    """Raises a `UserError` for a type of integers that cannot hold a pixel of 255, by a SavedModel's path."""
    if dtype.is_integer and dtype.max < _WHITE:
        raise UserError(f"{str(path)!r} takes {dtype.name}, which does not say what stands for a pixel of {_WHITE}")


def as_input(signature, images, name=INPUT):
    """Returns images as a tensor of the type that a SavedModel's signature takes.

    Args:
        signature: as in `check_signature`, which has passed.
        images: float32 array; integers are the nearest to its values.
        name: of the input.
    """
    dtype = signature.structured_input_signature[1][name].dtype
    return tf.cast(tf.round(images) if dtype.is_integer else images, dtype)
