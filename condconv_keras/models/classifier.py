"""What every classification network has around its blocks: the image input and the head."""

from condconv_keras.models.placement import is_integer
from condconv_keras.utils.lazy import keras

_MINIMUM_SIZE = 32


def image_input(input_shape, minimum_size=_MINIMUM_SIZE, is_fixed=False):
    """The network's input.

    Args:
        input_shape: as in `NetworkOptions`.
        minimum_size: of height and width in pixels.
        is_fixed: whether height and width must be known.

    Raises:
        ValueError: another shape.
    """
    shape = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    if keras.config.image_data_format() == "channels_first":
        order, channels, size = "(channels, height, width)", shape[:1], shape[1:]
    else:
        order, channels, size = "(height, width, channels)", shape[2:], shape[:2]
    fits = len(shape) == 3 and is_integer(channels[0], 1)
    if not fits or not all(is_integer(side, minimum_size) or (side is None and not is_fixed) for side in size):
        known = "known height and width, each" if is_fixed else "height and width"
        raise ValueError(
            f"`input_shape` must be {order} with {known} at least {minimum_size}. Received: input_shape={input_shape!r}"
        )
    return keras.Input(shape, name="image")


def classification_model(inputs, features, factory, options):
    """Puts the head on the last feature map.

    Args:
        inputs: `image_input`.
        features: last feature map.
        factory: `LayerFactory`, which decides whether the classifier is a CondConv layer.
        options: `NetworkOptions`.

    Returns:
        A functional model; its output is float32 [batch, classes] with the classifier.
    """
    outputs = _classifier(factory, features, options) if options.include_top else _pooled(features, options.pooling)
    return keras.Model(inputs, outputs, name=options.name)


def _classifier(factory, features, options):
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_pool")(features)
    routing = factory.classifier_routing(pooled)
    x = keras.layers.Dropout(options.dropout_rate, name="dropout")(pooled)
    bound = options.classes**-0.5
    x = factory.conv(
        x,
        options.classes,
        1,
        routing=routing,
        name="classifier",
        use_bias=True,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
    )
    x = keras.layers.Flatten(name="logits")(x)
    # float32 also under a mixed precision policy: a softmax or a loss on 16-bit logits overflows.
    return keras.layers.Activation(options.classifier_activation, dtype="float32", name="predictions")(x)


def _pooled(features, pooling):
    if pooling is None:
        return features
    pool = keras.layers.GlobalAveragePooling2D if pooling == "avg" else keras.layers.GlobalMaxPooling2D
    return pool(name="global_pool")(features)
