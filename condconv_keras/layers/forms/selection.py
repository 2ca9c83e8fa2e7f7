"""Which form of per-example convolution a layer uses: the names, what each supports, and the measured choice."""

import math
import platform
from typing import Literal, TypeAlias, get_args

import keras

from condconv_keras.layers.forms import costs, mixtures, portable
from condconv_keras.utils.lazy import LazyModule

# There is either only where its backend is.
tensorflow_forms = LazyModule("condconv_keras.layers.forms.tensorflow_forms")
torch = LazyModule("torch")

_AnyForm: TypeAlias = Literal["mixture", "dense", "mapped_conv", "grouped_conv", "single_conv"]
ConvForm: TypeAlias = Literal[_AnyForm, "batched_matmul", "mixture_matmul", "mixture_conv"]
DepthwiseForm: TypeAlias = Literal[_AnyForm, "shifted_taps"]
CONV_FORMS = get_args(ConvForm)
DEPTHWISE_FORMS = get_args(DepthwiseForm)
_WITHOUT_GROUPS = ("dense", "mixture_matmul", "mixture_conv")
_MIXTURES = ("mixture", *_WITHOUT_GROUPS)
_TENSORFLOW_ONLY = ("mapped_conv",)
# Of which TensorFlow has its own, and those of which it has its own for the gradient on a CPU.
_TENSORFLOW_HAS = (*_TENSORFLOW_ONLY, "grouped_conv")
_TENSORFLOW_HAS_FOR_TRAINING = ("batched_matmul", "mixture_matmul")
# What a layer's `implementation` may be beside the forms: the choice of the fastest, and the same with no regard to
# what LiteRT takes.
CHOICES = ("auto", "serving")
# Those that take a `Finish` of their outputs.
_FINISHING = ("mapped_conv", "grouped_conv")
# Pairs of a pixel that goes in and one that comes out, up to which the form `dense` is computed: 16x16 pixels to as
# many. Each expert is a matrix of that many kernels' taps.
_DENSE_LIMIT = 2**16

# Where one form becomes faster than another. "What helped" and "Where a form becomes faster" are those tables of
# docs/results/forms.md: milliseconds before and after the number was set, and ratios on both sides of the number.
#
# Experts times pixels up to which all experts are applied in one product, of several images.
# What helped, "several images": 4x4 pixels, 512x512, n = 4, batch 16: 3.2 with 64, 2.3 with 32.
_MIXTURE_WORK = 32
# The same of one image and a small 1x1 kernel.
# What helped, "one image, 1x1x128x128, few pixels": 4x4 pixels, n = 8: 0.18 with 64, 0.13 with 200.
_MIXTURE_WORK_OF_ONE_SMALL = 200
# The same of one image and a larger kernel, which is written once and then read for every pixel.
# Where a form becomes faster: 1x1, 512x512, n = 8: 2x2 pixels, 3.00 against 3.76; 4x4, 3.17 against 2.81.
_MIXTURE_WORK_OF_ONE_LARGE = 32
# Channels times filters of the largest small kernel: between 128x128 and 512x512.
# Where a form becomes faster: 4x4 pixels, n = 8: 128x128, 0.97 against 1.26; 512x512, 3.17 against 2.81.
_SMALL_KERNEL = 2**15
# Pixels up to which the patches of a kxk kernel are gathered for one batched product.
# Where a form becomes faster: one image, n = 8: 7x7x512, 2.16 against 2.06; 14x14x256, 1.95 against 1.52.
_GATHERED_PIXELS = 64
# What the estimates of `costs.py` are taken for, about what they were fitted to: images, output pixels, and for more
# pixels than are gathered channels times filters. What helped, "a larger kernel": 83 in a loop, 95 as estimated.
_ESTIMATED_BATCH, _ESTIMATED_PIXELS, _ESTIMATED_KERNEL = 16, 1024, 2**14
# What a batch of unknown size is taken for where LiteRT need not take it.
USUAL_BATCH = 32
# Multiply-adds of a channel above which a depthwise kernel is applied in a loop over the images, on TensorFlow's CPU.
# What helped, "depthwise": 3x3, 14x14x512, n = 8, batch 16: 2.1 with 1000, 1.7 with 2500; 5x5, 7x7x1152: 2.5, 2.0.
_LOOP_WORK = 2500
# Height and width of the largest depthwise kernel of a stride whose gradient is that of the whole batch, on
# TensorFlow's CPU.
# `python -m benchmarks.layers --batch=16 --only=/2`
_STRIDED_KERNEL = 3
# Pairs of pixels in and out up to which a depthwise layer is trained as a dense one, without and with a stride, on
# TensorFlow's CPU.
# What helped, "depthwise of few pixels": 1x1, 256 channels: 1.07 in groups, 0.47 so; 4x4, stride 2, 64: 2.60, 1.37.
_DENSE_PAIRS, _STRIDED_DENSE_PAIRS = 16, 64


