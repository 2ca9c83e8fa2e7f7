"""What a trained model needs to be used: its classes and its preprocessing, kept inside the `.keras` file."""

import dataclasses
import json
import zipfile

from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.utils.errors import UserError, one_line

CLASSIFICATION, DETECTION = TASKS = ("classification", "detection")
# A Keras file is a zip archive; Keras reads its own members and passes over this one.
_MEMBER = "condconv_keras.json"
FILE_NAME = "model.json"


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """How to feed a model and how to read its answer.

    Attributes:
        model: registry name.
        class_names: tuple of strings; output `i` is `class_names[i]`.
        preprocessing: `Preprocessing`.
        task: one of `TASKS`. A detector's output 0 is the background, its output `1 + i` is `class_names[i]`.
        category_ids: of a detector, the COCO id of each class, or None where its data had none.
    """

    model: str
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    task: str = CLASSIFICATION
    category_ids: tuple[int, ...] | None = None

    def to_json(self):
        """Returns the card as JSON text."""
        fields = {"model": self.model, "task": self.task, "class_names": list(self.class_names)}
        if self.category_ids is not None:
            fields["category_ids"] = list(self.category_ids)
        return json.dumps({**fields, "preprocessing": self.preprocessing.to_dict()}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text):
        """Returns the card of a `to_json` text; raises ValueError if it is not one."""
        try:
            fields = json.loads(text)
            preprocessing = Preprocessing.from_dict(fields["preprocessing"])
            class_names = tuple(map(str, fields["class_names"]))
            ids = fields.get("category_ids")
            ids = None if ids is None else tuple(map(int, ids))
            return cls(fields["model"], class_names, preprocessing, fields.get("task", cls.task), ids)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a model card: {error!r}") from error

    def check_classes(self, dataset):
        """Raises a `UserError` unless the model's output `i` and an `ImageDataset`'s label `i` mean the same class."""
        names = self.class_names
        if len(names) != len(dataset.class_names):
            raise UserError(
                f"the model has {len(names)} classes, the data set {dataset.name!r} has {len(dataset.class_names)}"
            )
        if names == tuple(map(str, range(len(names)))):
            return  # a model that does not know their names
        for i, (mine, theirs) in enumerate(zip(names, dataset.class_names, strict=True)):
            if mine != theirs:
                raise UserError(f"class {i} is {mine!r} for the model and {theirs!r} in the data set {dataset.name!r}")

    def put_into(self, path):
        """Adds the card to a `.keras` file that has none."""
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(_MEMBER, self.to_json())

    @property
    def labels(self):
        """The class names as the text of a `labels.txt`, one a line; raises a `UserError` if they are not that."""
        for i, name in enumerate(self.class_names):
            if not name or len(name.splitlines()) > 1:
                raise UserError(f"expected class names of one line, class {i} has the name {name!r}")
        return "".join(f"{name}\n" for name in self.class_names)


def check_archive(path):
    """Raises a `UserError` for what is seen at once, without Keras, to be no `.keras` file."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"expected a model saved as .keras, {str(path)!r} is damaged or none")


def archived_card(path):
    """Returns the `ModelCard` in a `.keras` file, or None if it has none; raises a `UserError` for a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return ModelCard.from_json(archive.read(_MEMBER)) if _MEMBER in archive.namelist() else None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"expected a model saved as .keras, {str(path)!r} is none ({one_line(error, 200)})") from error
