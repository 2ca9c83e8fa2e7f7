"""PyTorch state dicts: their files, and how the tensors are laid out."""

import warnings

import ml_dtypes  # noqa: F401  # teaches NumPy the bfloat16 that a file may hold
import numpy as np

from condconv_keras.utils.errors import MissingPackage, UserError, one_line
from condconv_keras.utils.lazy import LazyModule, keras

layers = LazyModule("condconv_keras.layers")
safetensors = LazyModule("safetensors")
safetensors_arrays = LazyModule("safetensors.numpy")
torch = LazyModule("torch")

# Where a training script keeps the weights among its other state, the averaged ones first.
_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")
# What training on several devices puts in front of every name.
_WRAPPER = "module."
_BOOKKEEPING = ".num_batches_tracked"


def is_safetensors(start):
    """Whether a file with these first bytes is a `.safetensors` file: a length, then JSON."""
    return start[8:9] == b"{"


def is_torch_file(start):
    """Whether a file with these first bytes may be a `.pth` file: a zip archive or a pickle."""
    return start.startswith((b"PK\x03\x04", b"\x80"))


def read_safetensors(path):
    """Returns the arrays of a `.safetensors` file by name; raises `UserError` if it is damaged."""
    try:
        tensors = safetensors_arrays.load_file(path)
    except (safetensors.SafetensorError, OSError, AttributeError) as error:
        # AttributeError: a type that NumPy does not have, as of 8 bits.
        reason = one_line(error, 150)
        raise UserError(
            f"expected a .safetensors file of floating-point tensors, {str(path)!r} is none or damaged ({reason})"
        ) from error
    return _without_bookkeeping(tensors)


def read_torch_file(path):
    """Returns the arrays of a `.pth` file by name. Only tensors are unpickled, no code (`weights_only=True`).

    Raises:
        MissingPackage: PyTorch is not installed.
        UserError: the file is damaged or holds anything but a state dict.
    """
    try:
        load = torch.load
    except ImportError as error:
        raise MissingPackage(f"reading {str(path)!r} takes PyTorch: pip install torch", name="torch") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            loaded = load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises what zip, pickle and its own reader raise, and advises to load the objects after all.
        raise UserError(
            f"expected a PyTorch state dict, tensors by name and nothing else; {str(path)!r} is damaged or holds other "
            "Python objects, which are never loaded"
        ) from error
    return _without_bookkeeping(_arrays(loaded, path))


def classes_argument(tensors, classifier):
    """Returns `{"classes": ...}` as the bias of the layer `classifier` says, or `{}` if there is none."""
    bias = tensors.get(f"{classifier}.bias")
    return {} if bias is None else {"classes": bias.size}


def keras_variable(layer, variable):
    """Names a Keras variable as PyTorch does and converts its layout.

    Args:
        layer: a built layer with weights.
        variable: name of the variable in it.

    Returns:
        The name of the parameter in the PyTorch module, and a function from its array to the variable's.

    Raises:
        KeyError: PyTorch's module has no such parameter.
    """
    if isinstance(layer, keras.layers.BatchNormalization):
        return _BATCH_NORMALIZATION[variable], lambda array: array
    if isinstance(layer, layers.CondConv2D | layers.DepthwiseCondConv2D):
        # A bias bank has no counterpart: timm's CondConv layers have no bias.
        return {layer.bank_name: "weight"}[variable], lambda array: _bank(array, layer.spec)
    if variable == "bias":
        return "bias", lambda array: array
    if isinstance(layer, layers.Routing):
        return {"kernel": "weight"}[variable], np.transpose
    is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return {"kernel": "weight"}[variable], _depthwise_kernel if is_depthwise else _conv_kernel


def _conv_kernel(array):
    """(out, in, kh, kw), or (out, in) of a linear layer, to (kh, kw, in, out)."""
    if array.ndim == 2:
        array = array[:, :, None, None]
    return array.transpose(2, 3, 1, 0)


def _depthwise_kernel(array):
    """(channels, 1, kh, kw) to (kh, kw, channels, 1)."""
    return array.transpose(2, 3, 0, 1)


def _bank(array, spec):
    """[n, out * in / groups * kh * kw] to [n, kh * kw * in * out], both row-major."""
    height, width, channels, filters = spec.expert_shape
    if spec.depthwise:
        experts = array.reshape(-1, channels, filters, height, width).transpose(0, 3, 4, 1, 2)
    else:
        experts = array.reshape(-1, filters, channels, height, width).transpose(0, 3, 4, 2, 1)
    return experts.reshape(array.shape)


_BATCH_NORMALIZATION = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _arrays(loaded, path):
    """The tensors of what a `.pth` file holds, as arrays by name."""
    nested = next((loaded[key] for key in _NESTED if key in loaded), loaded) if isinstance(loaded, dict) else None
    if not isinstance(nested, dict) or not all(isinstance(value, torch.Tensor) for value in nested.values()):
        raise UserError(f"expected a PyTorch state dict, tensors by name, {str(path)!r} holds something else")
    # NumPy has no bfloat16 of its own.
    return {key: (t.float() if t.is_floating_point() else t).detach().numpy() for key, t in nested.items()}


def _without_bookkeeping(tensors):
    if all(name.startswith(_WRAPPER) for name in tensors):
        tensors = {name.removeprefix(_WRAPPER): array for name, array in tensors.items()}
    return {name: array for name, array in tensors.items() if not name.endswith(_BOOKKEEPING)}
