"""The moving average of a model's weights and statistics."""

import contextlib

import keras
from keras import ops


class MovingAverage:
    """Exponential moving averages of a model's floating-point variables, batch normalization's statistics included.

    After step t, counted from 1, an average becomes `d * average + (1 - d) * value` with the warm decay
    `d = min(decay, (1 + t) / (10 + t))`: early averages forget the initial weights soon.

    Reference: `tf.train.ExponentialMovingAverage(num_updates=step)` as main.py of EfficientNet in tensorflow/tpu
    uses it, for trainable variables and moving statistics.

    Args:
        model: Keras model that is built. The averages start at its values.
        decay: in (0, 1).
        left_out: variables that keep their present values.
    """

    def __init__(self, model, decay, left_out=()):
        self.decay = decay
        left_out = {id(v) for v in left_out}
        self._averaged = [v for v in model.variables if keras.backend.is_float_dtype(v.dtype) and id(v) not in left_out]
        self.variables = [
            # An average is a function of values that are equal on all replicas: any of them may write it.
            keras.Variable(v, trainable=False, dtype=v.dtype, aggregation="only_first_replica", name=f"average_{i}")
            for i, v in enumerate(self._averaged)
        ]

    def update(self, step):
        """Takes the present values in.

        Args:
            step: scalar, the number of optimizer steps taken.
        """
        step = ops.cast(step, "float32")
        decay = ops.minimum(self.decay, (1.0 + step) / (10.0 + step))
        for average, variable in zip(self.variables, self._averaged, strict=True):
            average.assign(average.value - (1.0 - decay) * (average.value - variable.value))

    @contextlib.contextmanager
    def in_place(self):
        """Puts the averages into the model for the length of a `with` block."""
        values = [v.numpy() for v in self._averaged]
        self.put()
        try:
            yield
        finally:
            for variable, value in zip(self._averaged, values, strict=True):
                variable.assign(value)

    def put(self):
        """Puts the averages into the model."""
        for average, variable in zip(self.variables, self._averaged, strict=True):
            variable.assign(average)
