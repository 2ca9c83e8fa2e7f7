"""Per-example convolution in plain NumPy float64: forward by loops over kernel positions, gradients by hand.

Written from the definition `y[b] = conv(x[b], sum_e r[b, e] * W_e) + sum_e r[b, e] * bias_e`, apart from the library:
it shares no code with it. Grouped and depthwise kernels are spread into full kernels with zeros.
"""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A 2D convolution over channels_last maps.

    Attributes:
        strides, dilation: pairs (height, width).
        padding: `"valid"`, or `"same"` as TensorFlow pads (the odd zero at the bottom and right).
        groups: channel groups of a full convolution.
        depthwise: whether experts are [kh, kw, channels, multiplier] instead of [kh, kw, channels / groups, filters].
    """

    strides: tuple[int, int] = (1, 1)
    padding: str = "valid"
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    depthwise: bool = False


def forward(conv, x, routing, experts, bias=None):
    """Returns [batch, rows, columns, filters].

    Args:
        conv: `Convolution`.
        x: [batch, height, width, channels].
        routing: [batch, n].
        experts: [n, *kernel shape].
        bias: [n, filters] or None.
    """
    x, routing, experts = (np.asarray(a, np.float64) for a in (x, routing, experts))
    full = np.stack([_spread(conv, expert) for expert in experts])
    padded, (rows, columns), _ = _pad(conv, x, full.shape[1:3])
    outputs = np.zeros((len(x), rows, columns, full.shape[-1]))
    for example in range(len(x)):
        kernel = sum(weight * expert for weight, expert in zip(routing[example], full, strict=True))
        for i, j, window in _windows(conv, kernel.shape[:2], rows, columns):
            outputs[example] += padded[example][window] @ kernel[i, j]
        if bias is not None:
            outputs[example] += routing[example] @ np.asarray(bias, np.float64)
    return outputs


def gradients(conv, x, routing, experts, upstream, bias=None):
    """Gradients of `sum(forward(...) * upstream)`: a dict with `x`, `routing`, `experts` and, with a bias, `bias`."""
    x, routing, experts, upstream = (np.asarray(a, np.float64) for a in (x, routing, experts, upstream))
    full = np.stack([_spread(conv, expert) for expert in experts])
    padded, (rows, columns), offset = _pad(conv, x, full.shape[1:3])
    d_padded, d_routing, d_full = np.zeros_like(padded), np.zeros_like(routing), np.zeros_like(full)
    for example in range(len(x)):
        kernel = sum(weight * expert for weight, expert in zip(routing[example], full, strict=True))
        d_kernel = np.zeros_like(kernel)
        for i, j, window in _windows(conv, kernel.shape[:2], rows, columns):
            d_padded[example][window] += upstream[example] @ kernel[i, j].T
            d_kernel[i, j] = np.einsum("rci,rco->io", padded[example][window], upstream[example])
        for expert in range(len(full)):
            d_routing[example, expert] = (d_kernel * full[expert]).sum()
            d_full[expert] += routing[example, expert] * d_kernel
    top, left = offset
    result = {
        "x": d_padded[:, top : top + x.shape[1], left : left + x.shape[2]],
        "routing": d_routing,
        "experts": np.stack([_gather(conv, full_gradient, experts.shape[1:]) for full_gradient in d_full]),
    }
    if bias is not None:
        per_example = upstream.sum(axis=(1, 2))
        result["bias"] = routing.T @ per_example
        result["routing"] = d_routing + per_example @ np.asarray(bias, np.float64).T
    return result


def relative_error(actual, expected):
    """Largest absolute difference over the largest absolute expected value."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    return np.abs(actual - expected).max() / np.abs(expected).max()


def _pad(conv, x, kernel_size):
    """Returns the zero-padded input, the output size, and the rows and columns of zeros before the input."""
    sizes, widths = [], []
    for n, k, s, d in zip(x.shape[1:3], kernel_size, conv.strides, conv.dilation, strict=True):
        covered = d * (k - 1) + 1
        if conv.padding == "valid":
            sizes.append(len(range(0, n - covered + 1, s)))
            widths.append((0, 0))
        else:
            sizes.append(math.ceil(n / s))
            zeros = max(s * (sizes[-1] - 1) + covered - n, 0)
            widths.append((zeros // 2, zeros - zeros // 2))
    return np.pad(x, [(0, 0), *widths, (0, 0)]), tuple(sizes), (widths[0][0], widths[1][0])


def _windows(conv, kernel_size, rows, columns):
    """Yields kernel row, kernel column, and the index of the padded pixels that this position sees."""
    for i in range(kernel_size[0]):
        for j in range(kernel_size[1]):
            seen_rows = i * conv.dilation[0] + conv.strides[0] * np.arange(rows)
            seen_columns = j * conv.dilation[1] + conv.strides[1] * np.arange(columns)
            yield i, j, np.ix_(seen_rows, seen_columns)


def _connections(conv, expert_shape):
    """Yields every (input channel, output channel) of the full kernel with its place in the expert's last two axes."""
    _, _, depth, last = expert_shape
    if conv.depthwise:
        for channel in range(depth):
            for copy in range(last):
                yield channel, channel * last + copy, (channel, copy)
    else:
        for output in range(last):
            group = output // (last // conv.groups)
            for channel in range(depth):
                yield group * depth + channel, output, (channel, output)


def _spread(conv, expert):
    kh, kw, depth, last = expert.shape
    shape = (kh, kw, depth, depth * last) if conv.depthwise else (kh, kw, depth * conv.groups, last)
    full = np.zeros(shape)
    for channel, output, place in _connections(conv, expert.shape):
        full[:, :, channel, output] = expert[:, :, place[0], place[1]]
    return full


def _gather(conv, full_gradient, expert_shape):
    gradient = np.zeros(expert_shape)
    for channel, output, place in _connections(conv, expert_shape):
        gradient[:, :, place[0], place[1]] = full_gradient[:, :, channel, output]
    return gradient
