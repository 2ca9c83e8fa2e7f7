"""What happens between the steps and after the epochs of a run."""

import math
import sys

import keras

from condconv_keras.training.model import STOP
from condconv_keras.training.routing_watch import IN_USE
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.figures import training_curves
from condconv_keras.utils.files import write_rows
from condconv_keras.utils.text_files import read_rows


class Diverged(ArithmeticError):
    """The loss or a weight is NaN or infinite."""


class Steps(keras.callbacks.Callback):
    """Counts the steps of the run, saves its state, and stops it when it diverges or is asked to.

    It comes first in the list: it takes `stop` out of the logs that the other callbacks see.

    Args:
        first_step: step of the run, counted from its start, before the first step of this `fit`.
        steps_per_epoch: of a whole epoch.
        checkpoint_every: steps between the checkpoints within an epoch, or None.
        save: function of the number of steps taken that saves the state and returns whether a worker was asked to
            stop.
        termination: `Termination`.
    """

    def __init__(self, first_step, steps_per_epoch, checkpoint_every, save, termination):
        super().__init__()
        self.step = first_step
        self.steps_per_epoch = steps_per_epoch
        self.checkpoint_every = checkpoint_every
        self.save = save
        self.termination = termination
        self._epoch_start = first_step

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start = self.step

    def on_train_batch_begin(self, batch, logs=None):
        self.termination.deferred = True
        if self.termination.requested:
            self.model.request_stop()

    def on_train_batch_end(self, batch, logs=None):
        before, self.step = self.step, self._epoch_start + batch + 1
        if not math.isfinite(logs["loss"]):
            raise Diverged(f"the loss is {logs['loss']} after step {self.step}")
        stop, saved = logs.pop(STOP) > 0, False
        if stop or self._is_due(before):
            stop, saved = self.save(self.step) or stop, True
        if stop:
            self.termination.end()
        # Ending at once loses nothing as long as the state is the one that was saved.
        self.termination.deferred = not saved

    def _is_due(self, before):
        """Whether a checkpoint is due after the steps since `before`."""
        if self.step % self.steps_per_epoch == 0:
            return True
        every = self.checkpoint_every
        return every is not None and self.step // every > before // every

    def on_epoch_end(self, epoch, logs=None):
        logs.pop(STOP, None)


class Epochs(keras.callbacks.Callback):
    """Evaluates after every epoch and writes the run's history and curves.

    Args:
        run: `RunFolder`.
        task: `Task`, whose columns the history has.
        validate: function that returns the task's held-out metrics.
        schedule: the learning rate, a function of the optimizer's step.
        writes: whether this process writes files.
    """

    def __init__(self, run, task, validate, schedule, writes):
        super().__init__()
        self.run = run
        self.task = task
        self.validate = validate
        self.schedule = schedule
        self.writes = writes

    def on_epoch_end(self, epoch, logs=None):
        metrics = self.validate()
        values = {column: getattr(metrics, name) for column, name in self.task.validation.items()}
        logs.update({column: value for column, value in values.items() if value is not None})
        # That of the epoch's last step: the optimizer has counted it already.
        logs["learning_rate"] = float(self.schedule(self.model.optimizer.iterations.numpy() - 1))
        if self.writes:
            rows = [*read_history(self.run.history, epoch), {"epoch": epoch, **logs}]
            columns = ("epoch", "loss", *self.task.step_means, *self.task.validation, "learning_rate")
            write_rows(self.run.history, columns, rows)
            training_curves(self.run.history, self.task.curves, self.run.curves)


class Printed(keras.callbacks.ProgbarLogger):
    """Prints the epochs of a run, of which this `fit` may be a part: a bar on a terminal, else a line each.

    Args:
        epochs: of the run.
        routing: `RoutingWatch` of the run, or None.
    """

    def __init__(self, epochs, routing=None):
        super().__init__()
        self._epochs_of_run = epochs
        self._routing = routing

    def set_params(self, params):
        verbose = 1 if sys.stderr.isatty() else 2
        super().set_params({**params, "epochs": self._epochs_of_run, "verbose": verbose})

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, dict(self._shown(logs or {})))

    def _shown(self, logs):
        """The logs by the names that are printed."""
        before = ""
        for name, value in logs.items():
            if name == IN_USE:
                # Keras prints a value as 30.0000. "30/32" becomes a part of the next name.
                before = f"{name}: {value:.0f}/{self._routing.experts} - "
            else:
                yield before + name, value
                before = ""


def read_history(path, epochs):
    """Returns the rows of the first `epochs` epochs in a `history.csv`, a dict each; none if there is no file.

    Raises:
        UserError: it is no such table.
    """
    if not path.is_file():
        return []
    _, rows = read_rows(path, "the CSV file of a run's epochs")
    if not all(row.get("epoch", "").isdecimal() for row in rows.values()):
        raise UserError(
            f"expected the number of an epoch as `epoch` in every row of {str(path)!r}; restore or remove the file"
        )
    return [row for row in rows.values() if int(row["epoch"]) < epochs]
