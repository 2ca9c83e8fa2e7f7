"""What a trained model needs to be used: its classes and its preprocessing, kept inside the `.keras` file."""

from __future__ import annotations

import dataclasses
import json
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, Literal, Self

from condconv_keras.facts.anchors import SSD_MOBILENET_V1, AnchorScheme
from condconv_keras.facts.class_names import told_apart
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.json_text import json_text
from condconv_keras.utils.lazy import keras
from condconv_keras.utils.lazy import numpy as np
from condconv_keras.utils.lazy import tensorflow as tf
from condconv_keras.utils.softmax import softmax
from condconv_keras.utils.typed_fields import OTHER_FORM, check_types

CLASSIFICATION, DETECTION = "classification", "detection"
# What the outputs of a classifier are.
LOGITS: Final = "logits"
PROBABILITIES: Final = "probabilities"
# What the reading of a damaged zip archive raises besides OSErrors and ValueErrors: errors of what decompresses it, and
# RuntimeErrors for a kind of compression or encryption that there is not.
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError)
# A Keras file is a zip archive; Keras reads its own members and passes over this one.
_MEMBER = "condconv_keras.json"
FILE_NAME = "model.json"


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """How to feed a classifier and how to read its answer; the base of the cards of other tasks.

    `ModelCard` with another `task` is the card of that task, as a `pathlib.Path` is one of the system.

    Attributes:
        model: registry name.
        class_names: tuple of strings; output `i` is `class_names[i]`.
        preprocessing: `Preprocessing`.
        task: one of `TASKS`, that of the class by default.
        returns: kind of a classifier's outputs, `"logits"` or `"probabilities"`; None where it has not been found out
            (`condconv_keras.models.returned`), as in cards of version 0.1. An exported file returns probabilities.

    Raises:
        ValueError: another task, or another value of `returns`.
    """

    model: str
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    task: str = CLASSIFICATION
    returns: Literal["logits", "probabilities"] | None = dataclasses.field(default=None, kw_only=True)

    # Beginnings of the names of the layers that predict the classes, which start anew where a network has other
    # classes, and of the predictors that a random network has to be scaled at.
    class_layers: ClassVar[tuple[str, ...]] = ("classifier",)
    predictor_layers: ClassVar[tuple[str, ...]] = ()

    def __new__(cls, *fields: Any, **named: Any) -> Self:
        task = dict(zip(_FIELDS, fields, strict=False)).get("task", named.get("task", cls.task))
        kind = card_class(task)
        if issubclass(kind, cls):
            return object.__new__(kind)
        if cls.task != task:
            raise ValueError(f"`task` of a {cls.__name__} is {cls.task!r}. Received: task={task!r}")
        return object.__new__(cls)

    def __post_init__(self) -> None:
        if self.returns not in (None, LOGITS, PROBABILITIES):
            raise ValueError(f"`returns` is {LOGITS!r}, {PROBABILITIES!r} or None. Received: returns={self.returns!r}")

    @staticmethod
    def number_of_classes(model: keras.Model) -> int | None:
        """The number of classes of a Keras model of the task, or None if it ends in features."""
        return model.output_shape[-1] if len(model.output_shape) == 2 else None

    def fits(self, model: keras.Model) -> bool:
        """Whether a Keras model has the outputs of the task and of the card's classes."""
        return len(getattr(model, "outputs", ())) == 1 and model.output_shape == (None, len(self.class_names))

    def inputs(self, images: Iterable[tf.Tensor | np.ndarray]) -> tf.Tensor:
        """Returns images as the model takes them: cropped, resized and scaled, with its number of channels.

        Args:
            images: sequence of arrays [height, width, channels] in 0..255 with 1 or 3 channels, of any sizes.

        Returns:
            A float32 tensor [images, height, width, channels].
        """
        return self.preprocessing.scale_images(self.preprocessing.evaluation_images(images))

    def top_classes(self, outputs: tf.Tensor | np.ndarray, k: int = 5) -> list[list[tuple[str, float]]]:
        """Reads the answers of a classifier.

        Args:
            outputs: array [images, classes] of what the model returns for some images.
            k: how many classes of each image are asked for.

        Returns:
            A list with a list for each image: `(name, probability)` of its `k` most probable classes, best first.

        Raises:
            ValueError: `outputs` has another shape, or the card does not say whether they are logits.
        """
        outputs = np.asarray(outputs)
        if outputs.ndim != 2 or outputs.shape[1] != len(self.class_names):
            raise ValueError(f"`outputs` is [images, {len(self.class_names)}]. Received: shape {outputs.shape}")
        if self.returns is None:
            raise ValueError(
                f"the card has to say whether outputs are logits: dataclasses.replace(card, returns={LOGITS!r}), or "
                f"{PROBABILITIES!r}. Received: returns=None"
            )
        rows = softmax(outputs) if self.returns == LOGITS else outputs
        return [[(name, probability) for _, name, probability in self.most_probable(row, k)] for row in rows]

    def most_probable(self, probabilities: np.ndarray, k: int) -> list[tuple[int, str, float]]:
        """Returns `(index, name, probability)` of the `k` most probable classes, best first, of an array [classes]."""
        order = (-probabilities).argsort(kind="stable")[:k]
        return [(int(i), self.class_names[i], float(probabilities[i])) for i in order]

    def to_json(self) -> str:
        """Returns the card as JSON text."""
        return json_text(self.to_dict()) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dict that JSON can hold."""
        names = {"model": self.model, "task": self.task, "class_names": list(self.class_names)}
        returns = {} if self.returns is None else {"returns": self.returns}
        return {**names, **returns, **self._further_fields(), "preprocessing": self.preprocessing.to_dict()}

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelCard:
        """Returns the card of a `to_json` text, or of its bytes; raises ValueError if it is not one."""
        try:
            fields = json.loads(text)
            preprocessing = Preprocessing.from_dict(fields["preprocessing"])
            class_names = tuple(map(_read_name, _checked_list(fields["class_names"])))
            kind = card_class(fields.get("task", cls.task))
            further = {"returns": fields.get("returns"), **kind._read_further_fields(fields)}
            card = kind(fields["model"], class_names, preprocessing, **further)
            check_types(card)
            return card
        except ValueError:
            raise
        except OTHER_FORM as error:
            raise ValueError(f"not a model card: {one_line(repr(error), 200)}") from error

    def _further_fields(self) -> dict[str, Any]:
        """What the card of a task has besides, as a dict that JSON can hold."""
        return {}

    @classmethod
    def _read_further_fields(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of what `_further_fields` wrote."""
        return {}

    def names_told_apart(self) -> tuple[str, ...]:
        """Returns the class names, those of one name told apart by what the card knows of them, a tuple."""
        return told_apart(self.class_names, range(len(self.class_names)))

    def with_orientation(self, apply_orientation: bool) -> Self:
        """Returns the card with this `apply_orientation` of its `Preprocessing`."""
        preprocessing = dataclasses.replace(self.preprocessing, apply_orientation=apply_orientation)
        return dataclasses.replace(self, preprocessing=preprocessing)

    def put_into(self, path: str | os.PathLike[str]) -> None:
        """Adds the card to a `.keras` file that has none."""
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(_MEMBER, self.to_json())

    @property
    def labels(self) -> str:
        """The class names as the text of a `labels.txt`, one a line; raises a `UserError` if they are not that."""
        for i, name in enumerate(self.class_names):
            if not name or len(name.splitlines()) > 1:
                raise UserError(f"expected class names of one line, class {i} has the name {name!r}")
        return "".join(f"{name}\n" for name in self.class_names)


