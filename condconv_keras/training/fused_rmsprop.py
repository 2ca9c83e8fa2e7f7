"""Keras's RMSprop with one operation for each variable's update.

Keras 3 computes the mean square, the momentum and the variable by operations of their own, each of which reads and
writes all values. The experts of a CondConv network are most of its weights, and at small batches most of its step.
"""

import keras
import tensorflow as tf

from condconv_keras.utils.keras_graph import rmsprop_slots


class RMSprop(keras.optimizers.RMSprop):
    """`keras.optimizers.RMSprop`, with momentum and not centered in one operation for each float32 variable.

    Name, variables and numbers are Keras's: checkpoints of either are the other's. A sparse gradient, and a variable of
    another dtype, is Keras's own work.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable, its mean square and its momentum."""
        dense = not isinstance(gradient, tf.IndexedSlices)
        if self.momentum == 0 or self.centered or not dense or variable.dtype != tf.float32:
            super().update_step(gradient, variable, learning_rate)
            return
        mean_square, momentum = rmsprop_slots(self, variable)
        # The handles are those of the device that is being updated.
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=mean_square.value.handle,
            mom=momentum.value.handle,
            lr=tf.cast(learning_rate, tf.float32),
            rho=self.rho,
            momentum=self.momentum,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )
