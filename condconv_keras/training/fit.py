"""Trains one run: from a configuration to a complete run folder."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from condconv_keras.data import Dataset, InputShard
from condconv_keras.data.bad_images import bad_images_named
from condconv_keras.data.record import DataRecord
from condconv_keras.layers import fold_routing
from condconv_keras.models.saving import save_model
from condconv_keras.training.callbacks import Diverged
from condconv_keras.training.config import TrainConfig
from condconv_keras.training.distribution import is_chief, is_multi_worker, synchronize_batch_norm, wait_for_all
from condconv_keras.training.experts import warn_of_pinned
from condconv_keras.training.initial_weights import InitialModel
from condconv_keras.training.loop import TrainingLoop
from condconv_keras.training.model import TrainingModel
from condconv_keras.training.plan import TrainingPlan
from condconv_keras.training.rules import check_config
from condconv_keras.training.run_data import continued_dataset
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.training.start import Loadable, with_initial_model
from condconv_keras.training.stored_classifier import StoredClassifier, StoredNetwork
from condconv_keras.training.termination import Termination
from condconv_keras.training.validation import Validator
from condconv_keras.utils.errors import UserError, op_reason
from condconv_keras.utils.files import write_text
from condconv_keras.utils.json_text import json_text
from condconv_keras.utils.keras_graph import compute_in_float32

_EVALUATION_BATCH = 256


def train(
    config: TrainConfig,
    run: RunFolder,
    dataset: Dataset,
    strategy: tf.distribute.Strategy,
    command: str,
    versions: Mapping[str, str],
    stored: Loadable | None = None,
) -> dict[str, Any] | None:
    """Trains a model, or goes on with a run that was interrupted, and evaluates it on every held-out example.

    Args:
        config: `TrainConfig`.
        run: `RunFolder` that was checked against the configuration.
        dataset: the data set of the configuration; for a run that goes on it is opened by the run's
            `condconv_keras.training.run_data.split_rule`.
        strategy: `tf.distribute.Strategy`, as of `distribution.make_strategy`.
        command: the command line, for the results.
        versions: dict of package name to version, for the results.
        stored: `StoredModel` of the configuration's model where that is none that is registered. A run that goes on
            does not need it.

    Returns:
        The results, as written to `results.json`: the metrics of the held-out split, `split`, `seconds` (of training,
        this process), `first_step` (that it began with, above 0 if it went on with a run), `epochs`, `parameters`,
        `command`, `versions` and, of a run that was made longer, `note`. Several workers all return the chief's results
        if they see its run folder; otherwise the others return None.

    Raises:
        UserError: settings cannot work together, the run goes on with data of other classes, the data, the batch size
            or the initial weights do not fit, an image that was not checked cannot be decoded, the loss is not finite,
            no checkpoint is whole, or TensorFlow stops, as when a worker is lost.
        OSError: a file cannot be written. The run folder stays whole.
        SystemExit: the process was sent SIGTERM; the run goes on where it stopped.
    """
    check_config(config)
    with bad_images_named(dataset):
        training = _Training(config, run, dataset, strategy, stored)
        start = time.monotonic()
        with training.termination.handled():
            first_step = training.run_loop()
            if is_chief(strategy):
                facts = {"seconds": round(time.monotonic() - start, 1), "first_step": first_step}
                training.write_results({**facts, "command": command, "versions": versions})
            wait_for_all(strategy)
    return run.read_results()


class _Training:
    """A run in this process: the model that it trains, and what it writes of it.

    Arguments and errors are those of `train`.
    """

    def __init__(
        self,
        config: TrainConfig,
        run: RunFolder,
        dataset: Dataset,
        strategy: tf.distribute.Strategy,
        stored: Loadable | None,
    ) -> None:
        self._run, self._strategy = run, strategy
        self._plan, initial, weights = _opened(config, run, dataset, stored)
        keras.utils.set_random_seed(config.seed)
        keras.config.set_dtype_policy(config.precision)
        self._replicas = strategy.num_replicas_in_sync
        # Or their errors, before the work.
        _ = self._plan.steps_per_epoch, InputShard(replicas=self._replicas).batch_size(self._plan.recipe.batch_size)
        self._model = self._make_model(initial, weights)
        self.termination = Termination()

    def _make_model(self, initial: StoredClassifier | InitialModel | None, weights: str | None) -> TrainingModel:
        """The `TrainingModel`, with the weights that the run starts from."""
        if isinstance(initial, StoredClassifier):
            self._plan.network = initial.network(self._plan)
        with self._strategy.scope():
            network = self._plan.build_network(weights)
        if isinstance(initial, InitialModel):
            scale = self._plan.recipe.router_scale
            initial.put_into(network, self._plan.router_images(), self._plan.card.class_names, scale)
        if initial is not None or weights is not None:
            warn_of_pinned(network)
        synchronize_batch_norm(network, self._plan.recipe.synchronized_bn and self._replicas > 1)
        with self._strategy.scope():
            return self._plan.make_training_model(network)

    @property
    def _evaluation(self) -> tuple[Dataset, str, int]:
        """The data set, its split and the batch of one replica that the network is evaluated on."""
        dataset = self._plan.dataset
        batch = min(_EVALUATION_BATCH, max(self._plan.recipe.batch_size // self._replicas, 1))
        return dataset, dataset.evaluation_split, batch

    def run_loop(self) -> int:
        """Trains from the newest checkpoint or the start to the end; returns the step that it began with.

        What stops it becomes one clear line, and a diverged run keeps its last good weights.
        """
        task, network, card = self._plan.task, self._model.network, self._plan.card
        validate = Validator(self._strategy, task.make_validation(network, card, *self._evaluation, repeated=True))
        loop = TrainingLoop(self._plan, self._run, self._model, validate, self.termination)
        first_step = loop.restore()
        if is_chief(self._strategy):
            text = None if self._plan.network is None else self._plan.network.text
            self._extensions = self._run.start(self._plan.config, first_step, text).extensions
        try:
            with bad_images_named(self._plan.dataset):
                loop.run_from(first_step)
        except Diverged as error:
            kept = self._kept(loop.restore())
            raise UserError(
                f"training diverged: {error}; {kept}; lower `learning_rate`, in another `model_dir`"
            ) from error
        except tf.errors.OpError as error:
            # With several workers it is nearly always one of the others that was lost.
            hint = "; start all workers again, with the same commands" if is_multi_worker(self._strategy) else ""
            raise UserError(f"training stopped: {op_reason(error)[:300]}{hint}") from error
        return first_step

    def _kept(self, good_step: int | None) -> str:
        """Saves the weights of the last good step of a diverged run, if there is one; returns what is kept, as text."""
        if not good_step:
            return "no step was good enough to be kept"
        if is_chief(self._strategy):
            self._save()
        return f"the weights of step {good_step} are kept in {str(self._run.model)!r}"

    def write_results(self, facts: Mapping[str, Any]) -> None:
        """Writes the weights and, last of all, the results: those of the weights that are to be used, and the facts."""
        network = self._save()
        task, card = self._plan.task, self._plan.card
        dataset, split, batch = self._evaluation
        metrics = task.evaluate(task.keras_predict(network, card), card, dataset, split, batch)
        results = {
            **metrics.to_dict(),
            **task.result_facts(metrics, card),
            "split": split,
            **dataset.left_out(*dataset.splits),
            "repeated_images": dataset.repeated[split],
            "epochs": self._plan.recipe.epochs,
            **_notes(self._extensions, self._plan.recipe.epochs),
            "parameters": network.count_params(),
            **facts,
        }
        write_text(self._run.results, json_text(results) + "\n")

    def _save(self) -> keras.Model:
        """Writes the weights that are to be used, averaged ones if there are, and the last ones beside those.

        Returns:
            The network that is to be used: routers have no options of training.
        """
        model, card = self._model, self._plan.card
        model.freeze(False)
        synchronize_batch_norm(model.network, False)
        compute_in_float32(model.network)
        if model.average is not None:
            save_model(fold_routing(model.network), card, self._run.raw_model)
            model.average.put()
        network = fold_routing(model.network)
        save_model(network, card, self._run.model)
        return network


def _notes(extensions: Sequence[Sequence[int]], epochs: int) -> dict[str, str]:
    """What the results say of a run that was made longer: the learning rates before were those of fewer epochs."""
    lengths = [*(earlier for _, earlier in extensions), epochs]
    raised = zip(extensions, lengths[1:], strict=True)
    notes = [f"epochs raised from {fewer} to {more} at step {step}" for (step, fewer), more in raised]
    return {"note": f"{'; '.join(notes)}; from there on the schedule is that of the new length"} if notes else {}


def _opened(
    config: TrainConfig, run: RunFolder, dataset: Dataset, stored_model: Loadable | None
) -> tuple[TrainingPlan, StoredClassifier | InitialModel | None, str | None]:
    """The `TrainingPlan`, what the run starts from or None, and the weights that the network is built with."""
    if run.has_checkpoint():
        stored = run.read_config()
        dataset = continued_dataset(stored, dataset)
        # The checkpoint holds the weights; the file that they started from may be gone.
        config = dataclasses.replace(config, inherited=stored.inherited, data=DataRecord.of(dataset))
        network = StoredNetwork.of_run(run) if config.is_stored else None
        return TrainingPlan(config, dataset, network), None, None
    config, initial = with_initial_model(dataclasses.replace(config, data=DataRecord.of(dataset)), stored_model)
    return TrainingPlan(config, dataset), initial, config.weights if initial is None else None
