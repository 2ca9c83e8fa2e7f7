"""What the layer tests need of the running Keras backend: gradients, compiled calls, and the TensorFlow-only marker."""

import keras
import pytest

BACKEND = keras.backend.backend()
# Of `compile`. On TensorFlow's CPU XLA takes seconds to compile a step; JAX always has it.
JIT = BACKEND == "jax"
requires_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow")
if BACKEND == "jax":
    import jax

    # A GPU multiplies float32 in TF32 otherwise, ten bits.
    jax.config.update("jax_default_matmul_precision", "highest")
elif BACKEND == "torch":
    import torch

    torch.backends.cudnn.allow_tf32 = False
float64_policy = pytest.mark.skipif(BACKEND != "tensorflow", reason="Keras multiplies matrices in float32 elsewhere")


def outputs_and_gradients(layer, inputs, upstream, training=False):
    """Calls a built layer and differentiates `sum(outputs * upstream)`; compiled under JAX, eager elsewhere.

    Args:
        layer: built Keras layer or model.
        inputs: tuple of float arrays, the positional arguments.
        upstream: array of the shape of the output.
        training: the call's training flag.

    Returns:
        Outputs, the list of the gradients of the inputs, and that of the trainable variables; NumPy arrays, with None
        where no gradient arrives.
    """
    inputs = tuple(keras.ops.convert_to_tensor(x) for x in inputs)
    return _as_numpy(
        {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[BACKEND](layer, inputs, upstream, training)
    )


def compiled_outputs_and_gradients(layer, inputs, upstream, unknown=(), jit_compile=False, training=False):
    """As `outputs_and_gradients`, inside one `tf.function`.

    Args:
        unknown: axes of the inputs whose size the traced function does not know.
        jit_compile: whether XLA compiles the function.
        training: the call's training flag.
    """
    import tensorflow as tf

    # The width of the routing weights is the number of experts: always known.
    signature = [
        tf.TensorSpec(
            [None if axis in unknown and (axis == 0 or x.ndim == 4) else size for axis, size in enumerate(x.shape)],
            x.dtype,
        )
        for x in inputs
    ]

    @tf.function(input_signature=signature, jit_compile=jit_compile)
    def call(*args):
        return _tensorflow(layer, args, upstream, training)

    return _as_numpy(call(*(tf.constant(x) for x in inputs)))


def _tensorflow(layer, inputs, upstream, training=False):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(*inputs, training=training)
        loss = tf.reduce_sum(outputs * tf.cast(upstream, outputs.dtype))
    variables = [variable.value for variable in layer.trainable_variables]
    input_gradients, variable_gradients = tape.gradient(loss, (list(inputs), variables))
    return outputs, input_gradients, variable_gradients


def _jax(layer, inputs, upstream, training=False):
    def loss(variables, inputs):
        fixed = [variable.value for variable in layer.non_trainable_variables]
        outputs, _ = layer.stateless_call(variables, fixed, *inputs, training=training)
        return (outputs * upstream).sum(), outputs

    variables = [variable.value for variable in layer.trainable_variables]
    differentiate = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    (_, outputs), (variable_gradients, input_gradients) = differentiate(variables, inputs)
    return outputs, list(input_gradients), variable_gradients


def _torch(layer, inputs, upstream, training=False):
    inputs = [x.clone().detach().requires_grad_() for x in inputs]
    outputs = layer(*inputs, training=training)
    loss = (outputs * torch.as_tensor(upstream, dtype=outputs.dtype, device=outputs.device)).sum()
    variables = [variable.value for variable in layer.trainable_variables]
    gradients = torch.autograd.grad(loss, [*inputs, *variables], allow_unused=True)
    return outputs, list(gradients[: len(inputs)]), list(gradients[len(inputs) :])


def _as_numpy(result):
    outputs, *gradients = result
    to_numpy = keras.ops.convert_to_numpy
    return to_numpy(outputs), *([None if g is None else to_numpy(g) for g in group] for group in gradients)
