"""Keras's optimizers with one operation for each variable's update.

Keras 3 computes an update as operations of their own: momentum SGD reads or writes every weight, gradient and momentum
some ten times a step, TensorFlow's fused operation five times. The experts of a CondConv network are most of its
weights and at small batches most of its step. Class names, variables and numbers are those of Keras's optimizers, so
that checkpoints of either are the other's.
"""

import keras
import tensorflow as tf


class SGD(keras.optimizers.SGD):
    """`keras.optimizers.SGD`; with momentum in one operation for each variable."""

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its momentum."""
        if self.momentum == 0:
            super().update_step(gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=_state(self, self.momentums, variable),
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.constant(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )


class RMSprop(keras.optimizers.RMSprop):
    """`keras.optimizers.RMSprop` with momentum, not centred, in one operation for each variable."""

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable, its mean square and its momentum."""
        if self.momentum == 0 or self.centered:
            super().update_step(gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=_state(self, self._velocities, variable),
            mom=_state(self, self._momentums, variable),
            lr=tf.cast(learning_rate, variable.dtype),
            rho=tf.constant(self.rho, variable.dtype),
            momentum=tf.constant(self.momentum, variable.dtype),
            epsilon=tf.constant(self.epsilon, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
        )


class AdamW(keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`, without `amsgrad` in one operation for each variable beside the weight decay."""

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its two moments."""
        if self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        beta_1, beta_2 = (tf.constant(beta, variable.dtype) for beta in (self.beta_1, self.beta_2))
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=_state(self, self._momentums, variable),
            v=_state(self, self._velocities, variable),
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
        )


def _state(optimizer, states, variable):
    """The handle of a variable's state, on the variable's device."""
    return states[optimizer._get_variable_index(variable)].value.handle
