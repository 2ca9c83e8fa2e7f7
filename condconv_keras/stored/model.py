"""A stored model, whatever it is: its kind, task, card and configuration, and how to load it.

Predictors take float32 images [batch, height, width, channels] in 0..255, already resized to the model's input. That of
a classifier returns float32 probabilities [batch, classes], that of a detector a dict as of
`condconv_keras.tasks.detection.detect`; NumPy arrays.
"""

from __future__ import annotations

import abc
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from condconv_keras.facts.model_card import FILE_NAME, ModelCard
from condconv_keras.models import list_models
from condconv_keras.pretrained import IMAGENET
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import UserError, unknown_name
from condconv_keras.utils.lazy import keras
from condconv_keras.utils.lazy import numpy as np

if TYPE_CHECKING:
    from condconv_keras.training.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A loaded model.

    Attributes:
        card: `ModelCard`.
        kind: `"keras"`, `"savedmodel"` or `"tflite"`.
        predict: function of images, see the module.
        model: the Keras model, folded (`condconv_keras.fold`), or None for an export.
        parameters: the number of trainable scalars of the model as it is stored, as papers and timm count parameters;
            None for an export, whose constants need not be the network's.
    """

    card: ModelCard
    kind: str
    predict: Callable[[np.ndarray], np.ndarray | dict[str, np.ndarray]]
    model: keras.Model | None = None
    parameters: int | None = None


class StoredModel(abc.ABC):
    """A model that is not loaded yet: `StoredModel.open` finds its kind, which is a subclass.

    Attributes:
        name: as it was given, a path or a registry name.
        kind: the name of the kind: `"run"`, `"keras"`, `"savedmodel"`, `"tflite"`, `"imagenet"` or `"untrained"`.
        weights: the argument `weights` of `open` that it takes.
        config: `TrainConfig` of a run, else None.
        is_trained: whether its weights are not random.
        applies_orientation: whether image files are turned as their EXIF orientation says before the model sees them,
            as its card says, or its default where there is none; without loading it.
        has_layers: whether it can be loaded as a Keras model; a `.tflite` file cannot, nor can a SavedModel that lacks
            its network (`condconv_keras.models.saved_networks`).
        answers_in_keras: whether its predictor runs the Keras model; the predictor of an export runs the file.
    """

    kind: str
    weights: str | None = None
    config: TrainConfig | None = None
    is_trained = True
    applies_orientation = True
    has_layers = True
    answers_in_keras = True

    def __init__(self, name: str | os.PathLike[str]) -> None:
        self.name = os.fspath(name)

    @classmethod
    def open(
        cls,
        name_or_path: str | os.PathLike[str],
        weights: Literal["imagenet"] | None = None,
        raw: bool = False,
        untrained: bool = False,
        **arguments: Any,
    ) -> StoredModel:
        """Finds what a name means, without loading it. A path that exists comes before a registered model.

        Args:
            name_or_path: path of a run folder, `.keras` file, SavedModel or `.tflite` file, or a registry name.
            weights: None, or `"imagenet"` for the published weights of the registered model.
            raw: whether the last weights of a run are asked for instead of their moving average.
            untrained: whether a registry name without weights is a model, too, with random ones.
            **arguments: for a registered model: `seed` and `input_size` of one with random weights, and keywords of
                `create_model`, by which published weights are chosen, too.

        Raises:
            UserError: it means nothing, or something else; it is damaged, or has no such weights or arguments.
        """
        name_or_path = os.path.expanduser(name_or_path)
        if weights not in (None, IMAGENET):
            raise UserError(f"`weights` is {IMAGENET!r}, or left out. Received: {weights!r}")
        for kind in _kinds(cls):
            if kind.weights == weights and kind.claims(name_or_path):
                if not (kind.is_trained or untrained):
                    raise UserError(
                        f"{name_or_path!r} is the name of a registered model, which has no weights of its own: "
                        "`weights='imagenet'` is for published ones"
                    )
                kind.check_arguments(name_or_path, arguments)
                opened = kind(name_or_path, **arguments)
                return opened.with_raw_weights() if raw else opened
        raise _unknown(pathlib.Path(name_or_path), untrained)

    @classmethod
    @abc.abstractmethod
    def claims(cls, name: str) -> bool:
        """Whether a name, with the `weights` of this kind, means a model of it, judged without loading anything."""

    @classmethod
    def check_arguments(cls, name: str, arguments: Mapping[str, Any]) -> None:
        """Raises a `UserError` for the first of the arguments of `open` that a model of this kind does not have."""
        for argument in arguments:
            raise UserError(f"`{argument}` is for registered models, {name!r} is none")

    def with_raw_weights(self) -> StoredModel:
        """Returns the model with the last weights; raises a `UserError` where there are none besides the average."""
        raise UserError(f"only a run folder keeps the weights before averaging, {self.name!r} is none")

    def check_layers(self) -> None:
        """Raises a `UserError` for an export without layers, where a Keras model is needed."""
        if not self.has_layers:
            raise UserError(
                "`model` must be a run folder, a .keras file or a SavedModel with its Keras network, as version 0.2 "
                f"and later export it; {self.name!r} is a {self.kind} export: it has no layers"
            )

    @property
    @abc.abstractmethod
    def task(self) -> str:
        """The name of its task, one of `TASKS`, without loading it."""

    @property
    def is_plain(self) -> bool:
        """Whether the network is known to have no CondConv layer, before it is loaded."""
        return False

    @property
    def sha256(self) -> str:
        """The SHA-256 of what it is stored in, hexadecimal; raises a `UserError` for a kind that has none."""
        raise UserError(f"expected a stored model, {self.name!r} is none")

    @property
    def has_experts(self) -> bool:
        """Whether the network has CondConv layers, before it is loaded."""
        return False

    def require_packages(self) -> None:
        """Raises a `MissingPackage` unless the packages that it needs are installed; loads nothing."""
        get_task(self.task).require()

    @abc.abstractmethod
    def load(self) -> tuple[keras.Model | Any, ModelCard | Any]:
        """Returns the model as it was stored and its card, as of `condconv_keras.load_model`."""

    def load_to_answer(self) -> tuple[keras.Model, ModelCard]:
        """Returns the Keras model, which has the outputs of its card, and the card, which says what they are.

        The model is as of `condconv_keras.stored.answering.to_answer`.

        Raises:
            UserError: it has no layers (`check_layers`), is damaged, has no card, or another model's; or as of
                `condconv_keras.models.returned.with_returns`.
        """
        self.check_layers()
        raise NotImplementedError

    @abc.abstractmethod
    def predictor(self, num_threads: int | None = None) -> Predictor:
        """Loads the model for answers.

        Args:
            num_threads: threads of a `.tflite` file's interpreter, or None for LiteRT's choice.

        Returns:
            A `Predictor`.

        Raises:
            UserError: it is corrupt, has no card, or not the outputs of its card.
            MissingPackage: a package that it needs is not installed.
        """

    def to_dict(self) -> dict[str, Any]:
        """Returns where the model comes from, as a dict that JSON can hold."""
        return {"name": self.name, "kind": self.kind}


def is_file(name: str | os.PathLike[str], suffix: str) -> bool:
    """Whether something that is no folder lies at a path with this ending."""
    path = pathlib.Path(name)
    return path.suffix == suffix and path.exists() and not path.is_dir()


def _kinds(kind: type[StoredModel]) -> Iterator[type[StoredModel]]:
    """The subclasses of a class that have a name, whatever their depth."""
    for subclass in kind.__subclasses__():
        if "kind" in vars(subclass):
            yield subclass
        yield from _kinds(subclass)


def _unknown(path: pathlib.Path, untrained: bool) -> UserError:
    """The `UserError` for what is no stored model; `untrained` as in `StoredModel.open`."""
    expected = "expected a run folder, .keras file, SavedModel or .tflite file"
    if not path.exists():
        names = f": {unknown_name('model', str(path), list_models())}" if untrained else ""
        return UserError(f"{expected}, nothing lies at {str(path)!r}{names}")
    if (path / FILE_NAME).is_file():
        exports = (p.name for p in path.iterdir() if p.suffix == ".tflite" or (p / "saved_model.pb").is_file())
        return UserError(f"{str(path)!r} holds exports; give one of them: {', '.join(sorted(exports))}")
    return UserError(f"{expected}, {str(path)!r} is none of them")
