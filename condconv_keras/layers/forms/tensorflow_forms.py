"""The forms of per-example convolution that need TensorFlow; arguments as in `portable.py`."""

import functools

import keras
import tensorflow as tf

from condconv_keras.layers.forms import mixtures, portable
from condconv_keras.layers.forms.finish import NOTHING
from condconv_keras.layers.forms.geometry import pad
from condconv_keras.layers.forms.tensorflow_patches import gather_patches


@portable.with_an_example  # a loop of no turns has outputs of no size
def mapped_conv(x, routing_weights, bank, spec, finish=NOTHING):
    """Single convolutions, one example after the other in a loop, with a loop of its own for the gradient.

    Each step slices what it needs: `tf.map_fn` over the tensors, and its own gradient, copy every kernel once more.
    `finish` is the `Finish` of every example's outputs; with one the gradient is TensorFlow's own.
    """
    kernels = tf.reshape(portable.mix(routing_weights, bank, x.dtype), (-1, *spec.expert_shape))
    image_spec = tf.TensorSpec((1, *x.shape[1:]), x.dtype)
    kernel_spec = tf.TensorSpec(spec.expert_shape, x.dtype)
    output_spec = _output_spec(x, spec, 1)

    def for_each_example(function, signature):
        return tf.map_fn(function, tf.range(tf.shape(x)[0]), fn_output_signature=signature)

    def convolve_all(x, kernels):
        def convolve_one(i):
            return finish(portable.convolve(x[i][None], kernels[i], spec))

        return tf.squeeze(for_each_example(convolve_one, output_spec), 1)

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

        return convolve_all(x, kernels), gradient

    return (convolve if finish is NOTHING else convolve_all)(x, kernels)


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


def batched_matmul(x, routing_weights, bank, spec):
    """`portable.batched_matmul`, its patches gathered faster."""
    return portable.batched_matmul(x, routing_weights, bank, spec, gather_patches)


def mixture_matmul(x, routing_weights, bank, spec):
    """`mixtures.mixture_matmul`, its patches gathered faster."""
    return mixtures.mixture_matmul(x, routing_weights, bank, spec, gather_patches)


def grouped_conv(x, routing_weights, bank, spec, finish=NOTHING):
    """`portable.grouped_conv`, with a gradient on CPU too, and one that is fast for depthwise kernels.

    Of a grouped convolution on CPU only oneDNN computes the gradient; elsewhere that of `mapped_conv`, which is equal,
    serves.
    """
    if spec.depthwise:
        # Its own gradient would stand between the convolution and the finish.
        own = device() != "gpu" and finish is NOTHING and spec.multiplier == 1 and spec.geometry.dilation_rate == (1, 1)
        return portable.grouped_conv(x, routing_weights, bank, spec, finish, _depthwise_conv2d if own else None)
    if device() == "gpu":
        return portable.grouped_conv(x, routing_weights, bank, spec, finish, _conv2d)
    fold = functools.partial(portable.grouped_conv, convolve_folded=_conv2d, mix_folded=_mix_folded)
    if has_gradient_of_groups(x.dtype):
        return fold(x, routing_weights, bank, spec, finish)
    return finish(_differentiated_as(mapped_conv, fold, spec)(x, routing_weights, bank))


def _mix_folded(routing_weights, bank, spec, dtype):
    """Mixes kernels [kh, kw, C / groups, batch * filters] at once: no transposition of what is large."""
    rows = tf.transpose(tf.reshape(bank, (bank.shape[0], -1, spec.filters)), (1, 0, 2))
    kernels = tf.cast(tf.matmul(routing_weights[None], rows), dtype)
    return tf.reshape(kernels, (*spec.expert_shape[:-1], keras.ops.shape(routing_weights)[0] * spec.filters))


@functools.cache
def has_gradient_of_groups(dtype):
    """Whether TensorFlow computes the gradient of a grouped convolution of `dtype` on this CPU: with oneDNN it does."""
    options = {"strides": [1, 1, 1, 1], "padding": "SAME"}
    # The operations themselves: no tape records within an `init_scope`.
    with tf.init_scope(), tf.device("CPU"):
        x, kernel, upstream = (tf.zeros(shape, dtype) for shape in ((1, 3, 3, 4), (3, 3, 2, 2), (1, 3, 3, 2)))
        try:
            tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=kernel, out_backprop=upstream, **options)
            tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, out_backprop=upstream, **options)
        except tf.errors.OpError:
            return False
    return True


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