@dataclasses.dataclass(frozen=True)
class DetectorCard(ModelCard):
    """How to feed a detector and how to read its answer: output 0 is the background, `1 + i` is `class_names[i]`.

    Attributes:
        category_ids: the COCO id of each class, or None where its data had none.
        anchors: `AnchorScheme` of the network.
    """

    task: str = DETECTION
    category_ids: tuple[int, ...] | None = None
    anchors: AnchorScheme = SSD_MOBILENET_V1

    class_layers: ClassVar[tuple[str, ...]] = ("class_head_",)
    predictor_layers: ClassVar[tuple[str, ...]] = ("box_head_", "class_head_")

    def names_told_apart(self) -> tuple[str, ...]:
        return told_apart(self.class_names, self.category_ids or range(1, 1 + len(self.class_names)))

    @property
    def anchor_boxes(self) -> np.ndarray:
        """The anchors for the model's input, float32 [anchors, 4], as of `AnchorScheme.boxes`."""
        return self.anchors.boxes(self.preprocessing.input_size)

    @staticmethod
    def number_of_classes(model: keras.Model) -> int:
        return model.output["class_logits"].shape[-1] - 1

    def fits(self, model: keras.Model) -> bool:
        anchors = len(self.anchors.boxes(model.input_shape[1:3]))
        expected = {"box_codes": (None, anchors, 4), "class_logits": (None, anchors, 1 + len(self.class_names))}
        outputs = model.output
        return isinstance(outputs, dict) and {name: tuple(x.shape) for name, x in outputs.items()} == expected

    def _further_fields(self) -> dict[str, Any]:
        ids = {} if self.category_ids is None else {"category_ids": list(self.category_ids)}
        return {**ids, "anchors": self.anchors.to_dict()}

    @classmethod
    def _read_further_fields(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        ids, anchors = fields.get("category_ids"), fields.get("anchors")
        return {
            "category_ids": None if ids is None else tuple(_checked_list(ids)),
            # Cards of version 0.1 do not have them: there was one detector.
            "anchors": SSD_MOBILENET_V1 if anchors is None else AnchorScheme.from_dict(anchors),
        }


def _read_name(value: object) -> str:
    """The name of a class as text; a number is one, too."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise TypeError(f"expected the name of a class, received: {value!r}")
    return str(value)


def _checked_list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, received: {value!r}")
    return value


_FIELDS = tuple(field.name for field in dataclasses.fields(ModelCard))
_KINDS: tuple[type[ModelCard], ...] = (ModelCard, *ModelCard.__subclasses__())
_CARDS = {card.task: card for card in _KINDS}
TASKS = tuple(_CARDS)


def card_class_of(model: keras.Model) -> type[ModelCard]:
    """Returns the class of the cards of a network's task, judged by the layers that predict the classes.

    A network of the zoo that ends in features is taken for a classifier's.
    """
    names = [layer.name for layer in model.layers]
    kinds = (card for card in _CARDS.values() if any(name.startswith(card.class_layers) for name in names))
    return next(kinds, ModelCard)


def card_class(task: str) -> type[ModelCard]:
    """Returns the class of the cards of a task; raises a ValueError for one that is not among `TASKS`."""
    if task not in _CARDS:
        raise ValueError(f"`task` must be one of {TASKS}. Received: task={task!r}")
    return _CARDS[task]


def check_archive(path: str | os.PathLike[str]) -> None:
    """Raises a `UserError` for what is seen at once, without Keras, to be no `.keras` file."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"expected a model saved as .keras, {str(path)!r} is damaged or none")


def check_members(path: str | os.PathLike[str]) -> None:
    """Raises a ValueError if a member of a `.keras` file is not what was written, by the sums that the archive keeps.

    Keras reads weights without looking at them where they do not fit, and so takes any.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"its {damaged} is damaged")


def archived_card(path: str | os.PathLike[str]) -> ModelCard | None:
    """Returns the `ModelCard` in a `.keras` file, or None if it has none; raises a `UserError` for a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return ModelCard.from_json(archive.read(_MEMBER)) if _MEMBER in archive.namelist() else None
    except (*DAMAGE, OSError, ValueError) as error:
        raise UserError(f"expected a model saved as .keras, {str(path)!r} is none ({one_line(error, 200)})") from error
