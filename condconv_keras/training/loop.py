"""The training loop of a run: from the step that a checkpoint holds, or the first, to the last."""

import contextlib
import dataclasses
import math

import keras

from condconv_keras.layers.routers import routers
from condconv_keras.training import checkpoints
from condconv_keras.training.callbacks import Diverged, Epochs, Printed, Steps, read_history
from condconv_keras.training.distribution import distributed_batches, is_chief, on_any_worker
from condconv_keras.training.optimization import make_schedule
from condconv_keras.training.routing_watch import RoutingWatch


@dataclasses.dataclass(frozen=True)
class Segment:
    """Consecutive steps that one call of `fit` takes.

    Attributes:
        first_epoch, first_step: the epoch and, within it, the step that it starts with.
        last_epoch: the epoch that it ends before.
        frozen: whether the classifier alone is trained.
    """

    first_epoch: int
    first_step: int
    last_epoch: int
    frozen: bool


def segments(step, steps_per_epoch, epochs, freeze_epochs):
    """Yields the `Segment`s of a run from a step on, counted from its start."""
    epoch, first_step = divmod(step, steps_per_epoch)
    if first_step:
        yield Segment(epoch, first_step, epoch + 1, epoch < freeze_epochs)
        epoch += 1
    if epoch < freeze_epochs:
        yield Segment(epoch, 0, freeze_epochs, True)
        epoch = freeze_epochs
    if epoch < epochs:
        yield Segment(epoch, 0, epochs, False)


class TrainingLoop:
    """Trains the model of a run.

    Args:
        plan: `TrainingPlan`.
        run: `RunFolder`.
        model: `TrainingModel`.
        validate: function that returns the task's metrics of the network's present weights on the held-out split.
        termination: `Termination`.
    """

    def __init__(self, plan, run, model, validate, termination):
        self._plan = plan
        self._run = run
        self._model = model
        self._validate = validate
        self._termination = termination
        self._strategy = model.distribute_strategy
        self._writes = is_chief(self._strategy)
        self._checkpoints = checkpoints.Checkpoints(run.checkpoints)
        self._state = checkpoints.state_of(model)
        # One for all segments: it says nothing twice.
        watched = self._writes and routers(model.network)
        self._routing = RoutingWatch(model.network, plan, run) if watched else None

    def restore(self):
        """Goes back to the newest checkpoint that is whole; returns its step, or 0 and does nothing if there is none.

        Raises:
            UserError: there are checkpoints, but none is whole.
        """
        checkpoint = self._checkpoints.newest(self._state)
        if checkpoint is None:
            return 0
        checkpoints.restore(checkpoint, self._state)
        return checkpoint.step

    def run_from(self, step):
        """Trains from a step, counted from the start of the run, to the end.

        Raises:
            Diverged: the loss or a weight is not finite.
            OSError: a file cannot be written.
        """
        recipe = self._plan.recipe
        complete = step // self._plan.steps_per_epoch
        if step % self._plan.steps_per_epoch == 0 and complete > len(read_history(self._run.history, complete)):
            self._record_pending_epoch(complete - 1)
        # `fit` resets the metrics of an epoch, those of its first part included.
        metrics = [(v, v.numpy()) for name, v in self._state.items() if "metric" in name]
        for segment in segments(step, self._plan.steps_per_epoch, recipe.epochs, recipe.freeze_epochs):
            self._fit(segment, metrics if segment.first_step else [])

    def _fit(self, segment, metrics):
        execution = self._plan.config.execution
        steps = self._plan.steps_per_epoch - segment.first_step
        # Keras rounds the steps of an epoch up to whole executions; the rest of an epoch may need shorter ones.
        self._model.steps_per_execution = math.gcd(steps, execution.steps_per_execution)
        self._model.freeze(segment.frozen)

        def make_batches(shard):
            return self._plan.training_batches(segment.first_epoch, segment.first_step, shard)

        self._model.fit(
            distributed_batches(self._strategy, make_batches),
            steps_per_epoch=steps,
            epochs=segment.last_epoch,
            initial_epoch=segment.first_epoch,
            shuffle=False,  # the batches are shuffled already
            verbose=0,  # the callbacks print
            callbacks=self._callbacks(segment, metrics),
        )

    def _callbacks(self, segment, metrics):
        first_step = segment.first_epoch * self._plan.steps_per_epoch + segment.first_step
        every = self._plan.config.execution.checkpoint_every
        callbacks = [
            keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: _assign(metrics)),
            Steps(first_step, self._plan.steps_per_epoch, every, self._save, self._termination),
            *self._epochs_callbacks(),
        ]
        if self._writes:
            callbacks.append(keras.callbacks.TensorBoard(str(self._run.tensorboard), write_graph=False))
            callbacks.append(Printed(self._plan.recipe.epochs, self._routing))
        return callbacks

    def _epochs_callbacks(self):
        """What measures an epoch, in the order in which it is to be written."""
        schedule = make_schedule(self._plan.recipe, self._plan.steps_per_epoch)
        epochs = Epochs(self._run, self._plan.task, self._validated, schedule, self._writes)
        return [epochs] if self._routing is None else [self._routing, epochs]

    def _save(self, step):
        """Saves the state; returns whether a worker was asked to stop."""
        try:
            checkpoint = checkpoints.take(step, self._state)
        except checkpoints.NotFinite as error:
            raise Diverged(f"{self._state[error.name].path} is not finite after step {step}") from error
        if self._writes:
            self._checkpoints.save(checkpoint)
        return on_any_worker(self._strategy, self._termination.requested)

    def _validated(self):
        average = self._model.average
        with average.in_place() if average is not None else contextlib.nullcontext():
            return self._validate()

    def _record_pending_epoch(self, epoch):
        """Evaluates an epoch whose last step was the last that was saved."""
        logs = {name: float(v) for name, v in self._model.get_metrics_result().items()}
        for callback in self._epochs_callbacks():
            callback.set_model(self._model)
            callback.on_epoch_end(epoch, logs)


def _assign(values):
    for variable, value in values:
        variable.assign(value)
