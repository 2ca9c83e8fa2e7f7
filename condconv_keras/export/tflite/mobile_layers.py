"""CondConv layers as LiteRT computes them: expert banks that quantize well, and kernels mixed at run time.

A layer here stands for a folded CondConv layer, with the batch normalization and the activation that followed it
(`condconv_keras.layers.batch_norm_folding`). What each choice is worth was measured in LiteRT with XNNPACK
(`docs/results/tflite.md`).
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from condconv_keras.export.tflite.rounding import round_keeping_means
from condconv_keras.export.tflite.weights import EIGHT_BITS, steps
from condconv_keras.layers.forms import mixtures, portable
from condconv_keras.layers.forms.portable import ConvSpec

# Largest number of row groups that a bank is mixed in, see `_mix`.
ROW_GROUPS = {"none": 4, "float16": 4, "dynamic": 8, "int8": 8}
# Experts times output pixels up to which n times the multiply-adds take less time than mixing a kernel: with float
# banks as long as reading the bank dominates, with int8 ones longer, as integer products with static kernels are
# several times faster than float products with mixed ones.
_MIXTURE_PIXELS = {"none": 32, "float16": 32, "dynamic": 400, "int8": 400}
# Filters up to which LiteRT's own convolution, which takes a run-time kernel, is faster than patches and XNNPACK's
# product.
_FEW_FILTERS = 8
# Patches that a depthwise convolution gathers have at most so many numbers a pixel: with more than about 4,800 LiteRT's
# own kernel, which computes where XNNPACK does not, never returns.
_MOST_GATHERED = 4608


@dataclasses.dataclass(frozen=True)
class Bank:
    """The experts of one layer.

    Attributes:
        kernels: float32 [n, K, filters]; K = kh * kw * channels, or kh * kw for a depthwise layer. Row-major as
            `condconv_kernel`. None in a layer that has them in a variable.
        biases: float32 [n, filters], or None.
        shift: float32 [filters], added after everything else, or None.
        spec: `ConvSpec`.
    """

    kernels: np.ndarray | None
    biases: np.ndarray | None
    shift: np.ndarray | None
    spec: ConvSpec

    @classmethod
    def of(cls, layer):
        """The bank of a built CondConv layer."""
        kernels = np.asarray(layer.bank).reshape(layer.num_experts, -1, layer.spec.filters)
        return cls(
            kernels, *(None if v is None else np.asarray(v) for v in (layer.bias, layer.shared_bias)), layer.spec
        )


def uses_static_kernels(spec, num_experts, pixels, quantization, static_kernels):
    """Whether a layer applies every expert, with static kernels, instead of mixing a kernel first.

    Args:
        spec: `ConvSpec`.
        num_experts: number of experts.
        pixels: output height times width.
        quantization: name of the mode.
        static_kernels: whether the user asked for static kernels everywhere.
    """
    return static_kernels or (not spec.depthwise and num_experts * pixels <= _MIXTURE_PIXELS[quantization])


class MobileCondConv(keras.layers.Layer):
    """A CondConv layer for batches of one known size, whose bank lies as LiteRT reads it.

    The bank is a variable though it never changes: TensorFlow keeps variables in files of their own, and constants in
    the graph, which tracing, saving, loading and converting it copy some twenty times.

    Args:
        bank: `Bank`.
        activation: function of the output.
        router: `Routing` of a layer that is called without routing weights, or None.
        quantization: name of the mode.
        static_kernels: whether to apply every expert instead of mixing kernels.
        means: mean inputs [channels], by which a bank of 8 bits is rounded, or None.
    """

    def __init__(self, bank, activation, router, quantization, static_kernels, means=None, **kwargs):
        super().__init__(**kwargs)
        self._bank = bank
        self._activation = activation
        self.router = router
        self._quantization = quantization
        self.static_kernels = static_kernels
        self._means = means

    def build(self, inputs_shape, routing_weights_shape=None):
        self._num_experts = len(self._bank.kernels)
        self._apply, kernels = self._form(inputs_shape)
        self._kernels = keras.Variable(kernels, trainable=False, dtype="float32", autocast=False, name="kernels")
        self._bank = dataclasses.replace(self._bank, kernels=None)

    def _form(self, inputs_shape):
        """The method that computes inputs of this shape, and the bank as it lies for it."""
        spec, kernels = self._bank.spec, self._bank.kernels
        rows, columns = spec.geometry.output_size(*inputs_shape[1:3])
        if uses_static_kernels(spec, self._num_experts, rows * columns, self._quantization, self.static_kernels):
            if spec.depthwise:
                return self._depthwise_mixture, kernels.reshape(self._num_experts, -1)
            return self._mixture, _side_by_side(self._rounded(kernels, np.abs(kernels).max(axis=(0, 1))), spec)
        form = self._run_time_form(inputs_shape[0])
        if form == self._run_time_gathered_product:
            kernels = _channel_by_channel(kernels, spec)
        if self._quantization in EIGHT_BITS:
            groups = self._in_groups(kernels)
            largest = np.broadcast_to(np.abs(groups).max(axis=0), groups.shape).reshape(kernels.shape)
            return form, self._in_groups(self._rounded(kernels, largest, form))
        if form in (self._run_time_product, self._run_time_gathered_product):
            kernels = kernels.transpose(0, 2, 1)
        return form, self._in_groups(kernels)

    def _run_time_form(self, batch):
        """The method that computes a batch of this size with kernels that are mixed at run time."""
        spec = self._bank.spec
        if spec.depthwise:
            return self._run_time_depthwise
        if spec.filters <= _FEW_FILTERS and batch == 1:
            return self._run_time_convolution
        # In 8 bits the convolution would round the pixels once more.
        if self._quantization != "int8" and _gathers_by_convolution(spec):
            return self._run_time_gathered_product
        return self._run_time_product

    def _rounded(self, kernels, largest, form=None):
        """The bank as its 8 bits will be; as it is in the other modes.

        Args:
            kernels: [n, K, filters], as they lie for the form.
            largest: the largest weight that shares a scale, of a shape that fits.
            form: method that applies the mixed kernels, or None.
        """
        if self._quantization not in EIGHT_BITS:
            return kernels
        spec, means = self._bank.spec, None
        # A depthwise kernel's weights are of one channel: they are multiplied by the same mean.
        if self._means is not None and not spec.depthwise:
            spread = np.repeat if form == self._run_time_gathered_product else np.tile
            means = spread(self._means, spec.geometry.taps)
        return round_keeping_means(kernels, steps(largest), means)

    def call(self, inputs, routing_weights=None):
        bank, spec = self._bank, self._bank.spec
        if routing_weights is None:
            routing_weights = self.router(inputs)
        batch = inputs.shape[0]
        rows, columns = spec.geometry.output_size(*inputs.shape[1:3])
        outputs = self._apply(inputs, routing_weights)
        if bank.biases is not None:
            outputs = _plus_of_each_image(outputs, tf.matmul(routing_weights, bank.biases))
        # Before the reshape, where the converter fuses both into the product.
        if bank.shift is not None:
            outputs = outputs + bank.shift
        return tf.reshape(self._activation(outputs), (batch, rows, columns, spec.filters))

    def _mixture(self, inputs, routing_weights):
        """Every expert at once, as one static convolution of the inputs scaled by every routing weight."""
        spec, n, batch = self._bank.spec, self._num_experts, inputs.shape[0]
        scaled = tf.reshape(routing_weights, (batch, 1, n, 1)) * tf.reshape(inputs, (batch, -1, 1, spec.channels))
        if _is_product(spec):
            return tf.matmul(tf.reshape(scaled, (-1, n * spec.channels)), self._kernels)
        wide = dataclasses.replace(spec, channels=n * spec.channels)
        images = tf.reshape(scaled, (batch, *inputs.shape[1:3], wide.channels))
        return portable.convolve(images, self._kernels, wide)

    def _depthwise_mixture(self, inputs, routing_weights):
        """Every expert as a static depthwise convolution of its own, their outputs mixed.

        Not one convolution of n outputs per channel: LiteRT's own kernel for that, which calibrates int8, never returns
        where n times the channels exceed about 4,800.
        """
        return mixtures.mixture(inputs, routing_weights, tf.convert_to_tensor(self._kernels), self._bank.spec)

    def _run_time_depthwise(self, inputs, routing_weights):
        """A depthwise convolution with the mixed kernels, one of all images: LiteRT's has one kernel for its batch."""
        spec, batch = self._bank.spec, inputs.shape[0]
        kernels = self._mix(routing_weights)
        if batch == 1:
            return portable.convolve(inputs, tf.reshape(kernels, spec.expert_shape), spec)
        kernels = tf.transpose(tf.reshape(kernels, (batch, -1, spec.filters)), (1, 0, 2))
        # The images side by side in the channels, each with its kernel.
        wide = dataclasses.replace(spec, channels=batch * spec.channels, filters=batch * spec.filters)
        images = tf.reshape(tf.transpose(inputs, (1, 2, 0, 3)), (1, *inputs.shape[1:3], wide.channels))
        outputs = portable.convolve(images, tf.reshape(kernels, wide.expert_shape), wide)
        return tf.transpose(tf.reshape(outputs, (*outputs.shape[1:3], batch, spec.filters)), (2, 0, 1, 3))

    def _run_time_convolution(self, inputs, routing_weights):
        """The convolution of one image with its kernel, which LiteRT computes without XNNPACK."""
        kernel = tf.reshape(self._mix(routing_weights), self._bank.spec.expert_shape)
        return tf.reshape(portable.convolve(inputs, kernel, self._bank.spec), (-1, self._bank.spec.filters))

    def _run_time_product(self, inputs, routing_weights):
        """A product of each image's patches and kernel: XNNPACK takes no convolution with a run-time kernel."""
        return self._product(portable.gather_patches(inputs, self._bank.spec)[0], routing_weights)

    def _run_time_gathered_product(self, inputs, routing_weights):
        """As `_run_time_product`, with the patches gathered by a depthwise convolution."""
        return self._product(_gather_by_convolution(inputs, self._bank.spec), routing_weights)

    def _product(self, patches, routing_weights):
        kernels, inputs, outputs = self._mix(routing_weights), patches.shape[-1], self._bank.spec.filters
        if self._quantization in EIGHT_BITS:
            # Rows of one output channel share a scale.
            product = tf.matmul(patches, tf.reshape(kernels, (-1, inputs, outputs)))
        else:
            # XNNPACK packs a transposed kernel faster.
            product = tf.matmul(patches, tf.reshape(kernels, (-1, outputs, inputs)), transpose_b=True)
        return tf.reshape(product, (-1, outputs))

    def _in_groups(self, kernels):
        """Lays kernels [n, ...] out for `_mix`: [n * g, P / g], each of the n cut into g groups."""
        spec, n, size = self._bank.spec, len(kernels), kernels[0].size
        if spec.depthwise and self._quantization in EIGHT_BITS:
            groups = spec.geometry.taps  # as weights that share a scale are those of one channel then
        else:
            groups = ROW_GROUPS[self._quantization]
            while size % groups:
                groups //= 2
        return kernels.reshape(n * groups, size // groups)

    def _mix(self, routing_weights):
        """Mixes the kernels, which lie as of `_in_groups`, into one for each image, flat.

        As one product of [batch, n] and [n, P], a dense layer of P outputs, every output would carry a scale and a zero
        point, more than its n weights of 8 bits. With the kernel cut into g groups, the product of the block matrix
        of routing weights [batch * g, n * g], g copies of them, and the bank [n * g, P / g] has P / g outputs. Of one
        image its zeros cost nothing: the product takes as long as reading the bank.
        """
        n, groups = self._num_experts, self._kernels.shape[0] // self._num_experts
        blocks = tf.reshape(routing_weights, (-1, 1, n, 1)) * np.eye(groups, dtype=np.float32)[:, None, :]
        return tf.matmul(tf.reshape(blocks, (-1, n * groups)), self._kernels)


def _gathers_by_convolution(spec):
    """Whether a depthwise convolution gathers patches faster than slices, which XNNPACK takes without strides alone."""
    geometry = spec.geometry
    rows, columns = geometry.strides
    strided = rows == columns > 1 and geometry.taps > 1 and geometry.dilation_rate == (1, 1)
    return strided and geometry.taps * spec.channels <= _MOST_GATHERED


def _gather_by_convolution(inputs, spec):
    """Patches [batch, pixels, channels * taps], where `gather_patches` has them tap by tap."""
    taps = spec.geometry.taps
    one_hot = np.eye(taps, dtype=np.float32).reshape(*spec.geometry.kernel_size, 1, taps)
    window = dataclasses.replace(spec, depthwise=True, filters=taps * spec.channels)
    patches = portable.convolve(inputs, tf.constant(np.tile(one_hot, (1, 1, spec.channels, 1))), window)
    return tf.reshape(patches, (inputs.shape[0], -1, window.filters))


def _channel_by_channel(kernels, spec):
    """Kernels [n, taps * channels, filters] as [n, channels * taps, filters]."""
    taps = kernels.reshape(len(kernels), spec.geometry.taps, spec.channels, -1)
    return taps.transpose(0, 2, 1, 3).reshape(kernels.shape)


def _is_product(spec):
    """Whether a convolution is a matrix product of its pixels."""
    return spec.geometry.taps == 1 and spec.geometry.strides == (1, 1)


def _side_by_side(kernels, spec):
    """Lays kernels [n, K, filters] out as the one of a convolution, or product, of n times the channels."""
    n, taps = len(kernels), spec.geometry.taps
    kernels = kernels.reshape(n, taps, spec.channels, spec.filters).transpose(1, 0, 2, 3)
    if _is_product(spec):
        return kernels.reshape(-1, spec.filters)
    return kernels.reshape(dataclasses.replace(spec, channels=n * spec.channels).expert_shape)


def _plus_of_each_image(outputs, values):
    """Outputs of all pixels, image by image, and the values [batch, filters] of their image."""
    batch, filters = values.shape
    if batch == 1:
        return outputs + values
    return tf.reshape(outputs, (batch, -1, filters)) + values[:, tf.newaxis]
