"""What weights ask of the network that they are loaded into, read from a network that has them."""

from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import keras


def weight_settings(model):
    """Returns the arguments of `create_model` that decide, besides its shape, what a network computes.

    Args:
        model: a Keras model of the zoo, whatever its classes and input size.

    Returns:
        `{"padding": ..., "bn_epsilon": ...}`, see `condconv_keras.models.options.NetworkOptions`.

    Raises:
        UserError: the model is none of the zoo, or a folded one.
    """
    layers = {layer.name: layer for layer in model.layers}
    if "stem_bn" not in layers:
        raise UserError(f"expected a network of this zoo, the model {model.name!r} has no layer 'stem_bn'")
    if isinstance(layers["stem_bn"], keras.layers.Identity):
        raise UserError(
            f"expected a network with its batch normalizations, {model.name!r} is a folded one: give the network that "
            "it was made of"
        )
    symmetric = isinstance(layers.get("stem_pad"), keras.layers.ZeroPadding2D)
    return {"padding": "symmetric" if symmetric else "same", "bn_epsilon": layers["stem_bn"].epsilon}
