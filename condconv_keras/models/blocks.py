"""The layers that the families share, plain or conditional, and the walk over their block tables.

A block is written once: it passes a routing, or None, to the layers that it asks a `LayerFactory` for, and each
becomes the CondConv layer or the plain one of the same name. A twin has its plain network's layers and the routers.
"""

import dataclasses

from condconv_keras.models.placement import PARTS, CondConvPlacement
from condconv_keras.utils.lazy import LazyModule, keras

layers = LazyModule("condconv_keras.layers")

# Of the numbers of channels that `round_channels` returns.
_DIVISOR = 8
# In the place of a routing tensor: a CondConv layer is to have a router of its own.
_PER_LAYER = object()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerFactory:
    """Makes the layers of one network.

    Attributes:
        activation: name of the activation that follows the batch normalizations, as in `"relu6"`.
        bn_momentum, bn_epsilon: of every batch normalization.
        placement: the CondConv layers, or None for a plain network.
        first_block: number of the first CondConv block, or None for a plain network.
        padding: `"same"` or `"symmetric"`, see `NetworkOptions`.
    """

    activation: str
    bn_momentum: float
    bn_epsilon: float
    placement: CondConvPlacement | None = None
    first_block: int | None = None
    padding: str = "same"
    _routers: dict = dataclasses.field(default_factory=dict, repr=False)  # the network's one router, once it exists

    @classmethod
    def of(cls, options, *, activation, stage_sizes, parts=()):
        """The factory of a network.

        Args:
            options: `NetworkOptions`.
            activation: name of the activation.
            stage_sizes: number of blocks of each stage of the network.
            parts: the `PARTS` of a placement that the network has layers for.

        Raises:
            ValueError: the placement names a block, stage or layer that the network does not have.
        """
        placement = options.placement
        for name in PARTS if placement is not None else ():
            if getattr(placement, name) and name not in parts:
                raise ValueError(f"`{name}` must be False: {options.name} has no such layer. Received: {name}=True")
        return cls(
            activation=activation,
            bn_momentum=options.bn_momentum,
            bn_epsilon=options.bn_epsilon,
            placement=placement,
            first_block=placement and placement.first_block(stage_sizes),
            padding=options.padding,
        )

    def block_routing(self, x, block):
        """What routes a block (paper, section 3: its input), or None for a plain block.

        What this and the methods below return is passed on to the layers of the block as their `routing`.

        Args:
            x: the block's input.
            block: number of the block, from 1. The router is named `block_<number>_routing`, that of a layer
                `<layer>_routing`, that of the network `network_routing`.
        """
        if self.first_block is None or block < self.first_block:
            return None
        return self._routing(x, f"block_{block}_routing")

    def head_routing(self, x):
        """The routing weights of the head convolution from its input, or None for a plain one."""
        return self._routing(x, "head_routing") if self.placement and self.placement.condconv_head else None

    def classifier_routing(self, features):
        """The routing weights of the classifier from the pooled features, or None for a plain classifier."""
        if not self.placement or not self.placement.condconv_classifier:
            return None
        if self.placement.routing_per == "layer":
            return self._router(features, "classifier_routing")  # not from the layer's input, which dropout changes
        return self._routing(features, "classifier_routing")

    def extra_routing(self, x, stage):
        """The routing weights of an extra stage of a detector from the stage's input, or None in a plain network.

        Args:
            x: the stage's input.
            stage: number of the stage, from 1. The router is named `extra_<number>_routing`.
        """
        return self._routing(x, f"extra_{stage}_routing") if self.placement else None

    def predictors_routing(self, x, number):
        """The routing weights of a feature map's predictors from the map, or None for plain ones.

        Args:
            x: feature map.
            number: of the map, from 1. The router is named `heads_<number>_routing`.
        """
        if not self.placement or not self.placement.condconv_predictors:
            return None
        return self._routing(x, f"heads_{number}_routing")

    def _routing(self, x, name):
        if self.placement.routing_per == "layer":
            return _PER_LAYER
        if self.placement.routing_per == "block":
            return self._router(x, name)
        if not self._routers:
            self._routers["network"] = self._router(x, "network_routing")
        return self._routers["network"]

    def _router(self, x, name):
        return layers.Routing(self.placement.num_experts, activation=self.placement.routing_activation, name=name)(x)

    def _weights(self, routing, x, name):
        """The routing weights [batch, num_experts] of the CondConv layer `name` with the input `x`."""
        return self._router(x, f"{name}_routing") if routing is _PER_LAYER else routing

    def conv(self, x, filters, kernel_size, *, name, strides=1, routing=None, **options):
        """A bias-free convolution that pads by the factory's rule, unless `options` say otherwise."""
        options = {"use_bias": False, "kernel_initializer": conv_initializer(), **options}
        weights = self._weights(routing, x, name)
        x, padding = self._pad(x, kernel_size, strides, name)
        options.update(strides=strides, padding=padding, name=name)
        if routing is None:
            return layers.slice_strided_1x1(keras.layers.Conv2D(filters, kernel_size, **options))(x)
        return layers.CondConv2D(filters, kernel_size, num_experts=self.placement.num_experts, **options)(x, weights)

    def depthwise(self, x, kernel_size, *, name, strides=1, routing=None):
        """A bias-free depthwise convolution that pads by the factory's rule."""
        weights = self._weights(routing, x, name)
        x, padding = self._pad(x, kernel_size, strides, name)
        options = {"strides": strides, "padding": padding, "use_bias": False, "name": name}
        options["depthwise_initializer"] = conv_initializer()
        if routing is None:
            return keras.layers.DepthwiseConv2D(kernel_size, **options)(x)
        return layers.DepthwiseCondConv2D(kernel_size, num_experts=self.placement.num_experts, **options)(x, weights)

    def max_pool(self, x, *, name):
        """A 3x3 max-pooling of stride 2 that pads by the factory's rule; for an input that is nowhere negative."""
        x, padding = self._pad(x, 3, 2, name)
        return keras.layers.MaxPooling2D(3, strides=2, padding=padding, name=name)(x)

    def _pad(self, x, kernel_size, strides, name):
        """The input and the `padding` argument of the layer `name`, whose kernel has an odd size."""
        if strides == 1 or kernel_size == 1 or (self.padding == "same" and not _has_unsafe_gradient(x)):
            return x, "same"
        return keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x), "valid"

    def norm(self, x, *, name):
        """Batch normalization of the layer `name`, named `<name>_bn`."""
        axis = 1 if keras.config.image_data_format() == "channels_first" else -1
        # A plain network's file loads without this library.
        kind = keras.layers.BatchNormalization if self.placement is None else layers.BatchNormalization
        return kind(axis=axis, momentum=self.bn_momentum, epsilon=self.bn_epsilon, name=f"{name}_bn")(x)

    def act(self, x, *, name):
        """The factory's activation, named `<name>_activation`."""
        return keras.layers.Activation(self.activation, name=f"{name}_activation")(x)

    def norm_act(self, x, *, name):
        """Batch normalization and the activation of the layer `name`, named `<name>_bn` and `<name>_activation`."""
        return self.act(self.norm(x, name=name), name=name)

    def conv_norm(self, x, filters, kernel_size, *, name, **options):
        """Convolution and batch normalization; arguments as in `conv`."""
        return self.norm(self.conv(x, filters, kernel_size, name=name, **options), name=name)

    def conv_norm_act(self, x, filters, kernel_size, *, name, **options):
        """Convolution, batch normalization, activation; arguments as in `conv`."""
        return self.norm_act(self.conv(x, filters, kernel_size, name=name, **options), name=name)

    def depthwise_norm_act(self, x, kernel_size, *, name, **options):
        """Depthwise convolution, batch normalization, activation; arguments as in `depthwise`."""
        return self.norm_act(self.depthwise(x, kernel_size, name=name, **options), name=name)


