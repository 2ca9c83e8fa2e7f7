"""The networks of our own experiments: a separable and a residual one for images of 32x32 pixels, and their twins."""

from typing import NamedTuple

from condconv_keras.models.blocks import LayerFactory, add_residual, apply_blocks
from condconv_keras.models.classifier import classification_model, image_input
from condconv_keras.models.entry import ModelEntry
from condconv_keras.models.options import check_width
from condconv_keras.models.placement import CondConvPlacement

_STEM_FILTERS = 8


class _Block(NamedTuple):
    filters: int
    strides: int


# One stage a block: a placement may start at each.
_SEPARABLE = (_Block(12, 1), _Block(18, 2), _Block(27, 1), _Block(27, 2))
_RESIDUAL = (_Block(8, 1), _Block(16, 2), _Block(32, 2))
_PARTS = ("condconv_classifier",)


def separable_cnn(options, *, width_multiplier=1.0):
    """A 3x3 convolution of stride 2 and four separable blocks, plain or with CondConv layers.

    The feature map has 1/8 of the input's height and width (rounded up) and 27 * `width_multiplier` channels. Layers of
    block N: `block_N_routing`, `block_N_depthwise`, `block_N_pointwise` and their `_bn`, `_activation`.

    Args:
        options: `NetworkOptions`. A placement covers the 4 blocks, each a stage, and the classifier.
        width_multiplier: positive float, scales every channel count, which is rounded to an integer of at least 1.

    Returns:
        A functional Keras model.

    Raises:
        ValueError: a value out of range.
    """
    factory, inputs, x = _stem(options, _SEPARABLE, width_multiplier)

    def separable_block(x, block, number):
        routing = factory.block_routing(x, number)
        name = f"block_{number}"
        x = factory.depthwise_norm_act(x, 3, strides=block.strides, routing=routing, name=f"{name}_depthwise")
        filters = _scaled(block.filters, width_multiplier)
        return factory.conv_norm_act(x, filters, 1, routing=routing, name=f"{name}_pointwise")

    x = apply_blocks(x, _SEPARABLE, separable_block, stride=2)
    return classification_model(inputs, x, factory, options)


def small_resnet(options, *, width_multiplier=1.0):
    """A 3x3 convolution of stride 2 and three residual blocks of two 3x3 layers, plain or with CondConv layers.

    The feature map has 1/8 of the input's height and width (rounded up) and 32 * `width_multiplier` channels. Layers of
    block N: `block_N_routing`, `block_N_conv1`, `block_N_conv2` and, of a stride, the plain projection
    `block_N_shortcut`.

    Args:
        options, width_multiplier: as in `separable_cnn`, of 3 blocks.

    Returns:
        A functional Keras model.

    Raises:
        ValueError: a value out of range.

    Reference:
        [Deep Residual Learning](https://arxiv.org/abs/1512.03385), section 4.2, is the network that this one is a small
        relative of.
    """
    factory, inputs, x = _stem(options, _RESIDUAL, width_multiplier)

    def residual_block(x, block, number):
        routing = factory.block_routing(x, number)
        name, filters, shortcut = f"block_{number}", _scaled(block.filters, width_multiplier), x
        if block.strides > 1:
            shortcut = factory.conv_norm(x, filters, 1, strides=block.strides, name=f"{name}_shortcut")
        x = factory.conv_norm_act(x, filters, 3, strides=block.strides, routing=routing, name=f"{name}_conv1")
        x = factory.conv_norm(x, filters, 3, routing=routing, name=f"{name}_conv2")
        return factory.act(add_residual(x, shortcut, block=number, drop_rate=0.0), name=name)

    x = apply_blocks(x, _RESIDUAL, residual_block, stride=2)
    return classification_model(inputs, x, factory, options)


def _stem(options, blocks, width_multiplier):
    """The network's `LayerFactory`, its input and the feature map that the blocks start from."""
    check_width(width_multiplier)
    factory = LayerFactory.of(options, activation="relu", stage_sizes=(1,) * len(blocks), parts=_PARTS)
    inputs = image_input(options.input_shape)
    return (
        factory,
        inputs,
        factory.conv_norm_act(inputs, _scaled(_STEM_FILTERS, width_multiplier), 3, strides=2, name="stem"),
    )


def _scaled(filters, width_multiplier):
    return max(round(filters * width_multiplier), 1)


def _entry(name, summary, builder, blocks):
    return ModelEntry(
        name=name,
        summary=summary,
        reference="https://arxiv.org/abs/1904.04971",
        builder=builder,
        stages=lambda: (1,) * len(blocks),
        parts=_PARTS,
        arguments={"bn_momentum": 0.9},
        input_size=32,
        crop_fraction=1.0,
    )


_PLAIN = (
    _entry("separable_cnn", "four separable blocks, for small images", separable_cnn, _SEPARABLE),
    _entry("small_resnet", "three residual blocks of 3x3 convolutions, for small images", small_resnet, _RESIDUAL),
)
ENTRIES = tuple(
    entry
    for plain in _PLAIN
    for entry in (plain, plain.twin(CondConvPlacement(num_experts=8, start_block=1, condconv_classifier=True)))
)
