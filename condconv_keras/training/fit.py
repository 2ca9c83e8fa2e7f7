"""Trains one run: from a configuration to a complete run folder."""

import dataclasses
import json
import time

import keras
import tensorflow as tf

from condconv_keras.data import InputShard
from condconv_keras.data.input.streams import ONE_PIPELINE, InputPosition
from condconv_keras.models.saving import save_model
from condconv_keras.tasks.table import get_task
from condconv_keras.training.callbacks import Diverged
from condconv_keras.training.distribution import is_chief, is_multi_worker, synchronise_batch_norm, wait_for_all
from condconv_keras.training.loop import TrainingLoop
from condconv_keras.training.model import TrainingModel
from condconv_keras.training.network import build_network, make_preprocessing, with_initial_model
from condconv_keras.training.optimization import apply_weight_decay, make_optimizer
from condconv_keras.training.rules import check_config
from condconv_keras.training.termination import Termination
from condconv_keras.training.validation import Validator
from condconv_keras.utils.errors import UserError, op_reason
from condconv_keras.utils.files import write_text
from condconv_keras.utils.keras_graph import compute_in_float32

_ROUTER_IMAGES = 64
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
    if run.has_checkpoint():
        # The checkpoint holds the weights; the file that they started from may be gone.
        config, initial, weights = dataclasses.replace(config, inherited=run.read_config().inherited), None, None
    else:
        config, initial = with_initial_model(config)
        weights = config.initial_weights if initial is None else None
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    recipe, task = config.recipe, get_task(config.task)
    preprocessing = make_preprocessing(config, dataset.image_shape[-1])
    card = task.make_card(config.model, dataset, preprocessing)
    steps = config.steps_per_epoch(dataset)
    InputShard(replicas=strategy.num_replicas_in_sync).batch_size(recipe.batch_size)  # or its error, before the work
    with strategy.scope():
        network = build_network(config, preprocessing.input_shape, len(dataset.class_names), weights)
    if initial is not None:
        initial.put_into(network, _router_images(dataset, preprocessing, config))
    synchronise_batch_norm(network, recipe.synchronized_bn and strategy.num_replicas_in_sync > 1)
    with strategy.scope():
        model = make_training_model(network, config, task, steps, len(dataset.class_names))
    batch = min(_EVALUATION_BATCH, max(recipe.batch_size // strategy.num_replicas_in_sync, 1))
    validation = task.make_validation(network, card, dataset, dataset.evaluation_split, batch, repeated=True)
    validate = Validator(strategy, validation)
    start = time.monotonic()
    termination = Termination()
    with termination.handled():
        loop = TrainingLoop(config, run, dataset, preprocessing, model, steps, validate, termination)
        step = loop.restore()
        if is_chief(strategy):
            run.start(config)
        _run(loop, step, run, card, model, strategy)
        seconds = time.monotonic() - start
        if is_chief(strategy):
            _save(model, card, run)
            predict = task.keras_predict(network, card)
            results = {
                **task.evaluate(predict, card, dataset, dataset.evaluation_split, batch).to_dict(),
                "split": dataset.evaluation_split,
                **dataset.left_out(*dataset.splits),
                "epochs": recipe.epochs,
                "seconds": round(seconds, 1),
                "first_step": step,
                "parameters": network.count_params(),
                "command": command,
                "versions": versions,
            }
            write_text(run.results, json.dumps(results, indent=2) + "\n")
        wait_for_all(strategy)
    return run.read_results()


def _router_images(dataset, preprocessing, config):
    """Some training images to fit new routers to: enough for a standard deviation, few enough for any memory."""
    count = min(_ROUTER_IMAGES, dataset.splits[dataset.train_split])
    task, position = get_task(config.task), InputPosition(config.seed)
    images, _ = next(iter(task.training_batches(dataset, preprocessing, count, None, position, ONE_PIPELINE)))
    return images


def make_training_model(network, config, task, steps, num_classes):
    """Returns the `TrainingModel` of a run, under the strategy whose scope is open.

    Args:
        network: built network; the recipe's weight decay is added to its variables.
        config: `TrainConfig`.
        task: its `Task`.
        steps: steps of an epoch.
        num_classes: classes of the data set.
    """
    recipe = config.recipe
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    optimizer = make_optimizer(recipe, steps, replicas)
    apply_weight_decay(network, recipe, optimizer)
    return TrainingModel(
        network,
        task.make_objective(recipe, num_classes),
        task.step_means,
        optimizer,
        ema_decay=recipe.ema_decay,
        mean_gradients=recipe.clip_norm is not None,
        jit_compile=config.execution.jit_compile,
        steps_per_execution=config.execution.steps_per_execution,
    )


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
    synchronise_batch_norm(model.network, False)
    compute_in_float32(model.network)
    if model.average is not None:
        save_model(model.network, card, run.raw_model)
        model.average.put()
    save_model(model.network, card, run.model)
