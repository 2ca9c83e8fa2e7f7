"""Paired differences: what a side gains over another one with the same seeds."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Difference:
    """The mean of paired differences.

    Attributes:
        mean: of the differences.
        standard_error: of that mean: the sample standard deviation of the differences over the square root of their
            number; None for a single pair.
    """

    mean: float
    standard_error: float | None


def paired_difference(baseline: Sequence[float], side: Sequence[float]) -> Difference:
    """The `Difference` of two lists of values by seed, in the same order: how far `side` is above `baseline`.

    Raises:
        ValueError: no values, or not as many of both.
    """
    if not baseline or len(baseline) != len(side):
        raise ValueError(
            "`baseline` and `side` must have as many values, at least one. "
            f"Received: {len(baseline)} and {len(side)} values"
        )
    differences = [b - a for a, b in zip(baseline, side, strict=True)]
    return Difference(statistics.fmean(differences), error_of_mean(differences))


def error_of_mean(values: Sequence[float]) -> float | None:
    """The standard error of the mean of values; None for a single one."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
