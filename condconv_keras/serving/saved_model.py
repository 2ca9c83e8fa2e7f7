"""What is asked of a loaded SavedModel before it is run."""

from condconv_keras.serving.litert import INPUT
from condconv_keras.utils.errors import UserError


def check_signature(path, signature, outputs):
    """Raises a `UserError` unless a SavedModel's signature takes `images` and returns these outputs.

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