def implementations(depthwise):
    """The names that the layer argument `implementation` takes."""
    return (*CHOICES, *(DEPTHWISE_FORMS if depthwise else CONV_FORMS))


def check_implementation(implementation, depthwise, groups, strides):
    """Raises ValueError when the form is unknown or cannot compute the layer on the running Keras backend."""
    if implementation not in implementations(depthwise):
        raise ValueError(
            f"`implementation` must be one of {implementations(depthwise)}. Received: implementation={implementation!r}"
        )
    reason = _unsupported(implementation, depthwise, groups, strides)
    if reason:
        raise ValueError(f"The form `implementation` {implementation!r} {reason}")


def _unsupported(implementation, depthwise, groups, strides):
    """Why the running Keras backend or the layer's shape rules a form out, or None."""
    backend = keras.backend.backend()
    if implementation in _TENSORFLOW_ONLY and backend != "tensorflow":
        return f"needs the TensorFlow backend of Keras. Received: backend={backend!r}"
    elif implementation in _WITHOUT_GROUPS and groups > 1:
        return f"has no groups. Received: groups={groups}"
    elif implementation == "grouped_conv" and depthwise and strides[0] != strides[1]:
        return f"has no asymmetric strides. Received: strides={strides}"
    return None


def supported_forms(depthwise, groups, strides):
    """The names of the forms that can compute a layer on the running Keras backend."""
    names = DEPTHWISE_FORMS if depthwise else CONV_FORMS
    return [name for name in names if not _unsupported(name, depthwise, groups, strides)]


def check_size(implementation, geometry, height, width):
    """Raises ValueError when a form cannot compute feature maps of this size; None stands for an unknown one."""
    if implementation != "dense":
        return
    pixels = geometry.output_pixels(height, width)
    if pixels is None or height * width * pixels > _DENSE_LIMIT:
        raise ValueError(
            f"The form implementation='dense' takes small feature maps of known size, at most {_DENSE_LIMIT} pairs of "
            f"an input and an output pixel. Received: height={height}, width={width}, output pixels={pixels}"
        )


def get_form(name, training=False):
    """The function of a form; see `portable.py` for its arguments.

    Args:
        name: one of the forms.
        training: whether a gradient will follow.
    """
    if keras.backend.backend() == "tensorflow" and (
        name in _TENSORFLOW_HAS or (training and name in _TENSORFLOW_HAS_FOR_TRAINING and not _on_gpu())
    ):
        return getattr(tensorflow_forms, name)
    return getattr(mixtures if name in _MIXTURES else portable, name)


def finished_form(name, training=False):
    """The function of a form's arguments and of a `Finish` that returns the finished outputs; arguments as above."""
    form = get_form(name, training)

    def convolve(x, routing_weights, bank, spec, finish):
        if name in _FINISHING and not training:
            return form(x, routing_weights, bank, spec, finish)
        return finish(form(x, routing_weights, bank, spec))

    return convolve


