"""The models by name. Importing this module imports no Keras backend."""

from __future__ import annotations

import fnmatch
import types

from condconv_keras.facts.model_card import TASKS
from condconv_keras.models.entry import ModelEntry
from condconv_keras.models.families import (
    efficientnet,
    efficientnet_lite,
    mnasnet_a1,
    mobilenet_v1,
    mobilenet_v2,
    resnet50,
    small_networks,
    ssd,
)
from condconv_keras.utils.errors import unknown_name

# The zoo: a family is a module that ends with its entries.
_FAMILIES = (mobilenet_v1, mobilenet_v2, mnasnet_a1, resnet50, efficientnet, efficientnet_lite, ssd)
ZOO = types.MappingProxyType({entry.name: entry for family in _FAMILIES for entry in family.ENTRIES})
# The networks of our experiments: trained and stored as any other, but no part of the zoo and of its lists.
EXPERIMENTS = types.MappingProxyType({entry.name: entry for entry in small_networks.ENTRIES})


def list_models(pattern: str = "*", task: str | None = None) -> list[str]:
    """Returns the sorted names of the zoo's models.

    Args:
        pattern: shell pattern of the names, as in `"condconv_*"`.
        task: `"classification"`, `"detection"` or None for all.

    Raises:
        ValueError: another task.
    """
    if task not in (None, *TASKS):
        raise ValueError(f"`task` must be None or one of {TASKS}. Received: task={task!r}")
    return sorted(name for name in fnmatch.filter(ZOO, pattern) if task in (None, ZOO[name].task))


def model_entry(name: str) -> ModelEntry:
    """Returns the `ModelEntry` of a registered model, the experiments' too; raises `UserError` for an unknown name."""
    if not is_registered(name):
        raise unknown_name("model", name, ZOO)
    return ZOO.get(name) or EXPERIMENTS[name]


def is_registered(name: str) -> bool:
    """Whether a registered model has this name."""
    return name in ZOO or name in EXPERIMENTS


def published_models() -> tuple[str, ...]:
    """Returns the names of the models that have published weights, family by family."""
    return tuple(name for name, entry in ZOO.items() if entry.published)


def starting_model(name: str) -> str:
    """Returns the name of the model whose published weights a model can be trained from.

    It is the model itself or the backbone of a detector and, where none are published of a twin, its plain model. Of
    that there may be none either.
    """
    entry = model_entry(name)
    name = entry.backbone or name
    plain = name.removeprefix("condconv_")
    published = published_models()
    return plain if name not in published and plain in published else name
