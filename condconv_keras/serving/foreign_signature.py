"""A signature of a SavedModel that another program has written: from images to one row of numbers for each."""

import numpy as np

from condconv_keras.serving.saved_model import as_input, check_pixels
from condconv_keras.utils.errors import UserError, one_line, unknown_name


class ForeignSignature:
    """A classifier in a SavedModel, whatever it calls its tensors.

    Args:
        loaded: what TensorFlow loaded.
        path: of the SavedModel, for messages.
        name: of the signature.
        input_name: of its input, or None for the only one.
        output_name: of the output that is meant, or None for the only one.

    Attributes:
        input_shape: `(height, width, channels)` of an image.
        takes_pixels: whether it takes whole numbers in 0..255, as they are.

    Raises:
        UserError: there is no such signature, input or output; the input is not [batch, height, width, channels] of a
            known size, or the output not one of floats.
    """

    def __init__(self, loaded, path, name="serving_default", input_name=None, output_name=None):
        if name not in loaded.signatures:
            raise unknown_name("signature", name, loaded.signatures)
        self._loaded = loaded  # which owns the variables
        self._path = path
        self._signature = loaded.signatures[name]
        inputs, outputs = self._signature.structured_input_signature[1], self._signature.structured_outputs
        self._input = _chosen("input", inputs, input_name, path)
        self._output = _chosen("output", outputs, output_name, path)
        spec, output = inputs[self._input], outputs[self._output]
        shape = tuple(spec.shape) if spec.shape.rank == 4 else ()
        if not (spec.dtype.is_floating or spec.dtype.is_integer) or None in (shape[1:] or (None,)):
            raise UserError(
                f"expected a signature that takes numbers [batch, height, width, channels] of a known size, "
                f"{self._input!r} of {str(path)!r} is {spec.dtype.name} {spec.shape}"
            )
        check_pixels(path, spec.dtype)
        if not output.dtype.is_floating:
            raise UserError(f"expected floats for each class, {self._output!r} of {str(path)!r} is {output.dtype.name}")
        self._batch_size, *size = shape
        self.input_shape = tuple(size)
        self.takes_pixels = spec.dtype.is_integer

    def __call__(self, images):
        """Returns the output for one image or more as float32 [count, ...].

        Args:
            images: float32 [count, height, width, channels], as the signature takes them.

        Raises:
            UserError: TensorFlow fails.
        """
        size = self._batch_size or len(images)
        batches = (images[start : start + size] for start in range(0, len(images), size))
        try:
            return np.concatenate([self._run(batch, size) for batch in batches])
        except Exception as error:
            # Whatever its graph raises, and a TypeError where it takes another input besides.
            raise UserError(f"TensorFlow cannot run {str(self._path)!r} ({one_line(error, 200)})") from error

    def _run(self, images, size):
        # A signature of a fixed number of images is given the last one again.
        filled = np.concatenate([images, np.repeat(images[-1:], size - len(images), axis=0)])
        outputs = self._signature(**{self._input: as_input(self._signature, filled, self._input)})
        return outputs[self._output].numpy().astype(np.float32)[: len(images)]


def _chosen(kind, known, name, path):
    """The name of an input or output: the given one or the only one."""
    if name is None and len(known) == 1:
        return next(iter(known))
    if name is None:
        raise UserError(f"expected `{kind}_name`, one of the {kind}s of {str(path)!r}: {', '.join(sorted(known))}")
    if name not in known:
        raise unknown_name(kind, name, known)
    return name
