"""A run that starts from a trained model: what it takes over, and how it is put into the new model."""

import dataclasses
import sys

import keras

from condconv_keras.facts.class_names import same_classes
from condconv_keras.facts.model_card import card_class_of
from condconv_keras.facts.preprocessing import SCALING
from condconv_keras.models.cards import registered_card
from condconv_keras.models.saving import load_network
from condconv_keras.models.settings import weight_settings
from condconv_keras.pretrained import IMAGENET, starting_file
from condconv_keras.utils.errors import UserError, warn
from condconv_keras.weights.skipped_layers import layers_to_skip, number_of_classes
from condconv_keras.weights.warm_start import warm_start


@dataclasses.dataclass(frozen=True)
class InitialModel:
    """A trained model to start from.

    Attributes:
        path: its file or folder, for messages.
        model: the Keras model.
        inherited: what a model that starts from it has to share, as JSON can hold it: `"model_arguments"` (`padding`
            and `bn_epsilon`, keywords of `create_model`) and `"preprocessing"` (`channels`, and `mean`, `std` and
            `interpolation` if the file says them, fields of `Preprocessing`).
        class_names: tuple of strings, or None where the file does not say them.
    """

    path: str
    model: keras.Model
    inherited: dict
    class_names: tuple[str, ...] | None = None

    def put_into(self, model, images, class_names=None, router_scale=1.0):
        """Warm starts a model; if layers keep their initial weights (`layers_to_skip`), a line says so.

        Another line says so if the classifier is that of as many classes which are others.

        Args:
            model: the new model.
            images: as in `warm_start`.
            class_names: those of the new model, or None for as many without names.
            router_scale: as in `warm_start`.

        Raises:
            UserError: the networks differ.
        """
        classes, new_classes = number_of_classes(self.model), number_of_classes(model)
        try:
            warm_start(model, self.model, images, layers_to_skip(model, self.model), router_scale)
        except UserError as error:
            raise UserError(f"the initial weights {self.path!r} do not fit: {error}") from error
        kind = card_class_of(self.model)
        if kind is not card_class_of(model):
            print(f"all but the backbone starts anew: {self.path!r} is for {kind.task}", file=sys.stderr)
        elif classes != new_classes:
            print(f"the classifier starts anew: {new_classes} classes, {self.path!r} has {classes}", file=sys.stderr)
        elif None not in (class_names, self.class_names) and not same_classes(self.class_names, class_names):
            warn(f"the classifier starts from that of {self.path!r}, whose classes have other names or another order")


def open_initial_model(config):
    """Loads the trained model that a run starts from.

    Args:
        config: `TrainConfig` with the path of a `.keras` file or a SavedModel, or with `"imagenet"`. Where the file has
            no card, that of the model's registered name is taken.

    Returns:
        An `InitialModel`.

    Raises:
        UserError: the file is missing, damaged or holds no network of the zoo, or the weights cannot be downloaded.
    """
    path = config.weights
    if path == IMAGENET:
        path = str(starting_file(config.model, config.model_arguments))
        print(f"starting from {path}", file=sys.stderr)
    model, stored_card = load_network(path)
    card = stored_card or registered_card(model)
    try:
        settings = weight_settings(model)
    except UserError as error:
        raise UserError(f"the initial weights {path!r} do not fit: {error}") from error
    preprocessing = {"channels": model.input_shape[-1]}
    if card is not None:
        fields = card.preprocessing.to_dict()
        preprocessing |= {name: fields[name] for name in SCALING}
    class_names = None if stored_card is None else stored_card.class_names
    return InitialModel(path, model, {"model_arguments": settings, "preprocessing": preprocessing}, class_names)
