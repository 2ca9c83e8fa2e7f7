"""What a Keras model goes through before it answers: a card that fits it, and no trace of how it was trained."""

from condconv_keras.models.returned import with_returns
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.keras_graph import compute_in_float32
from condconv_keras.utils.lazy import LazyModule

layers = LazyModule("condconv_keras.layers")


def to_answer(model, card, place):
    """Returns a stored Keras model as it is used, and its card, which says what its outputs are.

    The model computes in float32, its batch normalizations as of `condconv_keras.use_fused_batch_norm`, and its routers
    have no options of training (`condconv_keras.layers.fold_routing`).

    Args:
        model: Keras model.
        card: its `ModelCard`.
        place: the file or folder that it was loaded from, for messages.

    Raises:
        UserError: the card is another model's; or as of `with_returns`.
    """
    place = repr(str(place))
    if not hasattr(model, "outputs"):
        raise UserError(f"expected a functional or sequential model in {place}, it is neither")
    if not card.fits(model):
        raise UserError(
            f"expected a model for {card.task} with {len(card.class_names)} classes, the model in {place} has the "
            f"output {model.output_shape}"
        )
    if not _takes(model, card.preprocessing.input_shape):
        raise UserError(
            f"the model in {place} does not take images of the shape {card.preprocessing.input_shape}, which its card "
            f"is for: it takes {model.input_shape}"
        )
    try:
        model = layers.fold_routing(model)
    except ValueError as error:
        raise UserError(f"the model in {place} cannot be used: {one_line(error)}") from error
    compute_in_float32(model)
    return layers.use_fused_batch_norm(model), with_returns(model, card, f"the model in {place}")


def _takes(model, shape):
    """Whether images of a shape fit the one input of a Keras model; several inputs are told from it later."""
    expected = model.input_shape
    if not isinstance(expected, tuple):
        return True
    return len(expected) == 4 and all(side in (None, of) for side, of in zip(expected[1:], shape, strict=True))
