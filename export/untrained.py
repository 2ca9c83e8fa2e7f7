"""A registered network with random weights, to learn the size and the latency of its files before it is trained."""

import contextlib
import functools

# Root mean square of what every batch normalisation puts out. Small, because there swish, sigmoid and ReLU6 are nearly
# linear or piecewise linear: at full swing a deep random network multiplies every rounding error.
_ROOT_MEAN_SQUARE = 0.01


def untrained_model(name, seed=0, **arguments):
    """Builds a network with random weights whose answers can be compared.

    As initialised, batch normalisation passes everything through, and the activations of a deep network shrink or grow
    a thousandfold: its probabilities are equal to the last bit, or all 0 but one. So every batch normalisation scales
    its input, as it is on photographs, to one size.

    Args:
        name: registry name.
        seed: of the weights.
        arguments: further arguments of `models.create_model`.

    Returns:
        The Keras model and its `ModelCard`, whose classes are named by their index.
    """
    import keras

    from export.representative import photographs, prepared
    from models import create_model
    from models.cards import registered_card

    keras.utils.set_random_seed(seed)
    model = create_model(name, **arguments)
    card = registered_card(model)
    images = prepared(photographs(), card.preprocessing)
    with _scaling_batch_norm(model):
        model(card.preprocessing.scale_images(images), training=False)
    return model, card


@contextlib.contextmanager
def _scaling_batch_norm(model):
    """Lets every batch normalisation take its scale from the images that pass through."""
    import keras

    from condconv_keras.wrapped_call import wrapped_call

    with contextlib.ExitStack() as stack:
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                stack.enter_context(wrapped_call(layer, functools.partial(_scaling_call, layer)))
        yield


def _scaling_call(layer, call):
    from keras import ops

    @functools.wraps(call)
    def scaling_call(inputs, *args, **kwargs):
        # One number for all channels: to scale up the faint ones would scale up their rounding errors.
        variance = ops.mean(ops.square(inputs)) / _ROOT_MEAN_SQUARE**2
        layer.moving_variance.assign(ops.full_like(layer.moving_variance, variance))
        return call(inputs, *args, **kwargs)

    return scaling_call
