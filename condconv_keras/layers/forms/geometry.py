"""Where a 2D convolution's window lands: padding, strides and dilation of a channels_last feature map."""

import dataclasses

import numpy as np
from keras import ops

from condconv_keras.utils.lazy import tensorflow as tf

# Pixels of a feature map whose patches TensorFlow gathers by a matrix product.
# What helped of docs/results/forms.md, "patches of few pixels".
FEW_PIXELS = 64


@dataclasses.dataclass(frozen=True)
class ConvGeometry:
    """The window of a 2D convolution over a channels_last input.

    Attributes:
        kernel_size, strides, dilation_rate: pairs of positive integers, (height, width).
        padding: `"valid"` or `"same"`, TensorFlow's `SAME`: with a stride the extra row or column of zeros goes to
            the bottom and right.
    """

    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: str = "valid"
    dilation_rate: tuple[int, int] = (1, 1)

    @property
    def taps(self):
        """Number of kernel positions, kh * kw."""
        return self.kernel_size[0] * self.kernel_size[1]

    @property
    def extent(self):
        """Rows and columns that the dilated kernel covers."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation_rate, strict=True))

    def output_size(self, height, width):
        """Output height and width; integers or scalar tensors, as given."""
        if self.padding == "same":
            return tuple((n + s - 1) // s for n, s in zip((height, width), self.strides, strict=True))
        return tuple((n - e) // s + 1 for n, e, s in zip((height, width), self.extent, self.strides, strict=True))

    def output_pixels(self, height, width):
        """Output height times width, or None when either size is unknown."""
        if height is None or width is None:
            return None
        rows, columns = self.output_size(height, width)
        return rows * columns


def pad(x, geometry):
    """Pads `x` [batch, height, width, channels] with the zeros that turn a `same` window into a `valid` one."""
    if geometry.padding == "valid" or geometry.extent == (1, 1):
        return x
    return pad_by(x, [(0, 0), *paddings(geometry, *ops.shape(x)[1:3]), (0, 0)])


def paddings(geometry, height, width):
    """Rows of zeros before and after a feature map, and columns: two pairs of integers or scalar tensors, as given."""
    if geometry.padding == "valid":
        return (0, 0), (0, 0)
    sizes = (height, width)
    sides = zip(sizes, geometry.extent, geometry.strides, geometry.output_size(*sizes), strict=True)
    return tuple(_same_padding(*side) for side in sides)


def pad_by(x, widths):
    """Pads `x` with zeros; `widths` are pairs of integers or scalar tensors, (before, after) for each axis."""
    if all(isinstance(w, int) for pair in widths for w in pair):
        return ops.pad(x, widths)
    # Only TensorFlow has sizes that are unknown while a function is traced.
    return tf.pad(x, widths)


def _same_padding(size, extent, stride, output_size):
    total = (output_size - 1) * stride + extent - size
    if isinstance(total, int):
        total = max(total, 0)
    else:
        total = ops.maximum(total, 0)
    return total // 2, total - total // 2


def taps(x, geometry):
    """Lists the input that each kernel position sees, row by row.

    Args:
        x: [batch, height, width, channels].
        geometry: `ConvGeometry`.

    Returns:
        List of kh * kw tensors [batch, output height, output width, channels].
    """
    if geometry.extent == geometry.strides == (1, 1):
        return [x]
    rows, columns = geometry.output_size(*ops.shape(x)[1:3])
    x = pad(x, geometry)
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel_size, geometry.strides, geometry.dilation_rate
    return [
        x[:, i * dh : i * dh + (rows - 1) * sh + 1 : sh, j * dw : j * dw + (columns - 1) * sw + 1 : sw, :]
        for i in range(kh)
        for j in range(kw)
    ]


def reach(geometry, height, width):
    """Which tap of the kernel takes which pixel of a feature map to which pixel of the output.

    Args:
        geometry: `ConvGeometry`.
        height, width: integers, the size of the feature map.

    Returns:
        NumPy array [height * width, output pixels, taps] of ones where it does, zeros elsewhere.
    """
    before = [padding[0] for padding in paddings(geometry, height, width)]
    rows_out, columns_out = geometry.output_size(height, width)
    rows = _reach_of_an_axis(height, rows_out, geometry, before, 0)
    columns = _reach_of_an_axis(width, columns_out, geometry, before, 1)
    both = np.einsum("hpi,wqj->hwpqij", rows, columns)
    return both.reshape(height * width, rows_out * columns_out, geometry.taps)


def _reach_of_an_axis(size, size_out, geometry, before, axis):
    position, out, tap = np.ogrid[:size, :size_out, : geometry.kernel_size[axis]]
    seen = out * geometry.strides[axis] + tap * geometry.dilation_rate[axis] - before[axis]
    return (position == seen).astype("float32")
