"""A stored model and its card, for programs."""

from condconv_keras.models import saving
from condconv_keras.models.cards import registered_card
from condconv_keras.stored.predictor import exported_card, load_saved_model, model_kind, weights_file
from condconv_keras.utils.errors import UserError


def load_model(path, raw=False):
    """Loads a stored model.

    Args:
        path: run folder, `.keras` file, or SavedModel written by the exporter.
        raw: whether to load the last weights of a run instead of their moving average.

    Returns:
        The model, and its `ModelCard`: classes, preprocessing and task. Of a run or a `.keras` file the model is the
        Keras model as it was saved, which takes images [batch, height, width, channels] that
        `card.preprocessing.scale_images` has scaled; the card is None if the file has none and the model's name is not
        in the registry. Of a SavedModel it is the object that TensorFlow loads: its
        `signatures["serving_default"](images=...)` scales images in 0..255 itself.

    Raises:
        UserError: nothing lies there, or something else, or it is damaged.
        MissingPackage: a package that it needs is not installed.

    Example:

    >>> model, card = load_model("runs/digits")
    >>> logits = model(card.preprocessing.scale_images(images))
    """
    kind = model_kind(path, raw)
    if kind == "tflite":
        raise UserError(
            f"expected a run folder, .keras file or SavedModel; {str(path)!r} is a .tflite file, which "
            "condconv_keras.stored.predictor.open_predictor runs"
        )
    if kind == "savedmodel":
        return load_saved_model(path), exported_card(path, kind)
    model, card = saving.load_model(weights_file(path, kind, raw))
    return model, registered_card(model) if card is None else card
