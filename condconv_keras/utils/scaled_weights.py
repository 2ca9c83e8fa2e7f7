"""Kernels times the scale of a batch normalization, and what gives the kernels back to the bit.

A SavedModel has each weight once: the kernels as the folded network computes with them. Divided by their scale they are
the weights before, but for the rounding of their last bits. The differences of the bits are numbers as -1, 0 and 1,
which are kept beside, compressed to a few hundredths of the size.
"""

from condconv_keras.utils.lazy import numpy as np


def scale_of(gamma, variance, epsilon):
    """The scale of a batch normalization in inference, float64 [filters]; `gamma` may be None."""
    scale = 1 / np.sqrt(np.asarray(variance, np.float64) + epsilon)
    return scale if gamma is None else scale * np.asarray(gamma, np.float64)


def scaled(weights, scale):
    """Weights times their scale, of the type of the weights.

    Args:
        weights: array of which a row has numbers of all filters, which are the last ones.
        scale: float64 [filters].
    """
    result = np.empty_like(weights)
    # In float64, so that what is rounded is the result alone; a row at a time, so that little is.
    for i, row in enumerate(weights):
        result[i] = (row.astype(np.float64).reshape(-1, scale.size) * scale).reshape(row.shape)
    return result


def rounding(weights, scaled_weights, scale):
    """What `unscaled` needs besides: integers of the shape of the weights, which are float32; arguments as above."""
    difference = _bits(weights) - _bits(_divided(scaled_weights, scale))
    return difference.astype(np.int8) if np.abs(difference.astype(np.int64)).max(initial=0) < 128 else difference


def unscaled(scaled_weights, scale, rounding):
    """The weights before, equal to the bit; arguments as above."""
    return (_bits(_divided(scaled_weights, scale)) + rounding.astype(np.int32)).view(np.float32)


def _divided(scaled_weights, scale):
    """The weights before, rounded to float32; zeros where a scale of zero has left nothing of them."""
    result = np.empty(scaled_weights.shape, np.float32)
    with np.errstate(all="ignore"):
        for i, row in enumerate(scaled_weights):
            result[i] = (row.astype(np.float64).reshape(-1, scale.size) / scale).reshape(row.shape)
    return np.where(np.isfinite(result), result, np.float32(0))


def _bits(values):
    return np.ascontiguousarray(values, np.float32).view(np.int32)
