"""The table of runs that an experiment is made of."""

import dataclasses
import re
import shlex

from condconv_keras.models import model_entry
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.text_files import read_rows

COLUMNS = ("model", "width_multiplier", "num_experts", "seed", "flags")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the runs that differ in their seed alone have in common.

    Attributes:
        model: registry name.
        width_multiplier, num_experts: as text, the empty text where the flag is not given.
        flags: further flags of `train.py`, as text.
    """

    model: str
    width_multiplier: str
    num_experts: str
    flags: str


@dataclasses.dataclass(frozen=True)
class Run:
    """A row of the table.

    Attributes:
        setting: its `Setting`.
        seed: integer, as text.
        row: its number in the table, from 1; blank rows count.
    """

    setting: Setting
    seed: str
    row: int = dataclasses.field(default=1, compare=False)

    @property
    def name(self):
        """The name of the run's folder: model, width, experts, flags and seed."""
        setting = self.setting
        parts = [setting.model]
        if setting.width_multiplier:
            parts.append(f"width_{setting.width_multiplier}")
        if setting.num_experts:
            parts.append(f"experts_{setting.num_experts}")
        parts += [re.sub(r"[^\w.]+", "_", flag).strip("_") for flag in shlex.split(setting.flags)]
        return "-".join([*parts, f"seed_{self.seed}"])

    @property
    def arguments(self):
        """The arguments of `train.py`, but for the folder and what all runs have in common."""
        setting = self.setting
        given = {name: getattr(setting, name) for name in ("model", "width_multiplier", "num_experts")}
        given["seed"] = self.seed
        return [*(f"--{name}={value}" for name, value in given.items() if value), *shlex.split(setting.flags)]


def read_table(path):
    """Returns the list of `Run` of a CSV file with the columns of `COLUMNS`.

    An empty cell leaves its flag out; `flags` holds further ones as on a command line. A spreadsheet may have saved
    it, as `condconv_keras.utils.text_files.read_rows` says, with a comma for the point of a number.

    Raises:
        UserError: the file cannot be read, has other columns or no row, or a row has an unknown model, a value that is
            no number, or is there twice.
    """
    columns, rows = read_rows(path, "a CSV file of runs")
    if not rows or set(columns) != set(COLUMNS):
        received = ", ".join(columns) if rows else "no rows"
        raise UserError(f"expected the columns {', '.join(COLUMNS)} in {str(path)!r}, received: {received}")
    runs = {}
    for number, row in rows.items():
        place = f"row {number} of {str(path)!r}"
        if None in row:
            raise UserError(f"expected {len(COLUMNS)} cells in {place}, received more: {row[None]}; quote a comma")
        run = _run(row, number, place)
        same = [other for other, earlier in runs.items() if earlier.name == run.name]
        if same:
            raise UserError(f"{place} has the folder of row {same[0]}: {run.name}")
        runs[number] = run
    return list(runs.values())


def _run(row, number, place):
    model_entry(row["model"])  # or its error
    row["width_multiplier"] = re.sub(r"^(\d*),(\d+)$", r"\1.\2", row["width_multiplier"])
    for name, pattern, kind in (
        ("width_multiplier", r"(\d+\.?\d*|\.\d+)?", "a number"),
        ("num_experts", r"\d*", "an integer"),
        ("seed", r"\d+", "an integer"),
    ):
        if not re.fullmatch(pattern, row[name]):
            raise UserError(f"expected {kind} as `{name}` in {place}, received: {row[name]!r}")
    try:
        row["flags"] = shlex.join(shlex.split(row["flags"]))
    except ValueError as error:
        raise UserError(f"expected flags as on a command line in {place}, received: {row['flags']!r}") from error
    seed = row.pop("seed")
    return Run(Setting(**row), seed, number)
