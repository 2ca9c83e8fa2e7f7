"""MobileNetV1 and its CondConv twin."""

from models.blocks import LayerFactory, separable_block
from models.classifier import classification_model, image_input

_STEM_FILTERS = 32
# Output channels and strides of the separable blocks 1 to 13 (arXiv 1704.04861, table 1).
_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
_MINIMUM_FILTERS = 8


def mobilenet_v1(
    input_shape,
    *,
    placement=None,
    width_multiplier=1.0,
    include_top=True,
    weights=None,
    pooling=None,
    classes=1000,
    classifier_activation=None,
    dropout_rate=0.0,
    bn_momentum=0.99,
    bn_epsilon=1e-3,
    name="mobilenet_v1",
):
    """MobileNetV1, plain or with CondConv layers.

    The feature map has 1/32 of the input's height and width (rounded up) and 1024 * `width_multiplier` channels.

    Args:
        input_shape: one image, without the batch axis; height and width at least 32, or None. Any channels.
        placement: `CondConvPlacement` over the 13 separable blocks and the classifier, or None for the plain network.
            Routers are named `block_<number>_routing` and `classifier_routing`.
        width_multiplier: positive float, scales every channel count to `max(int(count * width_multiplier), 8)`.
        include_top, weights, pooling, classes, classifier_activation, dropout_rate: as in
            `models.classifier.classification_model`.
        bn_momentum, bn_epsilon: of every batch normalisation.
        name: name of the model.

    Returns:
        A functional Keras model; logits [batch, classes] by default.

    Raises:
        ValueError: a value out of range.
        UserError: a weights file that is missing or does not fit.

    Reference:
        - [MobileNets](https://arxiv.org/abs/1704.04861)
        - [CondConv](https://arxiv.org/abs/1904.04971)
    """
    if not width_multiplier > 0:
        raise ValueError(f"`width_multiplier` must be positive. Received: width_multiplier={width_multiplier!r}")
    if placement is not None:
        placement.check_blocks(len(_BLOCKS))
    factory = LayerFactory(placement, bn_momentum=bn_momentum, bn_epsilon=bn_epsilon, activation="relu6")

    def scaled(filters):
        return max(int(filters * width_multiplier), _MINIMUM_FILTERS)

    inputs = image_input(input_shape)
    x = factory.conv_norm_act(inputs, scaled(_STEM_FILTERS), 3, strides=2, name="stem")
    for block, (filters, strides) in enumerate(_BLOCKS, start=1):
        x = separable_block(factory, x, scaled(filters), strides=strides, block=block)
    return classification_model(
        inputs,
        x,
        factory,
        include_top=include_top,
        weights=weights,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        dropout_rate=dropout_rate,
        name=name,
    )
