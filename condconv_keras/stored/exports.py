"""Exported models: SavedModels and `.tflite` files, with their cards beside them."""

import abc
import functools
import json
import os
import pathlib
import re
import tempfile

from condconv_keras.facts.model_card import FILE_NAME, ModelCard
from condconv_keras.serving.litert import require_litert
from condconv_keras.stored.model import Predictor, StoredModel, is_file
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import MissingPackage, UserError
from condconv_keras.utils.files import content_hash
from condconv_keras.utils.lazy import require
from condconv_keras.utils.lazy import tensorflow as tf


class Export(StoredModel):
    """An exported model."""

    has_layers = False
    cards: str | None = None  # sub-folder with the card, which is no part of what the card is of

    @property
    def path(self):
        """Where it lies."""
        return pathlib.Path(self.name)

    @property
    @abc.abstractmethod
    def card_file(self):
        """The path of its card."""

    @functools.cached_property
    def card(self):
        """Its `ModelCard`; raises a `UserError` if it has none, or that of another file."""
        path = self.card_file
        if not path.is_file():
            raise UserError(
                f"expected the classes and preprocessing of the model in {str(path)!r}, which does not exist"
            )
        try:
            text = path.read_bytes()
            card, hashes = ModelCard.from_json(text), _hashes(text)
        except ValueError as error:
            raise UserError(f"expected a model card in {str(path)!r} ({error})") from error
        if hashes and content_hash(self.path, self.cards) not in hashes.values():
            raise UserError(
                f"expected the card of {self.name!r} in {str(path)!r}, it is the card of other files by their SHA-256 "
                f"({', '.join(hashes)}): put the {FILE_NAME} there that was exported with the file, or, where the file "
                "was changed on purpose, take `files` out of it"
            )
        return card

    @property
    def task(self):
        return self.card.task

    @property
    def applies_orientation(self):
        return self.card.preprocessing.apply_orientation


def _hashes(text):
    """A dict of the names of the files that a card says it is of to their SHA-256; a card made otherwise names none.

    Raises:
        ValueError: it says so in another form.
    """
    try:
        return {str(file["file"]): str(file["sha256"]) for file in json.loads(text).get("files", [])}
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the `files` of a model card: {error!r}") from error


class SavedModel(Export):
    """A folder that TensorFlow loads."""

    kind = "savedmodel"
    cards = "assets.extra"

    @classmethod
    def claims(cls, name):
        return pathlib.Path(name, "saved_model.pb").is_file()

    @property
    def card_file(self):
        return self.path / self.cards / FILE_NAME

    def require_packages(self):
        require("tensorflow")

    def load(self):
        """As of `StoredModel`: the object that TensorFlow loads, which owns the variables.

        A signature alone does not keep them alive.
        """
        try:
            loaded = _load(self.path)
            _ = loaded.signatures["serving_default"]
        except MissingPackage:
            raise
        except Exception as error:
            raise UserError(f"expected a SavedModel written by `python -m export`, {self.name!r} is none") from error
        return loaded, self.card

    def predictor(self, num_threads=None):
        del num_threads
        self.require_packages()
        loaded, card = self.load()
        return Predictor(card, self.kind, get_task(card.task).saved_model_predict(loaded, self.path, card))


def _load(path):
    """Loads a SavedModel from wherever it lies."""
    if not re.search(r"[\[\\]", path.as_posix()):
        return tf.saved_model.load(os.fspath(path))
    # TensorFlow takes the path of the variables for a pattern, and finds none in "run [2]".
    with tempfile.TemporaryDirectory() as folder:
        link = pathlib.Path(folder, "saved_model")
        link.symlink_to(path.absolute(), target_is_directory=True)
        return tf.saved_model.load(os.fspath(link))


class TFLiteFile(Export):
    """A `.tflite` file, which LiteRT runs."""

    kind = "tflite"

    @classmethod
    def claims(cls, name):
        return is_file(name, ".tflite")

    @property
    def card_file(self):
        return self.path.parent / FILE_NAME

    def require_packages(self):
        require_litert()

    def load(self):
        raise UserError(
            f"expected a run folder, .keras file or SavedModel; {self.name!r} is a .tflite file, which "
            "condconv_keras.stored.StoredModel.open(...).predictor() runs"
        )

    def predictor(self, num_threads=None):
        self.require_packages()
        card = self.card
        return Predictor(card, self.kind, get_task(card.task).tflite_predict(self.path, card, num_threads))
