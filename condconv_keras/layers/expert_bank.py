"""One kernel per expert in a flat bank [experts, kernel size]: initialize, regularize and constrain each as itself.

A rule written for a convolution kernel computes fans, norms or axes from the kernel's shape. Applied to the flat bank
it computes the wrong ones (a known bug of several public ports), so each rule here sees one expert at a time in the
shape of the kernel that it replaces, as in the authors' `get_condconv_initializer` (tensorflow/tpu,
efficientnet/condconv/condconv_layers.py).
"""

import math

import keras
import numpy as np
from keras import ops


class PerExpertInitializer:
    """Draws every expert on its own with the shape of one expert.

    Args:
        initializer: Keras initializer or callable `(shape, dtype)`. The experts get different values: a Keras
            initializer repeats itself when called twice, so each expert calls a copy with a seed derived from the
            initializer's. Expert 0 keeps the seed: its values are those of a plain layer.
        expert_shape: tuple, the shape of one expert.
    """

    def __init__(self, initializer, expert_shape):
        self.initializer = initializer
        self.expert_shape = tuple(expert_shape)

    def __call__(self, shape, dtype=None):
        size = math.prod(self.expert_shape)
        if tuple(shape[1:]) != (size,):
            raise ValueError(
                f"Expected a bank of shape (experts, {size}) for experts of shape {self.expert_shape}. "
                f"Received: shape={tuple(shape)}"
            )
        if isinstance(self.initializer, keras.initializers.Zeros):
            return ops.zeros(shape, dtype)  # once, not first one by one
        experts = [_seeded_copy(self.initializer, i)(self.expert_shape, dtype=dtype) for i in range(shape[0])]
        return ops.stack([ops.reshape(expert, (size,)) for expert in experts])


def _seeded_copy(initializer, index):
    seed = getattr(initializer, "seed", None)
    if index == 0 or not isinstance(initializer, keras.Initializer) or not isinstance(seed, int):
        return initializer
    config = initializer.get_config()
    if "seed" not in config:
        return initializer
    derived = int(np.random.SeedSequence([seed % 2**32, index]).generate_state(1)[0] >> 1)
    return initializer.__class__.from_config({**config, "seed": derived})


class PerExpertRegularizer:
    """Sums the penalty of every expert, each in the shape of one expert.

    Args:
        regularizer: Keras regularizer or callable.
        expert_shape: tuple, the shape of one expert.
    """

    def __init__(self, regularizer, expert_shape):
        self.regularizer = regularizer
        self.expert_shape = tuple(expert_shape)

    def __call__(self, bank):
        # These three sum over elements: the sum over the bank is the sum over the experts, without slicing it.
        if type(self.regularizer) in (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2):
            return self.regularizer(bank)
        return sum(self.regularizer(ops.reshape(bank[i], self.expert_shape)) for i in range(bank.shape[0]))


class PerExpertConstraint:
    """Projects every expert on its own, each in the shape of one expert.

    Args:
        constraint: Keras constraint or callable.
        expert_shape: tuple, the shape of one expert.
    """

    def __init__(self, constraint, expert_shape):
        self.constraint = constraint
        self.expert_shape = tuple(expert_shape)

    def __call__(self, bank):
        experts = [self.constraint(ops.reshape(bank[i], self.expert_shape)) for i in range(bank.shape[0])]
        return ops.stack([ops.reshape(expert, (-1,)) for expert in experts])