def select_form(spec, num_experts, batch, size, training=False, dtype="float32"):
    """Names the fastest form for a layer on the running Keras backend and device.

    The rules are measurements: `python -m benchmarks.layers` prints every form beside the one selected here. Those of
    TensorFlow on a GPU are not yet: `python -m benchmarks.gpu` measures what they have to follow.

    Args:
        spec: `ConvSpec`.
        num_experts: number of experts.
        batch: batch size, or None when unknown. On TensorFlow's CPU the form for inference is then one that LiteRT
            takes: nothing tells a function that is traced to be converted from any other.
        size: height and width of the input, each an integer, or None when unknown.
        training: whether a gradient will follow.
        dtype: the dtype that the layer computes in.
    """
    pixels = spec.geometry.output_pixels(*size)
    estimated = training and (batch is None or batch >= _ESTIMATED_BATCH) and pixels is not None and _on_onednn(dtype)
    if spec.depthwise:
        if estimated and _is_dense_cheap(spec.geometry, math.prod(size) * pixels):
            return "dense"
        return _select_depthwise(spec, batch, pixels, training)
    if spec.groups > 1:
        return "batched_matmul"
    if estimated and _is_in_the_fit(spec, pixels):
        return costs.fastest_in_training(spec, num_experts, batch, *size)
    if _mixture_is_cheaper(spec, num_experts, batch, pixels):
        return "mixture_matmul"
    if spec.geometry.taps == 1:
        # TensorFlow makes batch normalization and activation part of a convolution, not of a matrix product.
        fuses = keras.backend.backend() == "tensorflow" and not _on_gpu()
        return "single_conv" if batch == 1 and fuses and not training else "batched_matmul"
    return _select_kxk(spec, batch, pixels, training)


def _mixture_is_cheaper(spec, num_experts, batch, pixels):
    """Whether n times the multiply-adds cost less than writing and reading one kernel per example."""
    if pixels is None:
        return False
    if batch != 1:
        return num_experts * pixels <= _MIXTURE_WORK
    # One kernel is soon written; where it is small, the fewer operations win.
    is_small = spec.channels * spec.filters <= _SMALL_KERNEL
    most = _MIXTURE_WORK_OF_ONE_SMALL if is_small else _MIXTURE_WORK_OF_ONE_LARGE
    return spec.geometry.taps == 1 and num_experts * pixels <= most


def _select_kxk(spec, batch, pixels, training):
    gather_is_cheap = pixels is not None and pixels <= _GATHERED_PIXELS and spec.geometry.strides == (1, 1)
    if _on_xla_cpu() or (gather_is_cheap and (training or batch == 1)):
        return "batched_matmul"
    if batch == 1:
        return "single_conv"
    if keras.backend.backend() == "tensorflow":
        return "grouped_conv" if _on_gpu() else "mapped_conv"
    return "batched_matmul"


def _is_in_the_fit(spec, pixels):
    is_small = spec.channels * spec.filters <= _ESTIMATED_KERNEL
    return pixels <= _GATHERED_PIXELS or (pixels <= _ESTIMATED_PIXELS and is_small)


def _is_dense_cheap(geometry, pairs):
    """Of a depthwise layer in training; `pairs` of pixels, one that goes in and one that comes out."""
    return pairs <= (_DENSE_PAIRS if geometry.strides == (1, 1) else _STRIDED_DENSE_PAIRS)


def _select_depthwise(spec, batch, pixels, training):
    strides, kernel_size = spec.geometry.strides, spec.geometry.kernel_size
    if strides[0] != strides[1]:
        return "shifted_taps"
    if _on_xla_cpu():
        # XLA's CPU backend has no fast depthwise convolution; it fuses the shifted products.
        return "shifted_taps"
    if batch == 1:
        return "grouped_conv" if training and strides == (1, 1) else "single_conv"
    if keras.backend.backend() == "tensorflow" and not _on_gpu():
        # Where one example is work enough, its loop is cheaper than moving the batch into the channels and back; and
        # for the gradient where `grouped_conv` would go through the phases of a stride. LiteRT, see `select_form`, does
        # not take `grouped_conv` without a size of the batch: its kernels then have an unknown number of channels.
        large = pixels is not None and spec.geometry.taps * pixels > _LOOP_WORK
        strided_gradient = training and max(kernel_size) > _STRIDED_KERNEL and strides != (1, 1)
        if strided_gradient or ((large or batch is None) and not training):
            return "mapped_conv"
    return "grouped_conv"


def _on_onednn(dtype):
    """Whether TensorFlow computes on an x86 CPU with oneDNN, where the estimates were fitted, and in `dtype`."""
    if keras.backend.backend() != "tensorflow" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    return not _on_gpu() and tensorflow_forms.has_gradient_of_groups(dtype)


def _on_xla_cpu():
    return keras.backend.backend() == "jax" and not _on_gpu()


def _on_gpu():
    if keras.backend.backend() == "tensorflow":
        return tensorflow_forms.device() == "gpu"
    if keras.backend.backend() == "torch":
        return torch.cuda.is_available()
    return any(device.startswith("gpu") for device in keras.distribution.list_devices())
