"""Trains one run: from a configuration to a complete run folder."""

import dataclasses
import json
import time

import keras
import tensorflow as tf

from condconv_keras.data import InputShard
from condconv_keras.models.saving import save_model
from condconv_keras.training.callbacks import Diverged
from condconv_keras.training.distribution import is_chief, is_multi_worker, synchronize_batch_norm, wait_for_all
from condconv_keras.training.loop import TrainingLoop
from condconv_keras.training.plan import TrainingPlan
from condconv_keras.training.rules import check_config
from condconv_keras.training.start import with_initial_model
from condconv_keras.training.termination import Termination
from condconv_keras.training.validation import Validator
from condconv_keras.utils.errors import UserError, op_reason
from condconv_keras.utils.files import write_text
from condconv_keras.utils.keras_graph import compute_in_float32

_EVALUATION_BATCH = 256


def train(config, run, dataset, strategy, command, versions):
    """Trains a model, or goes on with a run that was interrupted, and evaluates it on every held-out example.

    Args:
        config: `TrainConfig`.
        run: `RunFolder` that was checked against the configuration.
        dataset: the data set of the configuration.
        strategy: `tf.distribute.Strategy`, as of `distribution.make_strategy`.
        command: the command line, for the results.
        versions: dict of package name to version, for the results.

    Returns:
        The results, as written to `results.json`: the metrics of the held-out split, `split`, `seconds` (of training,
        this process), `first_step` (that it began with, above 0 if it went on with a run), `epochs`, `parameters`,
        `command` and `versions`. Of several workers, all return the chief's if they see its run folder, the others else
        None.

    Raises:
        UserError: settings cannot work together, the data, the batch size or the initial weights do not fit, the loss
            is not finite, no checkpoint is whole, or TensorFlow stops, as when a worker is lost.
        OSError: a file cannot be written. What is in the run folder stays whole.
        SystemExit: the process was sent SIGTERM; the run goes on where it stopped.
    """
    check_config(config)
    plan, initial, weights = _plan(config, run, dataset)
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    replicas = strategy.num_replicas_in_sync
    InputShard(replicas=replicas).batch_size(plan.recipe.batch_size)  # or its error, before the work
    model = _make_model(plan, initial, weights, strategy)
    batch = min(_EVALUATION_BATCH, max(plan.recipe.batch_size // replicas, 1))
    split = dataset.evaluation_split
    validation = plan.task.make_validation(model.network, plan.card, dataset, split, batch, repeated=True)
    validate = Validator(strategy, validation)
    start = time.monotonic()
    termination = Termination()
    with termination.handled():
        loop = TrainingLoop(plan, run, model, validate, termination)
        step = loop.restore()
        if is_chief(strategy):
            run.start(plan.config)
        _run(loop, step, run, plan.card, model, strategy)
        seconds = time.monotonic() - start
        if is_chief(strategy):
            _save(model, plan.card, run)
            predict = plan.task.keras_predict(model.network, plan.card)
            results = {
                **plan.task.evaluate(predict, plan.card, dataset, split, batch).to_dict(),
                "split": split,
                **dataset.left_out(*dataset.splits),
                "epochs": plan.recipe.epochs,
                "seconds": round(seconds, 1),
                "first_step": step,
                "parameters": model.network.count_params(),
                "command": command,
                "versions": versions,
            }
            write_text(run.results, json.dumps(results, indent=2) + "\n")
        wait_for_all(strategy)
    return run.read_results()


def _plan(config, run, dataset):
    """The `TrainingPlan`, the `InitialModel` or None, and the weights that the network is built with."""
    if run.has_checkpoint():
        # The checkpoint holds the weights; the file that they started from may be gone.
        return TrainingPlan(dataclasses.replace(config, inherited=run.read_config().inherited), dataset), None, None
    config, initial = with_initial_model(config)
    return TrainingPlan(config, dataset), initial, config.weights if initial is None else None


def _make_model(plan, initial, weights, strategy):
    """The `TrainingModel` of a run, with the weights that it starts from."""
    with strategy.scope():
        network = plan.build_network(weights)
    if initial is not None:
        initial.put_into(network, plan.router_images())
    synchronize_batch_norm(network, plan.recipe.synchronized_bn and strategy.num_replicas_in_sync > 1)
    with strategy.scope():
        return plan.make_training_model(network)


def _run(loop, step, run, card, model, strategy):
    """Runs the loop; what stops it becomes one clear line, and a diverged run keeps its last good weights."""
    try:
        loop.run_from(step)
    except Diverged as error:
        good = loop.restore()
        kept = "no step was good enough to be kept"
        if good:
            kept = f"the weights of step {good} are kept in {str(run.model)!r}"
            if is_chief(strategy):
                _save(model, card, run)
        raise UserError(f"training diverged: {error}; {kept}; lower `learning_rate`, in another `model_dir`") from error
    except tf.errors.OpError as error:
        # With several workers it is nearly always one of the others that was lost.
        hint = "; start all workers again, with the same commands" if is_multi_worker(strategy) else ""
        raise UserError(f"training stopped: {op_reason(error)[:300]}{hint}") from error


def _save(model, card, run):
    """Writes the weights that are to be used, averaged ones if there are, and the last ones beside those."""
    model.freeze(False)
    synchronize_batch_norm(model.network, False)
    compute_in_float32(model.network)
    if model.average is not None:
        save_model(model.network, card, run.raw_model)
        model.average.put()
    save_model(model.network, card, run.model)
