"""Batch normalisation in one operation, with the numbers of Keras's layer."""

import keras

# Below it the GPU's kernel (cuDNN) refuses to work.
_SMALLEST_EPSILON = 1.001e-5
_DTYPES = ("float32", "float16", "bfloat16")


@keras.saving.register_keras_serializable(package="condconv_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, fused where TensorFlow can.

    Keras 3 computes the statistics, the scaling and the shift as operations of their own, each of which reads and
    writes the whole feature map. TensorFlow's FusedBatchNormV3, with its own gradient, passes over it a few times in
    all; in inference TensorFlow makes it part of the convolution before it.

    It is used for images with the channels last, with scale and shift, an `epsilon` of at least 1.001e-5 and the
    statistics of one device. Everything else, and other backends, are left to Keras's layer, as are its arguments,
    weights, shapes and errors. Statistics are kept in float32; what is normalised keeps the input's precision.
    """

    def call(self, inputs, training=None, mask=None):
        """Returns the normalised inputs; arguments as of Keras's layer."""
        if mask is not None or not self._can_be_fused(inputs):
            return super().call(inputs, training=training, mask=mask)
        if training and self.trainable:
            return self._by_statistics_of_the_batch(inputs)
        statistics = {"mean": self.moving_mean.value, "variance": self.moving_variance.value}
        return self._fused(inputs, is_training=False, **statistics)[0]

    def _can_be_fused(self, inputs):
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.scale
            and self.center
            and self.epsilon >= _SMALLEST_EPSILON
            and not (self.synchronized or self.renorm)
            and keras.backend.standardize_dtype(inputs.dtype) == self.compute_dtype in _DTYPES
            and self.variable_dtype == "float32"
        )

    def _by_statistics_of_the_batch(self, inputs):
        import tensorflow as tf

        nothing = tf.zeros([0])
        outputs, mean, variance, *_ = self._fused(inputs, is_training=True, mean=nothing, variance=nothing)
        # The operation divides by one less than the number of pixels, Keras keeps the variance of the batch itself.
        pixels = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), variance.dtype)
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance * (pixels - 1) / pixels)
        return outputs

    def _fused(self, inputs, **options):
        import tensorflow as tf

        return tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=self.gamma.value, offset=self.beta.value, epsilon=self.epsilon, **options
        )

    def _follow(self, moving, value):
        moving.assign(moving.value * self.momentum + value * (1 - self.momentum))
