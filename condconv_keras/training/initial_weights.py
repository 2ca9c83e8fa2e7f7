"""A run that starts from a trained model: what it takes over, and how it is put into the new model."""

import dataclasses
import sys

import keras

from condconv_keras.models.saving import load_model
from condconv_keras.utils.errors import UserError
from condconv_keras.weights.warm_start import warm_start

CLASSIFIER = ("classifier", "classifier_routing")
# The activation of the output: training is on logits, whatever the trained model returned.
_OUTPUT = ("predictions",)
# Beginnings of the names of the layers that a detector has from a classification network, and of its class predictors.
_BACKBONE = ("stem", "block_")
_CLASS_HEADS = "class_head_"


@dataclasses.dataclass(frozen=True)
class InitialModel:
    """A trained model to start from.

    Attributes:
        path: its file, for messages.
        model: the Keras model.
        inherited: what a model that starts from it has to share, as JSON can hold it: `"model_arguments"` (`padding`
            and `bn_epsilon`, keywords of `create_model`) and `"preprocessing"` (`channels`, and `offset`, `scale` and
            `interpolation` if the file says them, fields of `Preprocessing`).
    """

    path: str
    model: keras.Model
    inherited: dict

    def put_into(self, model, images):
        """Warm starts a model; if layers keep their initial weights (`layers_to_skip`), a line says so.

        Args:
            model: the new model.
            images: as in `warm_start`.

        Raises:
            UserError: the networks differ.
        """
        classes, new_classes = _classes(self.model), _classes(model)
        try:
            warm_start(model, self.model, images, skip_layers=layers_to_skip(model, self.model))
        except UserError as error:
            raise UserError(f"the initial weights {self.path!r} do not fit: {error}") from error
        if _is_detector(model) and not _is_detector(self.model):
            print(f"all but the backbone starts anew: {self.path!r} is no detector", file=sys.stderr)
        elif classes != new_classes:
            print(f"the classifier starts anew: {new_classes} classes, {self.path!r} has {classes}", file=sys.stderr)


def open_initial_model(path, card_of, settings_of):
    """Loads the trained model in a `.keras` file.

    Args:
        path: of the file.
        card_of: function of a Keras model that returns its `ModelCard` or None, for a file without a card.
        settings_of: function of a Keras model that returns the `"model_arguments"` of `InitialModel.inherited`.

    Returns:
        An `InitialModel`.

    Raises:
        UserError: the file is missing, damaged or holds no network of the zoo.
    """
    model, card = load_model(path)
    card = card or card_of(model)
    preprocessing = {"channels": model.input_shape[-1]}
    if card is not None:
        fields = card.preprocessing.to_dict()
        preprocessing |= {name: fields[name] for name in ("offset", "scale", "interpolation")}
    try:
        settings = settings_of(model)
    except UserError as error:
        raise UserError(f"the initial weights {path!r} do not fit: {error}") from error
    return InitialModel(path, model, {"model_arguments": settings, "preprocessing": preprocessing})


def layers_to_skip(model, source):
    """The names of the layers of two models that do not start from the trained one and keep their initial weights.

    They are the output; what makes the class predictions, where the numbers of classes differ or one has none; and
    where one of the two is a detector and the other is not, all but the backbone that they share.

    Args:
        model: new model.
        source: trained model.
    """
    layers = [layer.name for layer in (*model.layers, *source.layers)]
    if _is_detector(model) != _is_detector(source):
        return {name for name in layers if not name.startswith(_BACKBONE)}
    skipped = set(_OUTPUT)
    if _classes(model) != _classes(source):
        skipped |= {*CLASSIFIER, *(name for name in layers if name.startswith(_CLASS_HEADS))}
    return skipped


def _is_detector(model):
    return any(layer.name.startswith(_CLASS_HEADS) for layer in model.layers)


def _classes(model):
    """The number of classes, or None for a model without a classifier."""
    if _is_detector(model):
        return model.output["class_logits"].shape[-1] - 1
    return next((layer.filters for layer in model.layers if layer.name == "classifier"), None)
