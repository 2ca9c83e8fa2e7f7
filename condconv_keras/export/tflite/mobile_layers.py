"""CondConv layers as LiteRT computes them: expert banks that quantize well, and kernels mixed at run time.

A layer here stands for a CondConv layer together with the batch normalization and the activation that follow it: the
mixed convolution is linear in its bank, so that the normalization's scale goes into the experts and its shift into a
constant. What each choice is worth was measured in LiteRT with XNNPACK (`docs/results/tflite.md`).
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from condconv_keras.layers.forms import mixtures, portable
from condconv_keras.layers.forms.portable import ConvSpec

# Largest number of row groups that a bank is mixed in, see `_mix`.
_ROW_GROUPS = {"none": 4, "float16": 4, "dynamic": 8, "int8": 8}
# Experts times output pixels up to which n times the multiply-adds take less time than mixing a kernel: with float
# banks as long as reading the bank dominates, with int8 ones longer, as integer products with static kernels are
# several times faster than float products with mixed ones.
_MIXTURE_PIXELS = {"none": 32, "float16": 32, "dynamic": 400, "int8": 400}
# Ratio of the largest channel of a bank to its median channel above which an int8 kernel needs a scale per channel.
_UNEVEN = 3


@dataclasses.dataclass(frozen=True)
class Bank:
    """The experts of one layer with batch normalization folded in.

    Attributes:
        kernels: float32 [n, K, filters]; K = kh * kw * channels, or kh * kw for a depthwise layer. Row-major as
            `condconv_kernel`.
        biases: float32 [n, filters], or None.
        shift: float32 [filters], added after everything else, or None.
        spec: `ConvSpec`.
        scale: float32 [filters], what the convolution's outputs are multiplied by, or None for 1.
    """

    kernels: np.ndarray
    biases: np.ndarray | None
    shift: np.ndarray | None
    spec: ConvSpec
    scale: np.ndarray | None = None

    @classmethod
    def of(cls, layer, normalization=None):
        """The bank of a built CondConv layer, with the batch normalization that follows it folded in."""
        spec = layer.spec
        kernels = np.asarray(layer.bank, np.float64).reshape(layer.num_experts, -1, spec.filters)
        biases = None if layer.bias is None else np.asarray(layer.bias, np.float64)
        shift = None
        if normalization is not None:
            scale, shift = _scale_and_shift(normalization)
            kernels = kernels * scale
            biases = None if biases is None else biases * scale
        return cls(*(None if x is None else x.astype(np.float32) for x in (kernels, biases, shift)), spec)

    def with_even_channels(self):
        """The bank with the scales of its output channels apart from the kernels, where they differ much.

        A kernel that is mixed at run time has one int8 scale, not one for each channel as constants have. Batch
        normalization folded into a depthwise kernel makes some channels a hundred times larger than others, and the
        others would be rounded away. Where channels are alike, the product that follows would cost more than it saves.
        """
        largest = np.abs(self.kernels).max(axis=(0, 1))
        largest[largest == 0] = 1
        if largest.max() <= _UNEVEN * np.median(largest):
            return self
        return dataclasses.replace(self, kernels=self.kernels / largest, scale=largest)

    def largest_weight(self, routing_weights):
        """Largest absolute weight of the kernels mixed by routing weights [examples, n]."""
        return float(np.abs(routing_weights @ self.kernels.reshape(len(self.kernels), -1)).max())


def _scale_and_shift(normalization):
    """What batch normalization does in inference, float64 `x * scale + shift`."""
    scale = 1 / np.sqrt(np.asarray(normalization.moving_variance, np.float64) + normalization.epsilon)
    if normalization.scale:
        scale = scale * np.asarray(normalization.gamma, np.float64)
    shift = -np.asarray(normalization.moving_mean, np.float64) * scale
    return scale, shift if not normalization.center else shift + np.asarray(normalization.beta, np.float64)


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
    """A CondConv layer for batches of one known size, with constants in place of variables.

    Args:
        bank: `Bank`.
        activation: function of the output.
        router: `Routing` of a layer that is called without routing weights, or None.
        quantization: name of the mode.
        static_kernels: whether to apply every expert instead of mixing kernels.
        largest_weight: bound of the mixed kernel's absolute weights for int8: LiteRT convolves int8 with a kernel that
            is computed at run time only if its zero point is 0, which a symmetric fake quantization makes it.
    """

    def __init__(self, bank, activation, router, quantization, static_kernels, largest_weight=None, **kwargs):
        super().__init__(**kwargs)
        self._bank = bank
        self._activation = activation
        self._router = router
        self._quantization = quantization
        self._static_kernels = static_kernels
        self._largest_weight = largest_weight

    def call(self, inputs, routing_weights=None):
        bank, spec = self._bank, self._bank.spec
        if routing_weights is None:
            routing_weights = self._router(inputs)
        batch = inputs.shape[0]
        rows, columns = spec.geometry.output_size(*inputs.shape[1:3])
        if uses_static_kernels(spec, len(bank.kernels), rows * columns, self._quantization, self._static_kernels):
            apply = self._depthwise_mixture if spec.depthwise else self._mixture
        elif spec.depthwise:
            apply = self._run_time_depthwise
        elif self._quantization == "int8" and batch == 1:
            apply = self._run_time_convolution
        else:
            apply = self._run_time_product
        outputs = apply(inputs, routing_weights)
        if bank.scale is not None:
            outputs = outputs * bank.scale
        if bank.biases is not None:
            outputs = _plus_of_each_image(outputs, tf.matmul(routing_weights, bank.biases))
        # Before the reshape, where the converter fuses both into the product.
        if bank.shift is not None:
            outputs = outputs + bank.shift
        return tf.reshape(self._activation(outputs), (batch, rows, columns, spec.filters))

    def _mixture(self, inputs, routing_weights):
        """Every expert at once, as one static convolution of the inputs scaled by every routing weight."""
        bank, spec = self._bank, self._bank.spec
        n, taps = len(bank.kernels), spec.geometry.taps
        batch = inputs.shape[0]
        scaled = tf.reshape(routing_weights, (batch, 1, n, 1)) * tf.reshape(inputs, (batch, -1, 1, spec.channels))
        kernels = bank.kernels.reshape(n, taps, spec.channels, spec.filters).transpose(1, 0, 2, 3)
        if taps == 1 and spec.geometry.strides == (1, 1):
            return tf.matmul(
                tf.reshape(scaled, (-1, n * spec.channels)), tf.constant(kernels.reshape(-1, spec.filters))
            )
        wide = dataclasses.replace(spec, channels=n * spec.channels)
        images = tf.reshape(scaled, (batch, *inputs.shape[1:3], wide.channels))
        return portable.convolve(images, tf.constant(kernels.reshape(wide.expert_shape)), wide)

    def _depthwise_mixture(self, inputs, routing_weights):
        """Every expert as a static depthwise convolution of its own, their outputs mixed.

        Not one convolution of n outputs per channel: LiteRT's own kernel for that, which calibrates int8, never returns
        where n times the channels exceed about 4,800.
        """
        kernels = self._bank.kernels
        return mixtures.mixture(
            inputs, routing_weights, tf.constant(kernels.reshape(len(kernels), -1)), self._bank.spec
        )

    def _run_time_convolution(self, inputs, routing_weights):
        """A convolution of one image with its mixed kernel."""
        kernel = self._bounded(self._mix(routing_weights, self._bank.kernels))
        return portable.convolve(inputs, tf.reshape(kernel, self._bank.spec.expert_shape), self._bank.spec)

    def _run_time_depthwise(self, inputs, routing_weights):
        """A depthwise convolution with the mixed kernels, one of all images: LiteRT's has one kernel for its batch."""
        spec, batch = self._bank.spec, inputs.shape[0]
        if batch == 1:
            return self._run_time_convolution(inputs, routing_weights)
        kernels = self._bounded(self._mix(routing_weights, self._bank.kernels))
        kernels = tf.transpose(tf.reshape(kernels, (batch, -1, spec.filters)), (1, 0, 2))
        # The images side by side in the channels, each with its kernel.
        wide = dataclasses.replace(spec, channels=batch * spec.channels, filters=batch * spec.filters)
        images = tf.reshape(tf.transpose(inputs, (1, 2, 0, 3)), (1, *inputs.shape[1:3], wide.channels))
        outputs = portable.convolve(images, tf.reshape(kernels, wide.expert_shape), wide)
        return tf.transpose(tf.reshape(outputs, (*outputs.shape[1:3], batch, spec.filters)), (2, 0, 1, 3))

    def _bounded(self, kernel):
        """The mixed kernels in their symmetric int8 range; as they are in the other modes."""
        bound = self._largest_weight
        if bound is None:
            return kernel
        return tf.quantization.fake_quant_with_min_max_args(kernel, -bound, bound, narrow_range=True)

    def _run_time_product(self, inputs, routing_weights):
        """A product of each image's patches and kernel: XNNPACK takes no convolution with a run-time kernel."""
        kernels = self._bank.kernels
        depth, filters = kernels.shape[1:]
        patches, _ = portable.gather_patches(inputs, self._bank.spec)
        if self._quantization in ("dynamic", "int8"):
            # Rows of one output channel share a scale.
            kernel = self._bounded(tf.reshape(self._mix(routing_weights, kernels), (-1, depth, filters)))
            return tf.reshape(tf.matmul(patches, kernel), (-1, filters))
        # XNNPACK packs a transposed kernel faster.
        kernel = tf.reshape(self._mix(routing_weights, kernels.transpose(0, 2, 1)), (-1, filters, depth))
        return tf.reshape(tf.matmul(patches, kernel, transpose_b=True), (-1, filters))

    def _mix(self, routing_weights, kernels):
        """Mixes kernels [n, ...] into one for each image, flat.

        As one product of [batch, n] and [n, P], a dense layer of P outputs, every output would carry a scale and a zero
        point, more than its n weights of 8 bits. With the kernel cut into g groups, the product of the block matrix
        of routing weights [batch * g, n * g], g copies of them, and the bank [n * g, P / g] has P / g outputs. Of one
        image its zeros cost nothing: the product takes as long as reading the bank.
        """
        n, size = len(kernels), kernels[0].size
        groups = _ROW_GROUPS[self._quantization]
        while size % groups:
            groups //= 2
        blocks = tf.reshape(routing_weights, (-1, 1, n, 1)) * np.eye(groups, dtype=np.float32)[:, None, :]
        bank = tf.constant(kernels.reshape(n * groups, size // groups))
        return tf.matmul(tf.reshape(blocks, (-1, n * groups)), bank)


def _plus_of_each_image(outputs, values):
    """Outputs of all pixels, image by image, and the values [batch, filters] of their image."""
    batch, filters = values.shape
    if batch == 1:
        return outputs + values
    return tf.reshape(outputs, (batch, -1, filters)) + values[:, tf.newaxis]
