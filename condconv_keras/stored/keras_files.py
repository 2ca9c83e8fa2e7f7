"""Models that are loaded in Keras: those that are stored as `.keras` files, alone or in the folder of a run."""

import abc
import functools
import math
import pathlib

from condconv_keras.facts.archives import archive_has_experts
from condconv_keras.facts.model_card import ModelCard, archived_card, check_archive
from condconv_keras.models import model_entry
from condconv_keras.models.cards import registered_card
from condconv_keras.models.saving import load_keras_file
from condconv_keras.stored.answering import to_answer
from condconv_keras.stored.model import Predictor, StoredModel, is_file
from condconv_keras.tasks.table import get_task
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import file_hash
from condconv_keras.utils.lazy import LazyModule

batch_norm_folding = LazyModule("condconv_keras.layers.batch_norm_folding")


class KerasModel(StoredModel):
    """A model that is loaded in Keras."""

    def predictor(self, num_threads=None):
        del num_threads
        self.require_packages()
        model, card = self.load_to_answer()
        parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
        model = batch_norm_folding.folded_if_possible(model).model
        return Predictor(card, "keras", get_task(card.task).keras_predict(model, card), model, parameters)


class ArchivedModel(KerasModel):
    """A model in a `.keras` file, wherever that lies."""

    @property
    @abc.abstractmethod
    def file(self):
        """The path of the `.keras` file."""

    @functools.cached_property
    def task(self):
        """As of `StoredModel`; a file without a card is taken for a classifier until it is loaded."""
        card = archived_card(self.file)
        return ModelCard.task if card is None else card.task

    @property
    def sha256(self):
        return file_hash(self.file)

    @property
    def has_experts(self):
        return archive_has_experts(self.file)

    @property
    def applies_orientation(self):
        card = archived_card(self.file)
        return KerasModel.applies_orientation if card is None else card.preprocessing.apply_orientation

    def load(self):
        model, card = load_keras_file(self.file)
        return model, registered_card(model) if card is None else card

    def load_to_answer(self):
        model, card = self.load()
        if card is None:
            raise UserError(
                f"{str(self.file)!r} does not say which classes and which preprocessing its model has; save it with "
                "condconv_keras.model_card.save_model"
            )
        if card.task != self.task:
            raise UserError(f"expected a model with a card, {str(self.file)!r} has none and is one for {card.task}")
        return to_answer(model, card, self.file)

    def to_dict(self):
        return {**super().to_dict(), "sha256": self.sha256}


class KerasFile(ArchivedModel):
    """A `.keras` file.

    Args:
        name: its path.

    Raises:
        UserError: it is seen at once to be damaged.
    """

    kind = "keras"

    def __init__(self, name):
        super().__init__(name)
        check_archive(self.file)

    @classmethod
    def claims(cls, name):
        return is_file(name, ".keras")

    @property
    def file(self):
        return pathlib.Path(self.name)


class Run(ArchivedModel):
    """The folder of a training run.

    Args:
        name: its path.
        raw: whether its last weights are meant instead of their moving average.

    Raises:
        UserError: it has no such weights, or what is seen at once to be damaged.
    """

    kind = "run"

    def __init__(self, name, raw=False):
        self._folder, self._raw = RunFolder(name), raw
        if not self._folder.model.is_file():
            raise UserError(f"the run in {str(name)!r} has no model.keras yet; let its train.py command finish")
        super().__init__(name)
        check_archive(self.file)

    @classmethod
    def claims(cls, name):
        return RunFolder.is_run(name)

    def with_raw_weights(self):
        if not self._folder.raw_model.is_file():
            raise UserError(
                f"the run in {self.name!r} has no {self._folder.raw_model.name}: its recipe does not average the "
                f"weights, and {self._folder.model.name} has the last ones"
            )
        return Run(self.name, raw=True)

    @property
    def file(self):
        return self._folder.raw_model if self._raw else self._folder.model

    @functools.cached_property
    def config(self):
        return self._folder.read_config()

    @property
    def task(self):
        return self.config.task

    @property
    def is_plain(self):
        return not self.config.is_stored and model_entry(self.config.model).placement is None
