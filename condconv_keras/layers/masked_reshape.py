"""A reshape that masks pass through."""

from __future__ import annotations

from typing import Any

import keras

from condconv_keras.utils.annotations import Shape


@keras.saving.register_keras_serializable(package="condconv_keras")
class MaskedReshape(keras.layers.Reshape):
    """Reshapes tokens [batch, tokens, features] to a feature map of one column, or back, and hands their mask on.

    `condconv_keras.to_condconv` has it around the 1x1 convolution that stands for a `keras.layers.Dense`, which hands
    masks on, too. `keras.layers.Reshape` does not.

    Args:
        target_shape: as of `keras.layers.Reshape`. The axis of the tokens has to be the first behind the batch's.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, target_shape: Shape, **kwargs: Any) -> None:
        super().__init__(target_shape, **kwargs)
        self.supports_masking = True
