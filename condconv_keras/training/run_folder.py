"""The folder of one training run, and what may happen to one that exists."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Collection
from typing import Any

from condconv_keras.tasks.recipe import GENTLE_ROUTERS
from condconv_keras.training.checkpoints import Checkpoints
from condconv_keras.training.config import TrainConfig
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.files import check_parents, is_partial, remove_partials, write_text
from condconv_keras.utils.text_files import is_unicode
from condconv_keras.utils.typed_fields import OTHER_FORM

# Fields of a configuration, and of its recipe, that are as the run has them where a command does not say them: their
# default is another than it was in version 0.1, whose commands go on with its runs.
_KEPT = ("apply_orientation",)
_KEPT_OF_RECIPE = tuple(GENTLE_ROUTERS)


class RunFolder:
    """Where the files of a run lie.

    Args:
        model_dir: path of the folder.

    Attributes:
        path: the folder.
        config: `config.json`.
        network: `network.json`, of a run that trains a stored classifier: the network, as of
            `condconv_keras.models.network_text`.
        model: `model.keras`, the evaluated weights.
        history: `history.csv`.
        routing: `routing.csv`, of a network with CondConv layers, as of `condconv_keras.routing_statistics.by_epoch`.
        results: `results.json`, written last: a run that has it is complete.
        raw_model: `model_raw.keras`, the last weights as they are; only there where the recipe averages them, and
            `model` holds the average.
        curves: `curves.png`, the history as a picture.
        checkpoints: the folder of the states to go on from.
        tensorboard: the folder for TensorBoard.
    """

    def __init__(self, model_dir: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(model_dir)
        self.config = self.path / "config.json"
        self.network = self.path / "network.json"
        self.model = self.path / "model.keras"
        self.raw_model = self.path / "model_raw.keras"
        self.history = self.path / "history.csv"
        self.curves = self.path / "curves.png"
        self.routing = self.path / "routing.csv"
        self.results = self.path / "results.json"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"

    @staticmethod
    def is_run(path: str | os.PathLike[str]) -> bool:
        """Whether a path is the folder of a run."""
        return RunFolder(path).config.is_file()

    def read_config(self) -> TrainConfig:
        """Returns the `TrainConfig`; raises a `UserError` when the folder holds none."""
        if not self.config.is_file():
            raise UserError(f"expected the folder of a training run, {str(self.path)!r} has no config.json")
        try:
            return TrainConfig.from_json(self.config.read_bytes())
        except UserError as error:
            raise UserError(f"{str(self.config)!r} is damaged: {error}") from error

    def continued(self, config: TrainConfig, given: Collection[str]) -> TrainConfig:
        """Returns a configuration in which what a command does not say is as the run has it, if there is one.

        Args:
            config: `TrainConfig` of the command.
            given: set of the names of its flags.
        """
        if not self.config.is_file():
            return config
        run = self.read_config()
        kept = {name: getattr(run, name) for name in _KEPT if name not in given}
        of_recipe = {name: getattr(run.recipe, name) for name in _KEPT_OF_RECIPE if name not in given}
        try:
            recipe = dataclasses.replace(config.recipe, **of_recipe)
        except ValueError:  # what does not go together: the configurations differ, which is said of them
            recipe = config.recipe
        return dataclasses.replace(config, **kept, recipe=recipe)

    def check(self, config: TrainConfig) -> None:
        """Raises a `UserError` unless the folder is new, empty, or of a run of the configuration or of fewer epochs."""
        if not is_unicode(str(self.path)):
            # TensorBoard's writer takes no other, and fails when all else is there.
            raise UserError(f"expected a folder with a name in UTF-8 for `model_dir`, received: {str(self.path)!r}")
        check_parents(self.path, "model_dir")
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"`model_dir` must be a folder, {str(self.path)!r} is a file")
        if self.config.is_file():
            stored = self.read_config()
            differences = config.differences(stored)
            if "model_sha256" in differences and config.is_stored and stored.is_stored:
                raise UserError(
                    f"{config.model!r} is another model than the run in {str(self.path)!r} began with, by its SHA-256; "
                    "give another folder"
                )
            if differences and not config.extends(stored):
                raise UserError(
                    f"`model_dir` {str(self.path)!r} holds a run of another configuration "
                    f"(different: {', '.join(differences)}); give another folder"
                )
            if differences and self.results.is_file() and not self.has_checkpoint():
                raise UserError(
                    f"expected a checkpoint in {str(self.checkpoints)!r} to go on from with more `epochs`, found none"
                )
        elif self.path.is_dir() and any(not is_partial(entry) for entry in self.path.iterdir()):
            raise UserError(f"`model_dir` {str(self.path)!r} exists and is not the folder of a run; give another one")

    def has_checkpoint(self) -> bool:
        """Whether the run has begun: there is a checkpoint, whole or not."""
        return Checkpoints(self.checkpoints).exist()

    def read_network(self) -> str:
        """Returns the text of the stored classifier's network; raises a `UserError` if it is lost."""
        try:
            return self.network.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UserError(f"expected the network of the run in {str(self.network)!r}: {one_line(error)}") from error

    def start(self, config: TrainConfig, step: int = 0, network: str | None = None) -> TrainConfig:
        """Makes the folder and writes `config.json`, of a configuration that was checked.

        Files that an earlier process of the run left unfinished when it was killed are removed.

        Args:
            config: `TrainConfig`.
            step: that the run goes on from.
            network: text for `network.json`, if the run has one.

        Returns:
            The configuration as it was written, with what is known of the run's earlier lengths.
        """
        for folder in (self.path, self.checkpoints):
            remove_partials(folder)
        if self.config.is_file():
            stored = self.read_config()
            raised = [[step, stored.recipe.epochs]] if step and config.extends(stored) else []
            config = dataclasses.replace(config, extensions=stored.extensions + raised)
        if network is not None:
            write_text(self.network, network)
        write_text(self.config, config.to_json())
        return config

    def results_of(self, config: TrainConfig) -> dict[str, Any] | None:
        """Returns the results of the run if it is complete: has them, and of no fewer epochs; else None."""
        results = self.read_results()
        epochs = config.recipe.epochs
        return None if results is None or results.get("epochs", epochs) < epochs else results

    def read_results(self) -> dict[str, Any] | None:
        """Returns the results of a run that was complete once, of more epochs it may not be yet; else None."""
        if not self.results.is_file():
            return None
        try:
            results = json.loads(self.results.read_bytes())
            if not isinstance(results, dict) or not isinstance(results.get("epochs", 0), int):
                raise TypeError(f"expected an object whose `epochs` is an integer. Received: {results!r}")
        except OTHER_FORM as error:
            reason = one_line(error, 200)
            raise UserError(f"expected the results of a run, {str(self.results)!r} is damaged ({reason})") from error
        return results