def _has_unsafe_gradient(x):
    """Whether a strided convolution of a feature map must not pad it itself.

    Of one pixel, TensorFlow's bfloat16 convolution on a CPU returns kernel gradients with NaN in the taps that meet the
    padding alone (measured with 2.20). A pixel that is padded before is convolved right; SAME pads its sides alike.
    """
    height, width = x.shape[2:] if keras.config.image_data_format() == "channels_first" else x.shape[1:3]
    return height == width == 1 and keras.config.dtype_policy().compute_dtype == "bfloat16"


def apply_blocks(x, blocks, apply, *, stride):
    """Applies a network's blocks in order and names its endpoints.

    The last feature map at each stride is named: `stride_8`, `stride_16`, `stride_32` are the layers whose outputs are
    1/8, 1/16, 1/32 of the input's size, rounded up.

    Args:
        x: feature map.
        blocks: sequence of block descriptions with an attribute `strides`, 1 or 2.
        apply: function of the feature map, a block's description and its number from 1, that returns its output.
        stride: input pixels per pixel of `x`.
    """
    for number, block in enumerate(blocks, start=1):
        if block.strides == 2:
            x = _endpoint(x, stride)
            stride *= 2
        x = apply(x, block, number)
    return _endpoint(x, stride)


def _endpoint(x, stride):
    return keras.layers.Identity(name=f"stride_{stride}")(x)


def add_residual(x, shortcut, *, block, drop_rate):
    """Adds a block's input to its output, which training drops per example with `drop_rate` (stochastic depth).

    A kept output is divided by the probability of keeping it, so that inference changes nothing.
    Reference: Deep Networks with Stochastic Depth (arXiv 1603.09382); `drop_connect`, utils.py of EfficientNet in
    tensorflow/tpu.
    """
    if drop_rate:
        x = keras.layers.Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"block_{block}_drop")(x)
    return keras.layers.Add(name=f"block_{block}_add")([x, shortcut])


def conv_initializer():
    """A new normal(0, sqrt(2 / fan_out)), fan_out = kh * kw * last axis of the kernel: kh * kw for a depthwise one.

    New for every layer: an initializer repeats its values when it is called again.
    Reference: `conv_kernel_initializer`, efficientnet_model.py in tensorflow/tpu.
    """
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal")


def round_channels(count, width_multiplier):
    """`count * width_multiplier` rounded to a multiple of 8, at least 8, and never below 90 % of it.

    Reference: `_make_divisible`, mobilenet.py of MobileNetV2 in tensorflow/models.
    """
    exact = count * width_multiplier
    rounded = max(_DIVISOR, int(exact + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return rounded if rounded >= 0.9 * exact else rounded + _DIVISOR
