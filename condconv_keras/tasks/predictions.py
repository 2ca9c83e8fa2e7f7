"""What a program prints and writes of images without labels."""

import abc
import types
from collections.abc import Mapping


class Predictions(abc.ABC):
    """The predictions of the models of a task, in every format.

    Attributes:
        options: names of what a user may ask of them; those of other tasks are refused. Values come as a mapping.
        packages: dict of the name of an option to the packages that it takes when it is given.
    """

    options: tuple[str, ...] = ()
    packages: Mapping[str, tuple[str, ...]] = types.MappingProxyType({})

    def check(self, options, paths):  # noqa: B027 (most options can always be met)
        """Raises a `UserError` for an option that cannot be met, before the model is loaded.

        Args:
            options: mapping of all options to their values.
            paths: list of what names the images: paths, or objects with their `name`, `stem` and text.
        """

    @abc.abstractmethod
    def collect(self, card, answers, options):
        """Returns the predictions as a list, and writes the files that the options ask for.

        Args:
            card: the model's card.
            answers: iterable of (path, uint8 image [height, width, channels], answer): what the task's `predict`
                function returns, of one image.
            options: as in `check`.
        """

    @abc.abstractmethod
    def to_json(self, predictions):
        """Returns what JSON says of each image, a list of dicts."""

    @abc.abstractmethod
    def to_csv(self, predictions):
        """Returns the rows of a CSV file, the header first."""

    @abc.abstractmethod
    def to_rows(self, predictions):
        """Returns (path, text) pairs for a person."""
