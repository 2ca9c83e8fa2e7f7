"""Runs a `.tflite` file by its signature, whatever the number types of its tensors."""

import dataclasses

import numpy as np

from condconv_keras.errors import UserError, one_line

SIGNATURE = "serving_default"
INPUT, OUTPUT = "images", "probabilities"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output of a `.tflite` file.

    Attributes:
        shape: tuple of ints, the batch of 1 first.
        dtype: NumPy dtype.
        scale, zero_point: of an integer `q`, which stands for `(q - zero_point) * scale`; 0 and 0 for floats.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float
    zero_point: int

    def quantize(self, values):
        """Returns float values as the tensor's numbers, rounded to the nearest (half to even) and clipped."""
        values = np.asarray(values, np.float32)
        if not self.scale:
            return values.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        return np.clip(np.rint(values / self.scale) + self.zero_point, limits.min, limits.max).astype(self.dtype)

    def dequantize(self, numbers):
        """Returns the tensor's numbers as float32 values."""
        if not self.scale:
            return numbers.astype(np.float32)
        return (numbers.astype(np.float32) - self.zero_point) * np.float32(self.scale)


class LiteRTModel:
    """A loaded `.tflite` classifier with the signature that `python -m export` writes.

    Args:
        path: `.tflite` file.
        num_threads: of its interpreter, or None for LiteRT's choice.

    Attributes:
        input: `Tensor` of the images.
        output: `Tensor` of the probabilities.

    Raises:
        UserError: LiteRT cannot load the file or lay out its tensors, or it has another signature.
    """

    def __init__(self, path, num_threads=None):
        from ai_edge_litert.interpreter import Interpreter

        self._path = path
        try:
            # The interpreter has to stay alive: its runner holds no reference.
            self._interpreter = Interpreter(model_path=str(path), num_threads=num_threads)
            signatures = self._interpreter.get_signature_list()
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"LiteRT cannot load {str(path)!r} as a .tflite file ({one_line(error, 200)})") from error
        names = signatures.get(SIGNATURE, {})
        if names.get("inputs") != [INPUT] or OUTPUT not in names.get("outputs", ()):
            raise UserError(
                f"expected a .tflite file written by `python -m export`, {str(path)!r} has no signature "
                f"{SIGNATURE!r} from {INPUT!r} to {OUTPUT!r}"
            )
        self._runner = self._interpreter.get_signature_runner(SIGNATURE)
        self.input = _tensor(self._runner.get_input_details()[INPUT])
        self.output = _tensor(self._runner.get_output_details()[OUTPUT])

    def predict(self, images):
        """Returns float32 probabilities [count, classes] of images [count, height, width, channels] in 0..255.

        The file takes one image at a time. Raises a `UserError` if LiteRT fails.
        """
        try:
            rows = [self._runner(**{INPUT: self.input.quantize(image)[np.newaxis]})[OUTPUT] for image in images]
        except (ValueError, RuntimeError) as error:
            raise UserError(f"LiteRT cannot run {str(self._path)!r} ({one_line(error, 200)})") from error
        return self.output.dequantize(np.concatenate(rows))


def _tensor(details):
    scale, zero_point = details["quantization"]
    return Tensor(tuple(map(int, details["shape"])), np.dtype(details["dtype"]), float(scale), int(zero_point))
