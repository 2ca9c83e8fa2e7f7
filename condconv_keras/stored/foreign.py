"""SavedModels that another program has written: classifiers that run, where their user says what a card would."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any, Literal

from condconv_keras.facts.model_card import CLASSIFICATION, ModelCard
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.models.returned import check_no_percent, probe_images, returned_by_value
from condconv_keras.serving.foreign_signature import ForeignSignature
from condconv_keras.stored.exports import SavedModel
from condconv_keras.stored.model import Predictor
from condconv_keras.tasks.classification.predictor import file_answers
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.text_files import read_text

_LABELS = "assets/labels.txt"


@dataclasses.dataclass(frozen=True)
class Description:
    """What the user says of a SavedModel without a card.

    Attributes:
        class_names: path of a file with the names of the classes, one a line, or None for the SavedModel's own
            `assets/labels.txt`.
        preprocessing: fields of `Preprocessing` but size and channels, which the signature has. `mean` and `std` are
            needed where it takes floats.
        signature, input_name, output_name: as of `ForeignSignature`.
        returns: what the output is, or None where it can be told by its values.
    """

    class_names: str | None = None
    preprocessing: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    signature: str = "serving_default"
    input_name: str | None = None
    output_name: str | None = None
    returns: Literal["logits", "probabilities"] | None = None


class ForeignSavedModel(SavedModel):
    """A classifier in a SavedModel without a card.

    Args:
        name: path of its folder.
        description: `Description`.

    Raises:
        UserError: the names of its classes are not there.
    """

    has_layers = False
    task = CLASSIFICATION
    applies_orientation = True

    def __init__(self, name, description):
        super().__init__(name)
        self._description = description
        self._class_names = _class_names(self.path, description.class_names)

    @functools.cached_property
    def card(self):
        """What the signature, its answers and the description say; raises a `UserError` where that is not enough."""
        preprocessing = self._preprocessing()
        card = ModelCard(self.path.resolve().name, self._class_names, preprocessing, returns=self._description.returns)
        if card.returns is not None:
            return card
        rows = self._rows(preprocessing, probe_images(preprocessing))
        check_no_percent(rows, f"the SavedModel {self.name!r}")
        returns = returned_by_value(rows)
        if returns is None:
            raise UserError(
                f"the SavedModel {self.name!r} returns numbers in 0..1 that do not sum to 1: where they are logits, "
                "`returns='logits'` says so"
            )
        return dataclasses.replace(card, returns=returns)

    def predictor(self, num_threads=None):
        del num_threads
        self.require_packages()
        card, advice = self.card, "`returns='logits'` says so"

        def predict(images):
            return file_answers(self._rows(card.preprocessing, images), self.path, card, advice=advice)

        return Predictor(card, self.kind, predict)

    @functools.cached_property
    def _signature(self):
        of = self._description
        return ForeignSignature(self.load_any(), self.path, of.signature, of.input_name, of.output_name)

    def _preprocessing(self):
        """The `Preprocessing` of the signature's input and the description."""
        signature, given = self._signature, dict(self._description.preprocessing)
        *size, channels = signature.input_shape
        scales = [name for name in ("mean", "std") if name in given]
        if signature.takes_pixels and scales:
            raise UserError(f"`{scales[0]}` is for a signature that takes floats, that of {self.name!r} takes pixels")
        if not signature.takes_pixels and len(scales) < 2:
            raise UserError(
                f"the signature of {self.name!r} takes floats: give `mean` and `std`, where (pixel - mean) / std is "
                "what it takes of pixels in 0..255 (0 and 1 where it scales them itself)"
            )
        try:
            return Preprocessing(tuple(size), channels, **{"mean": 0.0, "std": 1.0, **given})
        except ValueError as error:
            raise UserError(f"the SavedModel {self.name!r} takes other images: {one_line(error)}") from error

    def _rows(self, preprocessing, images):
        """What the signature returns of images in 0..255, float32 [count, classes]."""
        rows = self._signature(preprocessing.scale_images(images).numpy())
        if rows.shape[1:] != (len(self._class_names),):
            raise UserError(
                f"expected an output [images, {len(self._class_names)}], a column for each of `class_names`; that of "
                f"{self.name!r} is [images{''.join(f', {side}' for side in rows.shape[1:])}]"
            )
        return rows


def _class_names(path, given):
    """The names of the classes, a tuple."""
    file = path / _LABELS if given is None else pathlib.Path(given)
    if given is None and not file.is_file():
        raise UserError(
            f"the SavedModel {str(path)!r} has no card (assets.extra/model.json), as those of other programs: give "
            "`class_names`, a file with a name a line, and, where it takes floats, `mean` and `std`"
        )
    names = read_text(file, "a file with the name of a class a line").splitlines()
    if not names or not all(name.strip() for name in names):
        raise UserError(f"expected the name of a class on every line of {str(file)!r}, found an empty line or no line")
    return tuple(name.strip() for name in names)
