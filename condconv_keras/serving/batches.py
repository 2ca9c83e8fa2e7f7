"""Functions of a batch of any size that compute one image in the forms for one."""

from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import tensorflow as tf

routers = LazyModule("condconv_keras.layers.routers")


def for_any_batch(function, model, shape):
    """Returns a TensorFlow function of one signature, for float32 images [batch, *shape].

    A CondConv layer chooses its form by the size of the batch, which is unknown while such a function is traced. So it
    has two graphs of a model with these layers, one of them for a batch of one.

    Args:
        function: of the images that calls the model once and returns tensors.
        model: Keras model.
        shape: (height, width, channels).
    """
    if routers.routers(model):
        function = _one_or_several(function, shape)
    signature = [tf.TensorSpec((None, *shape), tf.float32)]
    return tf.function(function, input_signature=signature, autograph=False)


def _one_or_several(function, shape):
    def compute(images):
        def of_one():
            # Sliced first: of a reshaped batch TensorFlow 2.20 concludes that it is one image, in either branch.
            return function(tf.reshape(images[:1], (1, *shape)))

        return tf.cond(tf.equal(tf.shape(images)[0], 1), of_one, lambda: function(images))

    return compute
