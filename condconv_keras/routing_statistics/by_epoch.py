"""`routing.csv` of a run: how its routers were after every epoch, a row for each epoch and layer."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from condconv_keras.routing_statistics.statistics import LayerStatistics
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.files import write_rows
from condconv_keras.utils.text_files import read_rows

_DIGITS = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoutingOfEpoch:
    """One row: the routing of a layer after an epoch. The columns of the file are these names.

    Attributes:
        epoch: from 0, as in `history.csv`.
        layer: name of the layer.
        experts: their number.
        in_use: as `LayerStatistics.in_use`, from 0 to `experts`; None where routers are no sigmoids, whose weights may
            be small where an expert is not dead.
        saturation: as `LayerStatistics.saturation`, in [0, 1].
        spread: as `LayerStatistics.spread`, in [0, 0.5] for a sigmoid.
        mean: of all weights of the layer, in [0, 1] for a sigmoid.
    """

    epoch: int
    layer: str
    experts: int
    in_use: int | None
    saturation: float
    spread: float
    mean: float

    @classmethod
    def of(cls, epoch: int, statistics: LayerStatistics, *, sigmoid: bool) -> RoutingOfEpoch:
        """Returns the row of the statistics of a layer, whose router is a `sigmoid` or not, rounded as in the file."""
        return cls(
            epoch=epoch,
            layer=statistics.name,
            experts=statistics.experts,
            in_use=statistics.in_use if sigmoid else None,
            saturation=round(statistics.saturation, _DIGITS),
            spread=round(statistics.spread, _DIGITS),
            mean=round(float(statistics.overall_mean.mean()), _DIGITS),
        )


_KINDS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "str": str,
    "float": float,
    "int | None": lambda cell: int(cell) if cell else None,
}
_COLUMNS = {field.name: _KINDS[str(field.type)] for field in dataclasses.fields(RoutingOfEpoch)}


def write_by_epoch(path: str | os.PathLike[str], rows: Iterable[RoutingOfEpoch]) -> None:
    """Writes the rows as a CSV file, whole or not at all."""
    write_rows(path, list(_COLUMNS), map(dataclasses.asdict, rows))


def read_by_epoch(path: str | os.PathLike[str]) -> tuple[RoutingOfEpoch, ...]:
    """Returns the rows of a file, none if there is no file; raises a `UserError` if it is no such table."""
    if not pathlib.Path(path).is_file():
        return ()
    _, rows = read_rows(path, "the CSV file of a run's routing")
    try:
        return tuple(map(_row, rows.values()))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"expected the columns {', '.join(_COLUMNS)} with their values in {str(path)!r} ({one_line(error)}); "
            "restore or remove the file"
        ) from error


def _row(cells: Mapping[str, str]) -> RoutingOfEpoch:
    row = RoutingOfEpoch(**{name: kind(cells[name]) for name, kind in _COLUMNS.items()})
    finite = all(map(math.isfinite, (row.saturation, row.spread, row.mean)))
    if not (row.epoch >= 0 and 0 <= (row.in_use or 0) <= row.experts and row.experts > 0 and finite):
        raise ValueError(f"a number is out of range in {row}")
    return row
