"""The forms of per-example convolution that need TensorFlow; arguments as in `portable.py`."""

import functools

import tensorflow as tf
from keras import ops

from condconv_keras.layers.forms import portable
from condconv_keras.layers.forms.geometry import pad

# Examples that a turn of `mapped_groups` folds into the channels.
_GROUP = 8


@portable.with_an_example  # a loop of no turns has outputs of no size
def mapped_conv(x, routing_weights, bank, spec):
    """Single convolutions, one example after the other in a loop, with a loop of its own for the gradient.

    Each step slices what it needs: `tf.map_fn` over the tensors, and its own gradient, copy every kernel once more.
    """
    kernels = tf.reshape(portable.mix(routing_weights, bank, x.dtype), (-1, *spec.expert_shape))
    image_spec = tf.TensorSpec((1, *x.shape[1:]), x.dtype)
    kernel_spec = tf.TensorSpec(spec.expert_shape, x.dtype)
    output_spec = _output_spec(x, spec, 1)

    def for_each_example(function, signature):
        return tf.map_fn(function, tf.range(tf.shape(x)[0]), fn_output_signature=signature)

    @tf.custom_gradient
    def convolve(x, kernels):
        def gradient(upstream):
            def gradient_of_one(i):
                image, kernel = x[i][None], kernels[i]
                with tf.GradientTape() as tape:
                    tape.watch((image, kernel))
                    outputs = portable.convolve(image, kernel, spec)
                return tape.gradient(outputs, (image, kernel), upstream[i][None])

            images, kernel_gradients = for_each_example(gradient_of_one, (image_spec, kernel_spec))
            return tf.squeeze(images, 1), kernel_gradients

        outputs = for_each_example(lambda i: portable.convolve(x[i][None], kernels[i], spec), output_spec)
        return tf.squeeze(outputs, 1), gradient

    return convolve(x, kernels)


@portable.with_an_example
def mapped_groups(x, routing_weights, bank, spec):
    """Depthwise: `grouped_conv` of a few examples after the other in a loop, of a small batch one after the other.

    No operation has a shape with the size of the batch in it, but for that of its first axis. So LiteRT takes it for a
    batch of unknown size, and does not take `grouped_conv`, whose kernels then have an unknown number of channels. The
    gradient is that of `grouped_conv`.
    """
    return _differentiated_as(grouped_conv, _in_groups, spec)(x, routing_weights, bank)


def _in_groups(x, routing_weights, bank, spec):
    batch = tf.shape(x)[0]

    def of_groups():
        missing = -batch % _GROUP
        padded = (
            tf.pad(tensor, [(0, missing), *((0, 0) for _ in tensor.shape[1:])]) for tensor in (x, routing_weights)
        )
        return _in_turns(portable.grouped_conv, _GROUP, *padded, bank, spec)[:batch]

    def of_ones():
        return _in_turns(portable.single_conv, 1, x, routing_weights, bank, spec)

    return tf.cond(batch < _GROUP, of_ones, of_groups)


def _in_turns(form, size, x, routing_weights, bank, spec):
    """The outputs of a form that is given `size` examples of the batch at a time, which is a multiple of it."""
    images = tf.reshape(x, (-1, size, *ops.shape(x)[1:]))
    weights = tf.reshape(routing_weights, (-1, size, bank.shape[0]))
    turns, turn_spec = tf.shape(images)[0], _output_spec(x, spec, size)
    # Not `tf.map_fn`, whose list of the numbers of the turns LiteRT does not take within a condition.
    _, outputs = tf.while_loop(
        lambda turn, _: turn < turns,
        lambda turn, outputs: (turn + 1, outputs.write(turn, form(images[turn], weights[turn], bank, spec))),
        (0, tf.TensorArray(x.dtype, turns, element_shape=turn_spec.shape)),
    )
    outputs = outputs.stack()
    return tf.reshape(outputs, (-1, *ops.shape(outputs)[2:]))


def _differentiated_as(other, form, spec):
    """What computes as one form and has the gradients of another, an equal one; a function of the three tensors."""

    @tf.custom_gradient
    def convolve(x, routing_weights, bank):
        def gradient(upstream):
            with tf.GradientTape() as tape:
                tape.watch((x, routing_weights, bank))
                outputs = other(x, routing_weights, bank, spec)
            return tape.gradient(outputs, (x, routing_weights, bank), upstream)

        return form(x, routing_weights, bank, spec), gradient

    return convolve


