"""A layer at work as one of many in a network: several applications in one call, one after the other.

TensorFlow takes some 0.1 ms to start a call of its own, which a network pays once.
"""

import functools
import inspect

APPLICATIONS = 8  # in a call


def make_inputs(shapes, count=APPLICATIONS):
    """Returns the inputs of each application, a list of tuples of float32 noise, uniform in 0..1.

    Args:
        shapes: shapes of the layer's inputs.
        count: number of applications.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    return [tuple(rng.uniform(size=shape).astype(np.float32) for shape in shapes) for _ in range(count)]


def tensorflow_call(layer, inputs, training):
    """Returns a function without arguments that applies a built Keras layer to every one of `inputs` in turn.

    It returns a list for each application: the outputs, or in training the gradients of their sum with respect to the
    inputs and to the layer's variables.

    Args:
        layer: built Keras layer.
        inputs: list of tuples of tensors or arrays, as `make_inputs` returns them.
        training: whether gradients are computed.
    """
    if training:
        # Keras's own convolutions do not ask for it.
        options = {"training": True} if "training" in inspect.signature(layer.call).parameters else {}
        apply = functools.partial(_gradients, layer, options)
    else:
        apply = lambda inputs: [layer(*inputs)]  # noqa: E731
    return applied_in_turn(apply, inputs)


def applied_in_turn(apply, inputs):
    """Returns a function without arguments that applies a function to every one of `inputs` in turn, traced once.

    Args:
        apply: function of one of `inputs`, of tensors; returns a list of tensors.
        inputs: list of tuples of tensors or arrays.
    """
    import tensorflow as tf

    @tf.function
    def call(inputs):
        results = [[]]
        for each in inputs:
            # TensorFlow would work at all of them at once.
            with tf.control_dependencies(results[-1]):
                results.append(apply(each))
        # All of them: it leaves out what nobody asks for.
        return results[1:]

    inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
    return lambda: call(inputs)


def _gradients(layer, options, inputs):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(*inputs, **options)
    return tape.gradient(outputs, [*inputs, *layer.trainable_variables])
