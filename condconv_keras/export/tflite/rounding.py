"""Rounds kernels to 8 bits so that what they do to the mean of their inputs stays as it is."""

import numpy as np


def round_keeping_means(kernels, scales, means=None):
    """Rounds kernels to multiples of their scales, keeping every output channel's sum of weights times mean inputs.

    What rounding errors add to an output is, but for noise, their sum times the means of its inputs. Where that is more
    than another rounding of a few weights can mend, those weights are rounded the other way that are nearest to it, by
    what they mend. What quantizes the kernels by the same scales rounds the result to itself.

    Args:
        kernels: float32 [..., K, filters]; each of the leading axes is a kernel of its own.
        scales: float32, broadcast against `kernels`: the step of each weight, the largest weight at most 127 of them.
        means: float [K], the mean of the input that each of the K weights of an output is multiplied by; None for
            inputs that are all alike, which keeps the sums of the weights.

    Returns:
        An array like `kernels`.
    """
    shape = kernels.shape
    scales = np.broadcast_to(scales, shape).reshape(-1, *shape[-2:])
    means = np.ones(shape[-2]) if means is None else np.asarray(means, np.float64)
    rounded = [_rounded(*pair, means) for pair in zip(kernels.reshape(-1, *shape[-2:]), scales, strict=True)]
    return np.stack(rounded).astype(kernels.dtype).reshape(shape)


def _rounded(kernel, scale, means):
    """One kernel [K, filters] with scales of its shape; arguments as of `round_keeping_means`."""
    scale = np.asarray(scale, np.float64)
    exact = kernel / scale
    rounded = np.rint(exact)
    error = exact - rounded
    weight = scale * means[:, np.newaxis]  # what a step of each weight adds to the mean output
    missing = (error * weight).sum(axis=0)
    step = np.where(error >= 0, 1.0, -1.0)
    gain = step * weight * np.sign(missing)
    able = (gain > 0) & (np.abs(rounded + step) <= 127)
    # A weight half-way between two numbers costs nothing; the nearer it is to its own, the more.
    cost = np.where(able, (1 - 2 * np.abs(error)) / np.where(able, gain, 1), np.inf)
    order = cost.argsort(axis=0)
    gains = np.take_along_axis(np.where(able, gain, 0), order, axis=0)
    chosen = np.zeros_like(able)
    # A further one is worth it as long as it leaves less than there is without it.
    np.put_along_axis(chosen, order, gains.cumsum(axis=0) - gains / 2 <= np.abs(missing), axis=0)
    return (rounded + step * (chosen & able)) * scale
