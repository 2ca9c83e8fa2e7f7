"""Checkpoints of a run: one file each, whole or not there, and the newest one that can be read."""

import dataclasses
import json
import pathlib
import re
import sys

import numpy as np

from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.files import whole_file
from condconv_keras.utils.json_text import json_text
from condconv_keras.utils.lazy import LazyModule

safetensors = LazyModule("safetensors")
safetensors_numpy = LazyModule("safetensors.numpy")

KEPT = 2
_NAME = re.compile(r"step_(\d{10})\.safetensors")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a run after a number of steps.

    Attributes:
        step: optimizer steps taken, counted from the start of the run.
        values: dict of variable name to array.
    """

    step: int
    values: dict


class NotFinite(ArithmeticError):
    """A variable to be stored holds NaN or infinity: `name`, as in `Checkpoint.values`."""

    def __init__(self, name):
        super().__init__(f"{name} is not finite")
        self.name = name


class Checkpoints:
    """The checkpoints in a folder: `step_<step>.safetensors`.

    Args:
        folder: path; made by the first `save`.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self._damaged = []

    def save(self, checkpoint):
        """Writes a checkpoint and removes all but the `KEPT` newest, and those that `newest` could not read.

        Args:
            checkpoint: `Checkpoint`.

        Raises:
            OSError: the file cannot be written.
        """
        for path in self._damaged:
            path.unlink(missing_ok=True)
        self._damaged = []
        metadata = {"checkpoint": json_text({"step": checkpoint.step}, indent=None)}
        with whole_file(self.folder / f"step_{checkpoint.step:010d}.safetensors") as partial:
            try:
                safetensors_numpy.save_file(checkpoint.values, partial, metadata=metadata)
            except safetensors.SafetensorError as error:
                raise OSError(f"cannot write a checkpoint in {str(self.folder)!r}: {one_line(error)}") from error
        for path in self._paths()[KEPT:]:
            path.unlink()

    def newest(self, variables):
        """Reads the newest checkpoint that is whole.

        Args:
            variables: dict of name to Keras variable, as for `take`.

        Returns:
            A `Checkpoint`, or None if there is no file.

        Raises:
            UserError: there are files, but none is whole and of these variables.
        """
        reasons = []
        for path in self._paths():
            try:
                checkpoint = _read(path, variables)
            except (OSError, ValueError, LookupError, TypeError, safetensors.SafetensorError) as error:
                reasons.append(f"{path.name}: {one_line(error, 120)}")
                print(f"passing over the checkpoint {str(path)!r} ({one_line(error, 120)})", file=sys.stderr)
                continue
            self._damaged = self._paths()[: len(reasons)]
            return checkpoint
        if reasons:
            raise UserError(
                f"no checkpoint in {str(self.folder)!r} is whole ({'; '.join(reasons)}); "
                "remove this folder to start anew"
            )
        return None

    def exist(self):
        """Whether there is a checkpoint, whole or not."""
        return bool(self._paths())

    def _paths(self):
        """The files, the newest first."""
        if not self.folder.is_dir():
            return []
        return sorted((path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def _read(path, variables):
    with safetensors.safe_open(path, framework="numpy") as file:
        step = json.loads(file.metadata()["checkpoint"])["step"]
        if set(file.keys()) != set(variables):
            raise ValueError("it holds other variables")
        values = {name: file.get_tensor(name) for name in variables}
    for name, value in values.items():
        if value.shape != tuple(variables[name].shape):
            raise ValueError(f"{name} has the shape {value.shape}, expected {tuple(variables[name].shape)}")
    return Checkpoint(step, values)


def take(step, variables):
    """Returns the `Checkpoint` of Keras variables, a dict by name.

    Every worker of a distributed run calls it: metrics are summed over the workers when they are read.

    Raises:
        NotFinite: a value is NaN or infinite.
    """
    values = {name: np.asarray(variable.numpy(), order="C") for name, variable in variables.items()}
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise NotFinite(name)
    return Checkpoint(step, values)


def restore(checkpoint, variables):
    """Puts the values of a checkpoint into the variables."""
    for name, variable in variables.items():
        variable.assign(checkpoint.values[name])


def state_of(model):
    """The variables that a `TrainingModel` goes on from, by name: everything that a step reads and changes."""
    groups = {
        "network": model.network.variables,
        "optimizer": model.optimizer.variables,
        "average": model.average.variables if model.average is not None else [],
        "metric": [v for metric in (model.loss_mean, *model.step_means) for v in metric.variables],
    }
    return {f"{group}.{i}": v for group, variables in groups.items() for i, v in enumerate(variables)}
