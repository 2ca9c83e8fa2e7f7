"""Functions of a batch of any size that compute one image in the forms for one.

A CondConv layer chooses its form by the size of the batch, which a function for any size does not know while TensorFlow
traces it. So a network with such layers is traced twice, once of them for a batch of one.
"""

from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import tensorflow as tf

routers = LazyModule("condconv_keras.layers.routers")


def called_by_batch(function, model, shape):
    """Returns a function that is called in Python, with float32 images [batch, *shape], and traced when it has to be.

    Args:
        function: of the images that calls the model once and returns tensors.
        model: Keras model.
        shape: (height, width, channels).
    """
    several = _traced(function, None, shape)
    one = _traced(function, 1, shape) if routers.routers(model) else several
    return lambda images: (one if len(images) == 1 else several)(images)


def in_one_graph(function, model, shape):
    """Returns a TensorFlow function of one signature for any batch, to be saved; arguments as above."""
    if not routers.routers(model):
        return _traced(function, None, shape)

    def compute(images):
        def of_one():
            # Sliced first: of a reshaped batch TensorFlow 2.20 concludes that it is one image, in either branch.
            return function(tf.reshape(images[:1], (1, *shape)))

        return tf.cond(tf.equal(tf.shape(images)[0], 1), of_one, lambda: function(images))

    return _traced(compute, None, shape)


def _traced(function, batch, shape):
    return tf.function(function, input_signature=[tf.TensorSpec((batch, *shape), tf.float32)], autograph=False)
