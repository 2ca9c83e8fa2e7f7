"""The forms of per-example convolution that mix one kernel per example, on every Keras backend.

All forms compute the same function: `y[b] = conv(x[b], sum_e routing_weights[b, e] * expert[e])` (paper, equation 1).
They differ in what they materialize. A *combine* form mixes one kernel per example, [batch, kernel size], and
convolves once; a *mixture* form (`mixtures.py`) applies the experts themselves and mixes their outputs or inputs, which
needs no per-example kernel but n times the multiply-adds (paper, section 3: the two are equal).

Arguments, the same for each form:
    x: [batch, height, width, channels] in the compute dtype.
    routing_weights: [batch, n], float32.
    bank: [n, kh * kw * channels / groups * filters], or [n, kh * kw * channels * multiplier] for depthwise, row-major,
        float32: `condconv_kernel` and `depthwise_condconv_kernel` of the authors' checkpoints.
    spec: `ConvSpec`.
Returns [batch, output height, output width, filters], in the dtype of `x`.
"""

import dataclasses
import functools

import keras
from keras import ops

from condconv_keras.layers.forms.finish import NOTHING
from condconv_keras.layers.forms.geometry import ConvGeometry, pad, pad_by, taps
from condconv_keras.utils.lazy import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class ConvSpec:
    """What a form needs to know of the layer.

    Attributes:
        geometry: `ConvGeometry`.
        channels: input channels.
        filters: output channels; for a depthwise convolution channels * multiplier.
        groups: channel groups of a full convolution.
        depthwise: whether every channel has its own kernel.
    """

    geometry: ConvGeometry
    channels: int
    filters: int
    groups: int = 1
    depthwise: bool = False

    @property
    def multiplier(self):
        """Output channels per input channel of a depthwise convolution."""
        return self.filters // self.channels

    @property
    def expert_shape(self):
        """Shape of one expert: that of the kernel it replaces."""
        if self.depthwise:
            return (*self.geometry.kernel_size, self.channels, self.multiplier)
        return (*self.geometry.kernel_size, self.channels // self.groups, self.filters)


def without_stride(x, spec):
    """The pixels that a strided 1x1 kernel sees, and the layer on these alone; other layers as they are.

    TensorFlow 2.20 corrupts memory in the gradient of a 1x1 convolution of stride 2 on CPUs (one image of 3 to 8
    channels), so none is computed.

    Args:
        x: [batch, height, width, channels].
        spec: `ConvSpec`.

    Returns:
        `x` or every stride-th pixel of it, and a `ConvSpec` whose 1x1 kernels have stride 1.
    """
    height, width = spec.geometry.strides
    if spec.geometry.taps > 1 or (height, width) == (1, 1):
        return x, spec
    geometry = dataclasses.replace(spec.geometry, strides=(1, 1))
    return x[:, ::height, ::width], dataclasses.replace(spec, geometry=geometry)


def with_an_example(form):
    """Gives a form that cannot compute an empty batch one example of zeros then, and cuts off its outputs."""

    @functools.wraps(form)
    def padded_form(x, routing_weights, *arguments, **options):
        if x.shape[0]:
            return form(x, routing_weights, *arguments, **options)
        batch = ops.shape(x)[0]
        missing = 1 - batch if isinstance(batch, int) else ops.maximum(1 - batch, 0)
        x, routing_weights = (_lengthened(tensor, missing) for tensor in (x, routing_weights))
        return form(x, routing_weights, *arguments, **options)[:batch]

    return padded_form


def _lengthened(tensor, count):
    """A tensor with `count` rows of zeros after its own."""
    longer = pad_by(tensor, [(0, count), *((0, 0) for _ in tensor.shape[1:])])
    # Reshaped to the shape it has, for LiteRT's converter, which knows no size of what a computed number is added to.
    return longer if None in tensor.shape[1:] else ops.reshape(longer, (-1, *tensor.shape[1:]))


def mix(routing_weights, bank, dtype):
    """Mixes one kernel per example: [batch, n] x [n, size] -> [batch, size], computed in float32, cast to `dtype`."""
    if keras.backend.backend() != "tensorflow":
        return ops.cast(ops.matmul(routing_weights, bank), dtype)
    # Transposed twice for the gradient's sake: that of the routing weights becomes bank x upstream^T, n rows of a long
    # sum. As upstream x bank^T, which is the same, TensorFlow takes half as long again.
    return tf.cast(tf.matmul(tf.transpose(routing_weights), bank, transpose_a=True), dtype)


def convolve(x, kernel, spec):
    """One plain convolution of the whole batch with one kernel of shape `spec.expert_shape`."""
    if spec.depthwise:
        if spec.geometry.strides[0] == spec.geometry.strides[1]:
            return _depthwise_conv(x, kernel, spec.geometry)
        # TensorFlow's depthwise kernel has no asymmetric strides.
        return _taps_product(x, kernel[None], spec)
    if spec.groups == 1:
        return _conv(x, kernel, spec.geometry)
    # Grouped convolution has no gradient on TensorFlow's CPU without oneDNN: one convolution per group.
    pairs = zip(ops.split(x, spec.groups, axis=-1), ops.split(kernel, spec.groups, axis=-1), strict=True)
    return ops.concatenate([_conv(x_g, kernel_g, spec.geometry) for x_g, kernel_g in pairs], axis=-1)


def _conv(x, kernel, geometry):
    return ops.conv(x, kernel, geometry.strides, geometry.padding, "channels_last", geometry.dilation_rate)


def _depthwise_conv(x, kernel, geometry):
    if geometry.dilation_rate != (1, 1):
        # TensorFlow's dilated SAME needs a kernel of static shape, which an unknown batch folded into it is not.
        x, geometry = pad(x, geometry), dataclasses.replace(geometry, padding="valid")
    return ops.depthwise_conv(x, kernel, geometry.strides, geometry.padding, "channels_last", geometry.dilation_rate)


def gather_patches(x, spec):
    """Gathers [batch, pixels, kh * kw * channels] and the shape of the output."""
    windows = taps(x, spec.geometry)
    rows, columns = ops.shape(windows[0])[1:3]
    patches = windows[0] if len(windows) == 1 else ops.concatenate(windows, axis=-1)
    patches = ops.reshape(patches, (-1, rows * columns, spec.geometry.taps * spec.channels))
    return patches, (-1, rows, columns, spec.filters)


def batched_matmul(x, routing_weights, bank, spec, gather=gather_patches):
    """Per-example kernels as one batched matrix product; patches are gathered first unless the kernel is 1x1.

    `gather(x, spec)` replaces `gather_patches`.
    """
    patches, size = gather(x, spec)
    kernels = mix(routing_weights, bank, x.dtype)
    if spec.groups == 1:
        kernels = ops.reshape(kernels, (-1, patches.shape[-1], spec.filters))
        return ops.reshape(ops.matmul(patches, kernels), size)
    channels, filters = spec.channels // spec.groups, spec.filters // spec.groups
    pixels = ops.shape(patches)[1]
    patches = ops.reshape(patches, (-1, pixels, spec.geometry.taps, spec.groups, channels))
    patches = ops.reshape(
        ops.transpose(patches, (0, 3, 1, 2, 4)), (-1, spec.groups, pixels, spec.geometry.taps * channels)
    )
    kernels = ops.reshape(kernels, (-1, spec.geometry.taps * channels, spec.groups, filters))
    outputs = ops.matmul(patches, ops.transpose(kernels, (0, 2, 1, 3)))
    return ops.reshape(ops.transpose(outputs, (0, 2, 1, 3)), size)


@with_an_example  # a convolution of no channels is an error
def grouped_conv(x, routing_weights, bank, spec, finish=NOTHING, convolve_folded=None, mix_folded=None):
    """Batch folded into the channels: one grouped (or depthwise) convolution over [1, height, width, batch * C].

    `finish` is the `Finish` of the outputs, an elementwise one. `convolve_folded(x, kernel, geometry)` replaces the
    backend's grouped convolution, `mix_folded(routing_weights, bank, spec, dtype)` the mixing into its kernel, of the
    shape of an expert with the batch folded into its groups.
    """
    batch, height, width, _ = ops.shape(x)
    folded = ops.reshape(ops.transpose(x, (1, 2, 0, 3)), (1, height, width, batch * spec.channels))
    kernels = (mix_folded or _mix_folded)(routing_weights, bank, spec, x.dtype)
    convolve_folded = convolve_folded or (_depthwise_conv if spec.depthwise else _conv)
    outputs = finish(convolve_folded(folded, kernels, spec.geometry), batch)
    rows, columns = ops.shape(outputs)[1:3]
    return ops.transpose(ops.reshape(outputs, (rows, columns, batch, spec.filters)), (2, 0, 1, 3))


def _mix_folded(routing_weights, bank, spec, dtype):
    kernels = ops.reshape(mix(routing_weights, bank, dtype), (-1, *spec.expert_shape))
    kh, kw, depth, last = spec.expert_shape
    if spec.depthwise:
        return ops.reshape(ops.transpose(kernels, (1, 2, 0, 3, 4)), (kh, kw, -1, last))
    return ops.reshape(ops.transpose(kernels, (1, 2, 3, 0, 4)), (kh, kw, depth, -1))


def single_conv(x, routing_weights, bank, spec):
    """A batch of exactly one example: its kernel is mixed, and one plain convolution does the rest."""
    if x.shape[0] != 1:
        raise ValueError(
            f"The form implementation='single_conv' takes a batch of exactly one. Received: batch={x.shape[0]}"
        )
    return convolve(x, ops.reshape(mix(routing_weights, bank, x.dtype), spec.expert_shape), spec)


def shifted_taps(x, routing_weights, bank, spec):
    """Depthwise: for every kernel position one multiply-add of the shifted input."""
    kernels = ops.reshape(mix(routing_weights, bank, x.dtype), (-1, *spec.expert_shape))
    return _taps_product(x, kernels, spec)


def _taps_product(x, kernels, spec):
    """Sums shifted inputs times `kernels` [batch or 1, kh, kw, channels, multiplier]."""
    kw = spec.geometry.kernel_size[1]
    total = 0.0
    for position, window in enumerate(taps(x, spec.geometry)):
        weights = kernels[:, position // kw, position % kw]
        total = total + window[..., None] * weights[:, None, None]
    rows, columns = ops.shape(total)[1:3]
    return ops.reshape(total, (-1, rows, columns, spec.filters))
