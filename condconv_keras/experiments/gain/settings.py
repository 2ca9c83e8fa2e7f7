"""The settings of the study: which data, which networks, and the flags of `train.py` that each side has."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping

PLAIN, TWIN = "plain", "twin"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What is compared.

    Attributes:
        dataset: `--dataset` of the runs.
        maker: the command that writes the data set, words after `python`, or None for an embedded one.
        held_out_images: how many training images settings are chosen on, what the maker's `--validation_images` takes.
        metric: the entry of `results.json` that is compared.
        common: flags that all sides have.
        sides: by name the flags of each side: `"plain"`, `"twin"` (the one that we recommend) and others.
    """

    dataset: str
    maker: tuple[str, ...] | None
    held_out_images: int = 0
    metric: str = "top_1"
    common: str = ""
    sides: Mapping[str, str]

    def arguments(self, side: str) -> list[str]:
        """The arguments of `train.py` for a side, but for the seed and what a study decides."""
        return [f"--dataset={self.dataset}", *shlex.split(self.common), *shlex.split(self.sides[side])]


@dataclasses.dataclass(frozen=True)
class PairedRun:
    """The training of one side with one seed, as `condconv_keras.experiments.runner` takes it."""

    setting: Setting
    side: str
    seed: int

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return f"{self.side}-seed_{self.seed}"

    @property
    def arguments(self) -> list[str]:
        """The arguments of `train.py`, but for the folder and what all runs have in common."""
        return [*self.setting.arguments(self.side), f"--seed={self.seed}"]
