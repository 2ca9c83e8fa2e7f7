"""Runs a `.tflite` file by its signature, whatever the number types of its tensors."""

import dataclasses

import numpy as np

from condconv_keras.facts.model_card import FILE_NAME
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.lazy import LazyModule, require

litert = LazyModule("ai_edge_litert.interpreter")

SIGNATURE = "serving_default"
INPUT, OUTPUT = "images", "probabilities"
ROUTING = "routing/"  # begins the name of an output with the weights of a router


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output of a `.tflite` file.

    Attributes:
        shape: tuple of ints, the batch first.
        dtype: NumPy dtype.
        scale, zero_point: of an integer `q`, which stands for `(q - zero_point) * scale`; 0 and 0 for floats, and for
            integers that are the values themselves.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float
    zero_point: int

    def quantize(self, values):
        """Returns float values as the tensor's numbers, rounded to the nearest (half to even) and clipped."""
        values = np.asarray(values, np.float32)
        if self.dtype.kind not in "iu":
            return values.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        scaled = np.rint(values / (self.scale or 1)) + self.zero_point
        return np.clip(scaled, limits.min, limits.max).astype(self.dtype)

    def dequantize(self, numbers):
        """Returns the tensor's numbers as float32 values."""
        if not self.scale:
            return numbers.astype(np.float32)
        return (numbers.astype(np.float32) - self.zero_point) * np.float32(self.scale)


def require_litert():
    """Raises a `MissingPackage` unless LiteRT is installed; imports nothing."""
    require("ai_edge_litert")


class LiteRTFile:
    """A loaded `.tflite` file that takes images as those of `python -m export` do.

    Args:
        path: `.tflite` file.
        num_threads: of its interpreter, or None for LiteRT's choice.

    Attributes:
        input: `Tensor` of the images.
        outputs: dict of the name to the `Tensor` of what the signature returns.

    Raises:
        UserError: LiteRT cannot load the file or lay out its tensors, or it has another signature.
        MissingPackage: LiteRT is not installed.
    """

    _expected = "another tensor"  # what an error says that the signature leads to

    def __init__(self, path, num_threads=None):
        self._path = path
        try:
            # The interpreter has to stay alive: its runner holds no reference.
            self._interpreter = litert.Interpreter(model_path=str(path), num_threads=num_threads)
            signatures = self._interpreter.get_signature_list()
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"LiteRT cannot load {str(path)!r} as a .tflite file ({one_line(error, 200)})") from error
        names = signatures.get(SIGNATURE, {})
        if names.get("inputs") != [INPUT] or not self._accepts(set(names.get("outputs", ()))):
            raise UserError(
                f"expected a .tflite file written by `python -m export`, {str(path)!r} has no signature "
                f"{SIGNATURE!r} from {INPUT!r} to {self._expected}"
            )
        self._runner = self._interpreter.get_signature_runner(SIGNATURE)
        self.input = _tensor(self._runner.get_input_details()[INPUT])
        if self.input.dtype == np.int8 and not self.input.scale:
            raise UserError(f"{str(path)!r} takes int8 without a scale, which does not say what stands for a pixel")
        self.outputs = {name: _tensor(details) for name, details in self._runner.get_output_details().items()}

    def _accepts(self, outputs):
        """Whether these names of outputs are those of a file of this class."""
        return bool(outputs)

    @property
    def batch_size(self):
        """How many images the file takes at a time."""
        return self.input.shape[0]

    def run(self, images):
        """Returns a dict of output name to float32 values [count, ...] for images [count, height, width, channels].

        The images, at least one, have values in 0..255; their number need not be a multiple of the batch. Raises a
        `UserError` if LiteRT fails.
        """
        batches = (images[start : start + self.batch_size] for start in range(0, len(images), self.batch_size))
        try:
            answers = [self._runner(**{INPUT: self._whole_batch(self.input.quantize(batch))}) for batch in batches]
        except (ValueError, RuntimeError) as error:
            raise UserError(f"LiteRT cannot run {str(self._path)!r} ({one_line(error, 200)})") from error
        return {
            name: tensor.dequantize(np.concatenate([answer[name] for answer in answers])[: len(images)])
            for name, tensor in self.outputs.items()
        }

    def _whole_batch(self, images):
        """A batch, filled up with its last image: one that is like the others in all that could be measured of it."""
        missing = self.batch_size - len(images)
        return np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images


class LiteRTModel(LiteRTFile):
    """A loaded `.tflite` classifier; arguments and errors as of `LiteRTFile`.

    Attributes:
        output: `Tensor` of the probabilities.
    """

    _expected = repr(OUTPUT)

    def __init__(self, path, num_threads=None):
        super().__init__(path, num_threads)
        self.output = self.outputs[OUTPUT]

    def _accepts(self, outputs):
        return OUTPUT in outputs

    def predict(self, images):
        """Returns float32 probabilities [count, classes]; arguments and errors as of `run`."""
        return self.run(images)[OUTPUT]


def check_shapes(path, received, expected):
    """Raises a `UserError` unless an exported file has the input's and the output's shape that its card expects."""
    if received != expected:
        raise UserError(
            f"{str(path)!r} takes {received[0]} and returns {received[1]}, its {FILE_NAME} is of a file that "
            f"takes {expected[0]} and returns {expected[1]}"
        )


def _tensor(details):
    scale, zero_point = details["quantization"]
    return Tensor(tuple(map(int, details["shape"])), np.dtype(details["dtype"]), float(scale), int(zero_point))