def grouped_conv(x, routing_weights, bank, spec):
    """`forms.grouped_conv`, with a gradient on CPU too, and one that is fast for depthwise kernels.

    TensorFlow has no gradient of a grouped convolution on CPU; the one of `batched_matmul` is equal and serves there.
    """
    if device() == "gpu":
        return portable.grouped_conv(x, routing_weights, bank, spec, None if spec.depthwise else _conv2d)
    if spec.depthwise:
        fast = spec.multiplier == 1 and spec.geometry.dilation_rate == (1, 1)
        return portable.grouped_conv(x, routing_weights, bank, spec, _depthwise_conv2d if fast else None)
    fold = functools.partial(portable.grouped_conv, convolve_folded=_conv2d)
    return _differentiated_as(portable.batched_matmul, fold, spec)(x, routing_weights, bank)


def _conv2d(x, kernel, geometry):
    # Keras compiles grouped convolutions with XLA, which is slower than the kernel itself on CPU.
    return tf.nn.conv2d(x, kernel, geometry.strides, geometry.padding.upper(), dilations=geometry.dilation_rate)


def _depthwise_conv2d(x, kernel, geometry):
    """Depthwise convolution [1, height, width, C] with [kh, kw, C, 1] whose kernel gradient is fast on CPU.

    oneDNN's own kernel gradient falls back to a reference loop, up to a hundred times slower, for kernels above 3x3
    and for outputs smaller than the kernel.
    """
    options = {"strides": (1, *geometry.strides, 1), "padding": geometry.padding.upper()}
    rows, columns = _static_output_size(x, geometry)
    if max(geometry.kernel_size) <= 3 and (rows is None or min(rows, columns) >= 3):
        return tf.nn.depthwise_conv2d(x, kernel, **options)

    @tf.custom_gradient
    def convolve(x, kernel):
        def gradient(upstream):
            input_gradient = tf.nn.depthwise_conv2d_backprop_input(tf.shape(x), kernel, upstream, **options)
            return input_gradient, _depthwise_kernel_gradient(x, upstream, geometry)

        return tf.nn.depthwise_conv2d(x, kernel, **options), gradient

    return convolve(x, kernel)


def _output_spec(x, spec, count):
    """The `tf.TensorSpec` of the outputs of `count` examples."""
    return tf.TensorSpec((count, *_static_output_size(x, spec.geometry), spec.filters), x.dtype)


def _static_output_size(x, geometry):
    """Output height and width as integers, None where unknown while a function is traced."""
    return geometry.output_size(*x.shape[1:3]) if None not in x.shape[1:3] else (None, None)


def _depthwise_kernel_gradient(x, upstream, geometry):
    """Correlates the input with the upstream gradient: itself a depthwise convolution, one per phase of the stride.

    Kernel position (a * sh + i, b * sw + j) sees the rows i, i + sh, ... and columns j, j + sw, ... of the padded
    input, shifted by (a, b).
    """
    (kh, kw), (sh, sw) = geometry.kernel_size, geometry.strides
    x = pad(x, geometry)
    rows, columns = tf.shape(upstream)[1], tf.shape(upstream)[2]
    kernel = tf.transpose(upstream, (1, 2, 3, 0))
    phases = {}
    for i in range(min(sh, kh)):
        for j in range(min(sw, kw)):
            height, width = (kh - i - 1) // sh + 1, (kw - j - 1) // sw + 1
            phase = x[:, i::sh, j::sw][:, : rows + height - 1, : columns + width - 1]
            phases[i, j] = tf.nn.depthwise_conv2d(phase, kernel, (1, 1, 1, 1), "VALID")[0]
    if (sh, sw) == (1, 1):
        return phases[0, 0][..., None]
    positions = [[phases[i % sh, j % sw][i // sh, j // sw] for j in range(kw)] for i in range(kh)]
    return tf.stack([tf.stack(row) for row in positions])[..., None]


@functools.cache
def device():
    """`"gpu"` when TensorFlow sees one, else `"cpu"`."""
    return "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
