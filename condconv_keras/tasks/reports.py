"""What an evaluation can write besides its metrics."""

import csv
import dataclasses
import io
from collections.abc import Callable

from condconv_keras.facts.model_card import ModelCard


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What was evaluated, and the metrics.

    Attributes:
        name: of the model, for people.
        card: its card.
        parameters: number of trainable scalars, or None where it is unknown.
        metrics: as of `Task.evaluate`.
    """

    name: str
    card: ModelCard
    parameters: int | None
    metrics: object


@dataclasses.dataclass(frozen=True)
class Report:
    """A file that an evaluation can write.

    Attributes:
        suffix: that its path has to end in; it keeps a slip of the pen from replacing a model.
        help: what a program says of the option of its name.
        write: function of the path and the `Evaluation`; a file that lies there is replaced.
        packages: names of the packages that writing it takes.
        check: function of the path that raises a `UserError` for what cannot be written to, before the evaluation
            takes its time; or None.
    """

    suffix: str
    help: str
    write: Callable
    packages: tuple[str, ...] = ()
    check: Callable | None = None


def csv_text(rows):
    """Returns rows of values as CSV, lines ending in a line feed."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
