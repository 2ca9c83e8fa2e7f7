"""One training run as data: what `train.py` was asked for, resolved, and written to `config.json`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

from condconv_keras.data import Dataset, steps_per_epoch
from condconv_keras.data.record import DataRecord
from condconv_keras.facts import old_names
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.tasks.recipe import Recipe
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.json_text import json_text
from condconv_keras.utils.typed_fields import OTHER_FORM, check_types

Precision: TypeAlias = Literal["float32", "mixed_bfloat16", "mixed_float16"]
StrategyName: TypeAlias = Literal["none", "mirrored", "multi_worker_mirrored", "tpu"]
PRECISIONS = get_args(Precision)
STRATEGIES = get_args(StrategyName)


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a run is computed: what may change when it goes on, because it decides the speed and not the result.

    Attributes:
        strategy: one of `STRATEGIES`.
        tpu: name or address of the TPU for `"tpu"`, or None for the one of this machine.
        logical_cpus: the number of devices that the CPU is split into, to try a strategy without accelerators, or None.
        data_service: address of a tf.data service dispatcher that prepares the training batches, or None.
        jit_compile: whether XLA compiles the training step.
        steps_per_execution: training steps in one call of the compiled function.
        checkpoint_every: steps between checkpoints besides those at the end of every epoch, or None.
        deterministic: whether the same command computes the same numbers again, at the price of speed.
        log_routing: whether the routing weights of held-out images are logged to TensorBoard after every epoch.
    """

    strategy: StrategyName = "none"
    tpu: str | None = None
    logical_cpus: int | None = None
    data_service: str | None = None
    jit_compile: bool = False
    steps_per_execution: int = 1
    checkpoint_every: int | None = None
    deterministic: bool = False
    log_routing: bool = False


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One run: everything that decides its result, and how it is computed.

    Attributes:
        model: registry name, or the path of a stored classifier.
        model_arguments: keywords of `create_model` that the user gave, such as `num_experts`. For a stored classifier
            they are `num_experts`, `layers` and `routing_per` (`"layer"` or `"block"`), as `condconv_keras.to_condconv`
            has them, and `classifier_layer`, the name of the layer that classifies.
        dataset: `name` of `condconv_keras.data.open_dataset`.
        data_dir: as in `open_dataset`.
        validation_fraction: as in `open_dataset`.
        skip_bad_images: as in `open_dataset`.
        recipe_name: name of the recipe that `recipe` started from.
        recipe: `Recipe`, flags applied.
        precision: one of `PRECISIONS`.
        seed: integer.
        weights: start of the run: path of a `.keras` or `.weights.h5` file, `"imagenet"`, or None.
        inherited: the demands of the model of `weights` on this one, as `InitialModel.inherited`, or None. It is
            found when the run starts, so it is not compared with what a later command asks for.
        execution: `Execution`; not compared either.
        data: `DataRecord` of what the run was trained on, found when it starts and not compared here; None before, and
            of a run of version 0.1.
        task: one of `TASKS`.
        extensions: list of [step, epochs]: where a run that was to take so many epochs went on with more; not compared
            either.
        apply_orientation: as in `condconv_keras.data.open_dataset`. Runs of version 0.1 do not say it: they left images
            as they were stored.
        check_images: as in `condconv_keras.data.open_dataset`. It decides the order of the images, too: what is known
            to fit is kept in memory.
        model_sha256: SHA-256 of the stored classifier as a hexadecimal text, or None for a registered model. It is
            compared in place of the path.
        preprocessing: fields of `Preprocessing` that the user gave for a stored classifier.
    """

    model: str
    model_arguments: dict[str, Any]
    dataset: str
    data_dir: str | None
    validation_fraction: float
    skip_bad_images: bool
    recipe_name: str
    recipe: Recipe
    precision: Precision
    seed: int
    weights: str | None
    inherited: dict[str, Any] | None = None
    execution: Execution = Execution()
    task: str = ModelCard.task
    extensions: list[list[int]] = dataclasses.field(default_factory=list)
    data: DataRecord | None = None
    apply_orientation: bool = True
    check_images: bool = True
    model_sha256: str | None = None
    preprocessing: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_stored(self) -> bool:
        """Whether the model is a stored classifier, and no registered one."""
        return self.model_sha256 is not None

    @property
    def starts_anew(self) -> bool:
        """Whether the network has initial weights at the start."""
        return self.weights is None and not self.is_stored

    def to_json(self) -> str:
        """Returns the configuration as JSON text."""
        return json_text(dataclasses.asdict(self), sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> TrainConfig:
        """Returns the configuration of a `to_json` text, of an earlier version too; else raises a `UserError`."""
        try:
            fields = old_names.renamed(json.loads(text), old_names.RUN)
            recipe = get_task(fields.get("task", cls.task)).recipe.from_dict(fields["recipe"])
            nested = {
                "model_arguments": old_names.renamed(fields["model_arguments"], old_names.MODEL_ARGUMENTS),
                "recipe": recipe,
                "inherited": _inherited(fields.get("inherited")),
                "execution": Execution(**fields.get("execution", {})),
                "data": None if fields.get("data") is None else DataRecord.from_dict(fields["data"]),
            }
            config = cls(**{"apply_orientation": False, **fields, **nested})
            for part in (config, config.recipe, config.execution):
                check_types(part)
            return config
        except OTHER_FORM as error:
            raise UserError(f"expected the config.json of a training run: {one_line(error, 200)}") from error

    def steps_per_epoch(self, dataset: Dataset) -> int:
        """Returns the steps of an epoch; raises a `UserError` if the batch or the execution does not fit them."""
        steps = steps_per_epoch(dataset, dataset.train_split, self.recipe.batch_size)
        dataset.check_split(dataset.evaluation_split)
        at_a_time = self.execution.steps_per_execution
        if steps % at_a_time:
            fitting = max(k for k in range(1, at_a_time) if steps % k == 0)
            raise UserError(
                f"`steps_per_execution` must divide the {steps} steps of an epoch, as {fitting} does; "
                f"received: {at_a_time}"
            )
        return steps

    def extends(self, other: TrainConfig) -> bool:
        """Whether this is the configuration of another run with more epochs and nothing else different."""
        return self.recipe.epochs > other.recipe.epochs and self.differences(other) == ["recipe.epochs"]

    def differences(self, other: TrainConfig) -> list[str]:
        """Returns the names of the fields that differ, those of the recipe as `recipe.<name>`."""
        mine, theirs = (_flat(dataclasses.asdict(config)) for config in (self, other))
        names = {*mine, *theirs} - ({"model"} if self.is_stored and other.is_stored else set())
        return sorted(name for name in names if mine.get(name) != theirs.get(name))


def _inherited(fields: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a run inherits, as it is stored, under the names of today."""
    if fields is None:
        return None
    return {**fields, "preprocessing": old_names.renamed(fields["preprocessing"], old_names.PREPROCESSING)}


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    parts = ("recipe", "model_arguments", "preprocessing")
    nested = {f"{name}.{k}": v for name in parts for k, v in fields[name].items()}
    left_out = (*parts, "inherited", "execution", "data", "extensions")
    return {**{k: v for k, v in fields.items() if k not in left_out}, **nested}
