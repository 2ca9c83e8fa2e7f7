"""The patches of a feature map in TensorFlow, gathered, and in the gradient summed again, without slow slices.

Of few pixels they are the product of the map with a matrix of zeros and ones: one operation where slices need a dozen,
each of which takes longer to start than to compute.

For more pixels there are slices. TensorFlow takes one with a stride element by element, and the gradient of any slice
writes a whole feature map. So the map is seen as one of phases, [batch, rows, phase, columns, phase * channels]: its
row i is row i // stride of phase i % stride. What a kernel position sees is then a block of one phase, whatever the
stride.
"""

import keras
import tensorflow as tf

from condconv_keras.layers.forms import portable
from condconv_keras.layers.forms.geometry import FEW_PIXELS, pad_by, paddings, reach


def gather_patches(x, spec):
    """`portable.gather_patches`, equal to it."""
    geometry = spec.geometry
    if geometry.taps == 1:
        return portable.gather_patches(x, spec)
    rows, columns = geometry.output_size(*keras.ops.shape(x)[1:3])
    size = (-1, rows * columns, geometry.taps * spec.channels)
    if None not in x.shape[1:3] and x.shape[1] * x.shape[2] <= FEW_PIXELS:
        return _multiplied(x, spec, size), (-1, rows, columns, spec.filters)

    @tf.custom_gradient
    def gather(x):
        windows = _windows(_phases(x, geometry), geometry, (rows, columns), spec.channels)
        shape = keras.ops.shape(x)
        return tf.reshape(tf.concat(windows, -1), size), lambda upstream: _summed(upstream, geometry, shape)

    return gather(x), (-1, rows, columns, spec.filters)


def _multiplied(x, spec, size):
    pixels = x.shape[1] * x.shape[2]
    reached = reach(spec.geometry, *x.shape[1:3]).reshape(1, pixels, -1)

    @tf.custom_gradient
    def multiply(x):
        # A constant for each of the two: one that is shared would belong to one of their graphs.
        patches = tf.matmul(tf.constant(reached, x.dtype), tf.reshape(x, (-1, pixels, spec.channels)), transpose_a=True)

        def gradient(upstream):
            upstream = tf.reshape(upstream, (-1, reached.shape[-1], spec.channels))
            return tf.reshape(tf.matmul(tf.constant(reached, x.dtype), upstream), (-1, *x.shape[1:]))

        return tf.reshape(patches, size), gradient

    return multiply(x)


def _phased_padding(geometry, height, width):
    """The zeros before and after each axis with which its size is a multiple of the stride and holds every window."""
    pairs = []
    sides = zip((height, width), geometry.strides, paddings(geometry, height, width), strict=True)
    for size, stride, (before, after) in sides:
        padded = size + before + after
        pairs.append((before, after + (-padded) % stride))
    return pairs


def _phases(x, geometry):
    """Pads `x` and shapes it [batch, rows, phase, columns, phase * channels]."""
    x = pad_by(x, [(0, 0), *_phased_padding(geometry, *keras.ops.shape(x)[1:3]), (0, 0)])
    _, height, width, channels = keras.ops.shape(x)
    sh, sw = geometry.strides
    return tf.reshape(x, (-1, height // sh, sh, width // sw, sw * channels))


def _positions(geometry):
    """For each kernel position row by row the phases it sees, (of rows, of columns), and the shifts within them."""
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel_size, geometry.strides, geometry.dilation_rate
    return [((i * dh % sh, j * dw % sw), (i * dh // sh, j * dw // sw)) for i in range(kh) for j in range(kw)]


def _windows(phases, geometry, size, channels):
    rows, columns = size
    return [
        phases[:, down : down + rows, p, right : right + columns, q * channels : (q + 1) * channels]
        for (p, q), (down, right) in _positions(geometry)
    ]


def _summed(patches, geometry, shape):
    """Adds every element of the patches to the pixel that it was gathered from; returns a map of `shape`."""
    _, height, width, channels = shape
    (before, after), (left, right) = _phased_padding(geometry, height, width)
    (sh, sw), (rows, columns) = geometry.strides, geometry.output_size(height, width)
    height, width = height + before + after, width + left + right
    patches = tf.reshape(patches, (-1, rows, columns, geometry.taps * channels))
    phases = {}
    for tap, (phase, (down, along)) in enumerate(_positions(geometry)):
        window = patches[..., tap * channels : (tap + 1) * channels]
        rest = (down, height // sh - rows - down), (along, width // sw - columns - along)
        phases.setdefault(phase, []).append(tf.pad(window, [(0, 0), *rest, (0, 0)]))
    sums = {phase: tf.add_n(windows) for phase, windows in phases.items()}
    nothing = tf.zeros_like(next(iter(sums.values())))
    by_row = [tf.stack([sums.get((p, q), nothing) for q in range(sw)], 3) for p in range(sh)]
    total = tf.reshape(tf.stack(by_row, 2), (-1, height, width, channels))
    return tf.reshape(total[:, before : height - after, left : width - right], shape)
