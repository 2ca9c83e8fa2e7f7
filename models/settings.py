"""What weights ask of the network that they are loaded into, read from a network that has them."""

import keras


def weight_settings(model):
    """Returns the arguments of `create_model` that decide, besides its shape, what a network computes.

    Args:
        model: a Keras model of the zoo, whatever its classes and input size.

    Returns:
        `{"padding": ..., "bn_epsilon": ...}`, see `models.options.NetworkOptions`.
    """
    layers = {layer.name: layer for layer in model.layers}
    symmetric = isinstance(layers.get("stem_pad"), keras.layers.ZeroPadding2D)
    return {"padding": "symmetric" if symmetric else "same", "bn_epsilon": layers["stem_bn"].epsilon}
