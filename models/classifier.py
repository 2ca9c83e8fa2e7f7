"""What every classification network has around its blocks: the image input, the head, the weights file."""

import os
import warnings
import zipfile

import keras

from condconv_keras.errors import UserError

_MINIMUM_SIZE = 32
_POOLING = (None, "avg", "max")


def image_input(input_shape):
    """The network's input.

    Args:
        input_shape: one image, without the batch axis, in the order of `keras.config.image_data_format()`. Height and
            width are at least 32, or None for any size.

    Raises:
        ValueError: another shape.
    """
    shape = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    if keras.config.image_data_format() == "channels_first":
        order, channels, size = "(channels, height, width)", shape[:1], shape[1:]
    else:
        order, channels, size = "(height, width, channels)", shape[2:], shape[:2]
    fits = len(shape) == 3 and _is_integer(channels[0], 1)
    if not fits or not all(side is None or _is_integer(side, _MINIMUM_SIZE) for side in size):
        raise ValueError(
            f"`input_shape` must be {order} with height and width at least {_MINIMUM_SIZE}. "
            f"Received: input_shape={input_shape!r}"
        )
    return keras.Input(shape, name="image")


def classification_model(
    inputs,
    features,
    factory,
    *,
    include_top,
    weights,
    pooling,
    classes,
    classifier_activation,
    dropout_rate,
    name,
):
    """Puts the head on the last feature map and loads the weights.

    Args:
        inputs: `image_input`.
        features: last feature map.
        factory: `LayerFactory`, which decides whether the classifier is a CondConv layer.
        include_top: whether the model ends in the classifier; if not, in the feature map or what `pooling` makes of it.
        weights: None, or a local `.weights.h5` or `.keras` file of a model of the same arguments.
        pooling: None, `"avg"` or `"max"`: without the classifier, the global pooling of the output.
        classes: number of classes.
        classifier_activation: name or callable; None for logits.
        dropout_rate: fraction of the pooled features that is dropped before the classifier in training, in [0, 1).
        name: name of the model.

    Returns:
        A functional model; its output is float32 [batch, classes] with the classifier.

    Raises:
        ValueError: a value out of range.
        UserError: a weights file that is missing or does not fit.
    """
    if pooling not in _POOLING:
        raise ValueError(f"`pooling` must be one of {_POOLING}. Received: pooling={pooling!r}")
    if not _is_integer(classes, 1):
        raise ValueError(f"`classes` must be a positive integer. Received: classes={classes!r}")
    if not 0 <= dropout_rate < 1:
        raise ValueError(f"`dropout_rate` must be in [0, 1). Received: dropout_rate={dropout_rate!r}")
    if include_top:
        outputs = _classifier(factory, features, classes, classifier_activation, dropout_rate)
    else:
        outputs = _pooled(features, pooling)
    model = keras.Model(inputs, outputs, name=name)
    if weights is not None:
        load_weights(model, weights)
    return model


def load_weights(model, path):
    """Loads a local `.weights.h5` or `.keras` file; raises `UserError` when it is missing or does not fit `model`."""
    path = os.fspath(path)
    if not path.endswith((".weights.h5", ".keras")):
        raise UserError(f"`weights` must be a .weights.h5 or .keras file. Received: {path!r}")
    if not os.path.isfile(path):
        raise UserError(f"`weights` must be an existing local file. Received: {path!r}")
    try:
        with warnings.catch_warnings():
            # Keras repeats a failure as one warning per layer, before the error.
            warnings.simplefilter("ignore", UserWarning)
            model.load_weights(path)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"`weights` must fit the model {model.name!r}. Received: {path!r} ({reason})") from error


def _classifier(factory, features, classes, activation, dropout_rate):
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_pool")(features)
    routing = factory.classifier_routing(pooled)
    x = keras.layers.Dropout(dropout_rate, name="dropout")(pooled)
    bound = classes**-0.5
    initializer = keras.initializers.RandomUniform(-bound, bound)
    x = factory.conv(x, classes, 1, routing=routing, name="classifier", use_bias=True, kernel_initializer=initializer)
    x = keras.layers.Flatten(name="logits")(x)
    # float32 also under a mixed precision policy: a softmax or a loss on 16-bit logits overflows.
    return keras.layers.Activation(activation, dtype="float32", name="predictions")(x)


def _pooled(features, pooling):
    if pooling is None:
        return features
    pool = keras.layers.GlobalAveragePooling2D if pooling == "avg" else keras.layers.GlobalMaxPooling2D
    return pool(name="global_pool")(features)


def _is_integer(value, minimum):
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum
