"""What --model of a training command names, as its flags need it: a registered model, or a stored classifier."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from typing import Any

from absl import flags

from condconv_keras.commands.model_flags import MODEL_ARGUMENTS, check_placement, lacking_flags
from condconv_keras.commands.preprocessing_flags import PREPROCESSING_FLAGS, given_preprocessing
from condconv_keras.facts.model_card import CLASSIFICATION
from condconv_keras.models import list_models, model_entry
from condconv_keras.models.entry import ModelEntry
from condconv_keras.models.registry import is_registered
from condconv_keras.stored import StoredModel
from condconv_keras.tasks.recipe import EXPERT_FIELDS, Recipe
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import UserError, unknown_name
from condconv_keras.utils.files import absolute_path

# Flags of experts that start anew.
_OF_STARTS = ("expert_start", "router_scale")
# Why such a start needs routers that differ.
EQUAL_EXPERTS = "experts start as parts of the kernels of {}, and with equal routing weights they would stay equal"
# Flags of a conversion, which --num_experts asks for.
_OF_CONVERSION = ("layers", "routing_per")
# Arguments of a run of a stored classifier.
_STORED_ARGUMENTS = ("num_experts", *_OF_CONVERSION, "classifier_layer")
# Flags that a registered model has no use for. The crop is the recipe's.
_STORED_FLAGS = ("layers", "classifier_layer", *(name for name in PREPROCESSING_FLAGS if name != "crop_fraction"))


def trained_model(values: flags.FlagValues) -> RegisteredModel | StoredFile:
    """Returns what the flags say is trained.

    Args:
        values: `absl.flags.FlagValues`, parsed. A registered name comes before a path.

    Raises:
        UserError: it is neither a registered name nor a stored classifier, or CondConv layers start behind its end.
    """
    if not is_registered(values.model):
        return StoredFile.open(values.model, values.model_dir)
    entry = model_entry(values.model)
    check_placement(entry, values)
    return RegisteredModel(entry)


@dataclasses.dataclass(frozen=True)
class RegisteredModel:
    """A registered model.

    Attributes:
        entry: its `ModelEntry`.
    """

    entry: ModelEntry

    @property
    def task(self) -> str:
        return self.entry.task

    @property
    def recipe(self) -> str:
        return self.entry.recipe

    def input_size(self, recipe: Recipe) -> int | None:
        """The size in pixels where no flag says it."""
        return recipe.input_size or self.entry.input_size

    def starts_anew(self, values: flags.FlagValues) -> bool:
        """Whether it starts with initial values, and not those of a file."""
        return values.weights is None

    def lacking_flags(self, values: flags.FlagValues) -> dict[str, str]:
        """Flags that it has no use for, as of `condconv_keras.commands.model_flags.lacking_flags`."""
        reason = f"is for a stored --model, a file: {self.entry.name} is registered"
        return lacking_flags(self.entry) | dict.fromkeys(_STORED_FLAGS, reason)

    def config_fields(self, values: flags.FlagValues) -> dict[str, Any]:
        """The fields of the `TrainConfig` that say what is trained."""
        return {"model": self.entry.name, "model_arguments": _given(values, MODEL_ARGUMENTS)}


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """A stored classifier.

    Attributes:
        name: its absolute path.
        sha256: as of `StoredModel`.
        has_experts: whether it has CondConv layers; None where it is gone, and a run that it began goes on.
    """

    name: str
    sha256: str
    has_experts: bool | None

    task = CLASSIFICATION
    recipe = "small"

    @classmethod
    def open(cls, name: str, model_dir: str | None) -> StoredFile:
        """Finds the stored classifier of this path; where it is gone, a run that it began goes on.

        Args:
            name: path of a run folder, `.keras` file or SavedModel.
            model_dir: folder of the run, or None.

        Raises:
            UserError: nothing lies there, or something else.
        """
        path = absolute_path(name)
        if model_dir is not None and path == absolute_path(model_dir):
            raise UserError(f"--model={name} is the folder of the run itself: give another --model_dir")
        if not os.path.exists(path):
            return cls._of_run(name, path, model_dir)
        stored = StoredModel.open(path)
        stored.check_layers()
        if stored.task != CLASSIFICATION:
            raise UserError(
                f"expected a classifier in --model, {name!r} is for {stored.task}: --model=NAME --weights={name} "
                "starts a registered model from it"
            )
        return cls(path, stored.sha256, stored.has_experts)

    @classmethod
    def _of_run(cls, name: str, path: str, model_dir: str | None) -> StoredFile:
        run, began = None if model_dir is None else RunFolder(model_dir), ""
        if run is not None and run.config.is_file() and (run.has_checkpoint() or run.results.is_file()):
            config = run.read_config()
            if config.model_sha256 is not None and config.model == path:
                return cls(path, config.model_sha256, has_experts=None)
            began = f"; the run in {model_dir!r} was trained from {config.model!r} last"
        if os.sep in name or name.endswith(".keras"):
            expected = "expected a run folder, .keras file or SavedModel in --model"
            raise UserError(f"{expected}, nothing lies at {name!r}{began}")
        raise unknown_name("model", name, list_models())

    def starts_anew(self, values: flags.FlagValues) -> bool:
        """As of `RegisteredModel`."""
        return False

    def lacking_flags(self, values: flags.FlagValues) -> dict[str, str]:
        """Flags that it has no use for, a dict of flag to the reason."""
        of_registered = [name for name in MODEL_ARGUMENTS if name not in _STORED_ARGUMENTS]
        model = f"--model={self.name}"
        lacking = dict.fromkeys((*of_registered, "weights"), f"is for registered models, {model} is a file")
        if self.has_experts:
            lacking["num_experts"] = f"gives experts to plain models, {model} has them already"
            lacking |= dict.fromkeys(_OF_STARTS, f"is for experts that start anew, those of {model} are trained")
        elif values.router_scale == 0:
            lacking["router_scale"] = f"must be positive: {EQUAL_EXPERTS.format(f'--model={self.name}')}"
        if values.num_experts is None:
            lacking |= dict.fromkeys(_OF_CONVERSION, "is for a model that gets --num_experts")
            if self.has_experts is False:
                reason = f"is for networks with experts, {model} has none: --num_experts gives it some"
                lacking |= dict.fromkeys((*EXPERT_FIELDS, "log_routing"), reason)
        return lacking

    def input_size(self, recipe: Recipe) -> int | None:
        """The size in pixels where no flag says it: None for the network's own."""
        return None

    def config_fields(self, values: flags.FlagValues) -> dict[str, Any]:
        """As of `RegisteredModel`; raises a `UserError` for a value that a stored model cannot have."""
        if values.routing_per == "network":
            raise UserError("--routing_per of a stored model is block or layer. Received: 'network'")
        given = given_preprocessing(values, left_out=("crop_fraction",))
        return {
            "model": self.name,
            "model_arguments": _given(values, _STORED_ARGUMENTS),
            "model_sha256": self.sha256,
            # As JSON has it, which a run is compared by.
            "preprocessing": {name: list(v) if isinstance(v, tuple) else v for name, v in given.items()},
        }


def _given(values: flags.FlagValues, names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name].value for name in names if values[name].value is not None}
