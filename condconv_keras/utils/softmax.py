"""The softmax of NumPy arrays."""

from condconv_keras.utils.lazy import LazyModule

np = LazyModule("numpy")


def softmax(logits):
    """Returns the softmax of an array [..., classes], float32, computed in float64."""
    logits = np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
