"""The layers and blocks that the families share, plain or conditional.

A block is written once: it passes a routing tensor, or None, to the layers that it asks a `LayerFactory` for, and each
becomes the CondConv layer or the plain one of the same name. A twin has its plain network's layers and the routers.
"""

import dataclasses

import keras

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from models.placement import CondConvPlacement


@dataclasses.dataclass(frozen=True)
class LayerFactory:
    """Makes the layers of one network.

    Attributes:
        placement: the CondConv layers, or None for a plain network.
        bn_momentum, bn_epsilon: of every batch normalisation.
        activation: name of the activation that follows the batch normalisations, as in `"relu6"`.
    """

    placement: CondConvPlacement | None
    bn_momentum: float
    bn_epsilon: float
    activation: str

    def block_routing(self, x, block):
        """The routing weights of a block (paper, section 3: from the block's input), or None for a plain block.

        Args:
            x: the block's input.
            block: number of the block, from 1. The router is named `block_<number>_routing`.
        """
        if self.placement is None or block < self.placement.start_block:
            return None
        return Routing(self.placement.num_experts, name=f"block_{block}_routing")(x)

    def classifier_routing(self, features):
        """The routing weights of the classifier from the pooled features, or None for a plain classifier."""
        if self.placement is None or not self.placement.condconv_classifier:
            return None
        return Routing(self.placement.num_experts, name="classifier_routing")(features)

    def conv(self, x, filters, kernel_size, *, name, strides=1, routing=None, **options):
        """A bias-free convolution with TensorFlow's SAME padding unless `options` say otherwise."""
        options = {"use_bias": False, "kernel_initializer": conv_initializer(), **options}
        options.update(strides=strides, padding="same", name=name)
        if routing is None:
            return keras.layers.Conv2D(filters, kernel_size, **options)(x)
        return CondConv2D(filters, kernel_size, num_experts=routing.shape[-1], **options)(x, routing)

    def depthwise(self, x, kernel_size, *, name, strides=1, routing=None):
        """A bias-free depthwise convolution with TensorFlow's SAME padding."""
        options = {"strides": strides, "padding": "same", "use_bias": False, "name": name}
        options["depthwise_initializer"] = conv_initializer()
        if routing is None:
            return keras.layers.DepthwiseConv2D(kernel_size, **options)(x)
        return DepthwiseCondConv2D(kernel_size, num_experts=routing.shape[-1], **options)(x, routing)

    def norm(self, x, *, name):
        """Batch normalisation of the layer `name`, named `<name>_bn`."""
        axis = 1 if keras.config.image_data_format() == "channels_first" else -1
        return keras.layers.BatchNormalization(
            axis=axis, momentum=self.bn_momentum, epsilon=self.bn_epsilon, name=f"{name}_bn"
        )(x)

    def norm_act(self, x, *, name):
        """Batch normalisation and the activation of the layer `name`, named `<name>_bn` and `<name>_activation`."""
        return keras.layers.Activation(self.activation, name=f"{name}_activation")(self.norm(x, name=name))

    def conv_norm_act(self, x, filters, kernel_size, *, name, **options):
        """Convolution, batch normalisation, activation; arguments as in `conv`."""
        return self.norm_act(self.conv(x, filters, kernel_size, name=name, **options), name=name)

    def depthwise_norm_act(self, x, kernel_size, *, name, **options):
        """Depthwise convolution, batch normalisation, activation; arguments as in `depthwise`."""
        return self.norm_act(self.depthwise(x, kernel_size, name=name, **options), name=name)


def separable_block(factory, x, filters, *, strides, block):
    """MobileNetV1's block: a 3x3 depthwise and a 1x1 convolution, both fed by the block's one router.

    Args:
        factory: `LayerFactory`.
        x: feature map.
        filters: output channels.
        strides: of the depthwise convolution.
        block: number of the block, from 1; its layers are named `block_<number>_depthwise`, `..._pointwise`.

    Reference: MobileNets (arXiv 1704.04861), section 3.1.
    """
    routing = factory.block_routing(x, block)
    x = factory.depthwise_norm_act(x, 3, strides=strides, routing=routing, name=f"block_{block}_depthwise")
    return factory.conv_norm_act(x, filters, 1, routing=routing, name=f"block_{block}_pointwise")


def conv_initializer():
    """A new normal(0, sqrt(2 / fan_out)), fan_out = kh * kw * last axis of the kernel: kh * kw for a depthwise one.

    New for every layer: an initializer repeats its values when it is called again.
    Reference: `conv_kernel_initializer`, efficientnet_model.py in tensorflow/tpu.
    """
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal")
