"""The softmax of NumPy arrays."""

from __future__ import annotations

from condconv_keras.utils.lazy import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the softmax of an array [..., classes], float32, computed in float64."""
    logits = np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
