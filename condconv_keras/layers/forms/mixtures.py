"""The forms that apply the experts themselves and mix what goes in or comes out, on every Keras backend.

Arguments and results are those of `portable.py`. No form here writes a kernel for each example, and each computes n
times the multiply-adds: they pay where an example has few pixels, or a plain layer is slow for its multiply-adds.
"""

import dataclasses

from keras import ops

from condconv_keras.layers.forms.geometry import ConvGeometry, reach
from condconv_keras.layers.forms.portable import ConvSpec, convolve, gather_patches, mix, with_an_example

# Filters up to which the outputs of experts are mixed by a matrix product.
_FEW_FILTERS = 16


@with_an_example  # the convolution of an empty batch has the shape of its input on TensorFlow's CPU, 2.20
def mixture(x, routing_weights, bank, spec):
    """n plain convolutions, their outputs mixed: the definition, and the form with static kernels for exporters."""
    # In float32 to the end: experts that cancel would leave the rounding of a low precision.
    inputs = ops.cast(x, bank.dtype)
    total = 0.0
    for i in range(bank.shape[0]):
        outputs = convolve(inputs, ops.reshape(bank[i], spec.expert_shape), spec)
        total = total + outputs * ops.reshape(routing_weights[:, i], (-1, 1, 1, 1))
    return ops.cast(total, x.dtype)


@with_an_example  # as `mixture`
def mixture_conv(x, routing_weights, bank, spec):
    """The mixture as one plain convolution with the filters of all experts side by side, whose outputs are mixed."""
    inputs, experts = ops.cast(x, bank.dtype), bank.shape[0]
    kernel = ops.transpose(ops.reshape(bank, (experts, -1, spec.filters)), (1, 0, 2))
    wide = dataclasses.replace(spec, filters=experts * spec.filters)
    outputs = convolve(inputs, ops.reshape(kernel, wide.expert_shape), wide)
    rows, columns = ops.shape(outputs)[1:3]
    outputs = ops.reshape(outputs, (-1, rows * columns, experts, spec.filters))
    mixed = _mix_outputs(outputs, routing_weights)
    return ops.cast(ops.reshape(mixed, (-1, rows, columns, spec.filters)), x.dtype)


def _mix_outputs(outputs, routing_weights):
    """Sums the outputs of the experts, [batch, pixels, n, filters], times their routing weights."""
    _, pixels, experts, filters = ops.shape(outputs)
    if filters > _FEW_FILTERS:
        return ops.sum(outputs * routing_weights[:, None, :, None], axis=2)
    # A product with n scaled identities reads the outputs once and writes no scaled ones.
    identities = routing_weights[:, :, None, None] * ops.eye(filters, dtype=outputs.dtype)
    identities = ops.reshape(identities, (-1, experts * filters, filters))
    return ops.matmul(ops.reshape(outputs, (-1, pixels, experts * filters)), identities)


def mixture_matmul(x, routing_weights, bank, spec, gather=gather_patches):
    """The mixture as one matrix product: inputs scaled by every routing weight, [pixels, n * K] x [n * K, filters].

    No per-example kernel is written, which pays where an example has few pixels; the bank is used as it lies.
    `gather(x, spec)` replaces `gather_patches`.
    """
    # Here the mixing is the sum of the matrix product, so that all of it is float32.
    patches, size = gather(ops.cast(x, bank.dtype), spec)
    depth = patches.shape[-1]
    scaled = ops.reshape(patches[:, :, None, :] * routing_weights[:, None, :, None], (-1, bank.shape[0] * depth))
    outputs = ops.matmul(scaled, ops.reshape(bank, (-1, spec.filters)))
    return ops.cast(ops.reshape(outputs, size), x.dtype)


def dense(x, routing_weights, bank, spec):
    """A small map's convolution as a dense layer from all pixels that go in to all that come out.

    Its matrix has one tap of the kernel for every pair of pixels, or zeros: less than a convolution computes where the
    map has fewer pixels than the kernel has taps, for which most of what these see is padding.
    """
    pairs = reach(spec.geometry, *x.shape[1:3])
    pixels_in, pixels_out, taps = pairs.shape
    pairs = ops.convert_to_tensor(pairs.reshape(-1, taps), bank.dtype)
    (depth, last), experts = spec.expert_shape[2:], bank.shape[0]
    matrices = ops.matmul(pairs, ops.reshape(bank, (experts, taps, depth * last)))
    if spec.depthwise:
        mixed = mix(routing_weights, ops.reshape(matrices, (experts, -1)), x.dtype)
        mixed = ops.reshape(mixed, (-1, pixels_in, pixels_out, depth, last))
        outputs = ops.sum(ops.reshape(x, (-1, pixels_in, 1, depth, 1)) * mixed, axis=1)
    else:
        matrices = ops.transpose(ops.reshape(matrices, (experts, pixels_in, pixels_out, depth, last)), (0, 1, 3, 2, 4))
        whole = ConvSpec(ConvGeometry((1, 1)), pixels_in * depth, pixels_out * last)
        vectors = ops.reshape(x, (-1, 1, 1, whole.channels))
        outputs = mixture_matmul(vectors, routing_weights, ops.reshape(matrices, (experts, -1)), whole)
    rows, columns = spec.geometry.output_size(*x.shape[1:3])
    return ops.reshape(outputs, (-1, rows, columns, spec.filters))
