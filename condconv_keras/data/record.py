"""What a run remembers of its data, to say later whether they are still the same."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import ItemsView, Mapping
from typing import Any

from condconv_keras.data.dataset import Dataset
from condconv_keras.data.split_rule import NEW, PLACE, SLICE, SplitRule


@dataclasses.dataclass(frozen=True)
class DataRecord:
    """The classes of a data set and the images in each of its splits.

    Attributes:
        class_names: tuple of strings; label `i` is `class_names[i]`.
        split_rule: of a part that is held out the name of the rule, as in `condconv_keras.data.split_rule`; None where
            the data set has a split of its own to evaluate on.
        moved: names of the images that are on the other side than the rule says.
        splits: dict of split name to a dict of `examples`, their number, and `digest`, the SHA-256 of the sorted names
            of the images in hexadecimal, None where images have no names.
    """

    class_names: tuple[str, ...]
    split_rule: str | None
    moved: tuple[str, ...]
    splits: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, dataset: Dataset) -> DataRecord:
        """Returns the record of a data set."""
        splits = {split: _record_split(dataset, split) for split in dataset.splits}
        return cls(dataset.class_names, dataset.split_rule, dataset.moved, splits)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> DataRecord:
        """Returns the record of the dict of its fields; raises a ValueError if it is not one."""
        try:
            names, rule, moved = (fields[name] for name in ("class_names", "split_rule", "moved"))
            splits = {split: {"examples": int(of["examples"]), "digest": of["digest"]} for split, of in _items(fields)}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the record of a run's data: {error!r}") from error
        if rule not in (None, NEW.name, PLACE, SLICE):
            raise ValueError(f"unknown rule of a split {rule!r}: is it of a later version?")
        if not (isinstance(names, list | tuple) and isinstance(moved, list | tuple)):
            raise ValueError("not the record of a run's data: `class_names` and `moved` are lists")
        return cls(tuple(names), rule, tuple(moved), splits)

    @property
    def rule(self) -> SplitRule:
        """The `SplitRule` by which the data are opened again."""
        return NEW if self.split_rule in (None, SLICE) else SplitRule(self.split_rule, self.moved)

    def changes(self, dataset: Dataset) -> list[str]:
        """Lists how a data set differs from what was recorded, as texts: "train had 80 images and has 86"."""
        found = []
        for split, then in self.splits.items():
            now = _record_split(dataset, split) if split in dataset.splits else {"examples": 0, "digest": None}
            if now["examples"] != then["examples"]:
                found.append(f"{split} had {then['examples']} images and has {now['examples']}")
            elif now["digest"] != then["digest"]:
                found.append(f"{split} has {now['examples']} images as before, but not the same ones")
        new = [split for split in dataset.splits if split not in self.splits]
        return found + [f"{split} was not there" for split in new]


def _items(fields: Mapping[str, Any]) -> ItemsView[str, Any]:
    return fields["splits"].items()


def _record_split(dataset: Dataset, split: str) -> dict[str, Any]:
    names = dataset.example_names(split)
    digest = None if names is None else hashlib.sha256("\0".join(sorted(names)).encode("utf-8", "surrogateescape"))
    return {"examples": dataset.splits[split], "digest": digest and digest.hexdigest()}
