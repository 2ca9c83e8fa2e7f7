"""Exported models: SavedModels and `.tflite` files, with their cards beside them."""

import abc
import functools
import os
import pathlib

from condconv_keras.facts.archives import names_experts
from condconv_keras.facts.exported_cards import exported_card
from condconv_keras.facts.model_card import FILE_NAME
from condconv_keras.models.saved_networks import (
    EXTRA,
    card_file,
    has_network,
    is_saved_model,
    load_saved_network,
    network_of,
)
from condconv_keras.serving.litert import require_litert
from condconv_keras.stored.answering import to_answer
from condconv_keras.stored.model import Predictor, StoredModel, is_file
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import MissingPackage, UserError
from condconv_keras.utils.files import content_hash, literal_path
from condconv_keras.utils.lazy import require
from condconv_keras.utils.lazy import tensorflow as tf


class Export(StoredModel):
    """An exported model."""

    has_layers = False
    answers_in_keras = False
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
        return exported_card(self.card_file, self.path, self.cards)

    @property
    def task(self):
        return self.card.task

    @property
    def applies_orientation(self):
        return self.card.preprocessing.apply_orientation

    @property
    def sha256(self):
        return content_hash(self.path, self.cards)

    def to_dict(self):
        return {**super().to_dict(), "sha256": self.sha256}


class SavedModel(Export):
    """A folder that TensorFlow loads; what the exporter of version 0.2 or later wrote has its Keras network, too."""

    kind = "savedmodel"
    cards = EXTRA

    @classmethod
    def claims(cls, name):
        return is_saved_model(name)

    @property
    def has_layers(self):
        return has_network(self.path)

    @property
    def has_experts(self):
        return self.has_layers and names_experts(network_of(self.path))

    @property
    def has_card(self):
        """Whether it says how it is fed and read; those of other programs do not."""
        return self.card_file.is_file()

    @property
    def card_file(self):
        return card_file(self.path)

    def require_packages(self):
        require("tensorflow")

    def load(self):
        """As of `StoredModel`: the Keras network; where there is none, as of `load_signatures`."""
        return load_saved_network(self.path) if self.has_layers else (self.load_signatures(), self.card)

    def load_to_answer(self):
        self.check_layers()
        return to_answer(*load_saved_network(self.path), self.path)

    def load_signatures(self):
        """Returns the object that TensorFlow loads, which owns the variables: a signature does not keep them alive.

        Raises:
            UserError: it is damaged, or has not the signature `serving_default`.
        """
        loaded = self.load_any("expected a SavedModel written by `python -m export`")
        if "serving_default" not in loaded.signatures:
            raise UserError(f"expected a SavedModel written by `python -m export`, {self.name!r} is none")
        return loaded

    def load_any(self, expected="expected a SavedModel"):
        """As `load_signatures`, whatever its signatures; `expected` begins the message."""
        try:
            with literal_path(self.path) as folder:
                loaded = tf.saved_model.load(os.fspath(folder))
            _ = loaded.signatures
        except MissingPackage:
            raise
        except Exception as error:
            raise UserError(f"{expected}, {self.name!r} is none") from error
        return loaded

    def predictor(self, num_threads=None):
        del num_threads
        self.require_packages()
        card = self.card
        predict = get_task(card.task).saved_model_predict(self.load_signatures(), self.path, card)
        return Predictor(card, self.kind, predict)


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
