"""What follows the convolution of a layer: a bias that all examples share, and the activation.

TensorFlow makes both part of a convolution that they follow at once. So a form that folds examples into channels, or
takes one after the other, applies them where it convolves (`selection.FINISHING`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import activations, ops

from condconv_keras.utils.lazy import tensorflow as tf

# Of each element alone: several examples may lie side by side in the channels.
_ELEMENTWISE = tuple(
    getattr(activations, name)
    for name in ("linear", "relu", "relu6", "silu", "sigmoid", "tanh", "elu", "gelu", "hard_silu", "hard_sigmoid")
)


@dataclasses.dataclass(frozen=True)
class Finish:
    """Adds a bias and applies an activation, which treats every element alone.

    Attributes:
        bias: [filters], in the dtype of the outputs, or None.
        activation: function of the outputs.
    """

    bias: Any = None
    activation: Callable[..., Any] = activations.linear

    def __call__(self, outputs, examples=1):
        """The finished outputs [..., examples * filters], the channels of one example beside those of the next."""
        if self.bias is not None:
            bias = self.bias if isinstance(examples, int) and examples == 1 else ops.tile(self.bias, [examples])
            # TensorFlow fuses no other addition.
            outputs = tf.nn.bias_add(outputs, bias) if keras.backend.backend() == "tensorflow" else outputs + bias
        return self.activation(outputs)


def is_elementwise(activation):
    """Whether an activation is one of Keras's that treat every element alone."""
    return any(activation is each for each in _ELEMENTWISE)


NOTHING = Finish()
