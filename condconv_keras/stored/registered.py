"""Registered models by name: with their published weights, or with random ones."""

import functools
import pathlib

from condconv_keras.models import model_entry
from condconv_keras.models.building import check_keywords
from condconv_keras.models.registry import is_registered
from condconv_keras.models.returned import with_returns
from condconv_keras.pretrained import IMAGENET, pretrained_file, published_for
from condconv_keras.stored.keras_files import ArchivedModel, KerasModel
from condconv_keras.stored.untrained import untrained_model
from condconv_keras.utils.errors import UserError, one_line


def _check_keywords(name, keywords):
    """Raises a `UserError` for a keyword of `create_model` that the registered model does not take."""
    try:
        check_keywords(model_entry(name), keywords)
    except TypeError as error:
        raise UserError(one_line(error)) from error


class _Registered:
    """What a registered model's entry says of it, and the keywords of `create_model` that it is built with."""

    name: str
    arguments: dict
    applies_orientation = True  # known before published weights are downloaded

    @property
    def task(self):
        return model_entry(self.name).task

    @property
    def is_plain(self):
        return model_entry(self.name).placement is None

    def to_dict(self):
        return {**super().to_dict(), **({"arguments": self.arguments} if self.arguments else {})}


class Published(_Registered, ArchivedModel):
    """A registered model with its published weights, which are downloaded and converted once.

    Args:
        name: registry name.
        arguments: keywords of `create_model` that choose between weights.

    Raises:
        UserError: none are published for the model with these arguments.
    """

    kind = weights = IMAGENET

    def __init__(self, name, **arguments):
        super().__init__(name)
        self.arguments = arguments
        published_for(self.name, arguments)

    @classmethod
    def claims(cls, name):
        return True

    @classmethod
    def check_arguments(cls, name, arguments):
        if pathlib.Path(name).exists() and not is_registered(name):
            raise UserError(f"`weights` is for registered models, {name!r} is a path")
        for argument in ("seed", "input_size"):
            if argument in arguments:
                raise UserError(f"`{argument}` is for registered models without `weights`")
        _check_keywords(name, arguments)

    @functools.cached_property
    def file(self):
        """The path of the `.keras` file; raises a `UserError` if the weights cannot be had."""
        return pretrained_file(self.name, self.arguments)


class Untrained(_Registered, KerasModel):
    """A registered model with random weights.

    Args:
        name: registry name.
        seed: of the weights.
        input_size: height and width of its input in pixels, or None for the registered one.
        **arguments: keywords of `create_model`.
    """

    kind = "untrained"
    is_trained = False

    def __init__(self, name, seed=0, input_size=None, **arguments):
        super().__init__(name)
        self.seed = seed
        self.input_size = input_size
        self.arguments = arguments

    @classmethod
    def claims(cls, name):
        return is_registered(name) and not pathlib.Path(name).exists()

    @classmethod
    def check_arguments(cls, name, arguments):
        _check_keywords(name, arguments.keys() - {"seed", "input_size"})

    def load(self):
        """As of `StoredModel`; raises a `UserError` if an argument is bad."""
        entry = model_entry(self.name)
        size = self.input_size or entry.input_size
        shape = (size, size, entry.channels)
        try:
            return untrained_model(self.name, self.seed, input_shape=shape, **self.arguments)
        except (TypeError, ValueError) as error:
            raise UserError(f"the model {self.name!r} cannot be built: {one_line(error)}") from error

    def load_to_answer(self):
        """As `load`: it computes in float32 and has the outputs of its card, which says what they are."""
        model, card = self.load()
        return model, with_returns(model, card)

    def to_dict(self):
        return {**super().to_dict(), "seed": self.seed}  # the input's size is that of the card
