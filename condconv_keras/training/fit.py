"""Trains one run: from a configuration and a model builder to a complete run folder."""

import csv
import json
import sys
import time

import numpy as np

from condconv_keras.data import Preprocessing, evaluation_batches, steps_per_epoch, training_batches
from condconv_keras.errors import UserError
from condconv_keras.evaluation import evaluate
from condconv_keras.files import write_text
from condconv_keras.model_card import ModelCard, save_model
from condconv_keras.predictors import compute_in_float32, keras_predict
from condconv_keras.training.optimization import apply_weight_decay, make_loss, make_optimizer

_ROUTER_IMAGES = 64


def train(config, run, dataset, build_model, preprocessing_of, command, versions, initial=None):
    """Trains a model, or goes on with a run that was interrupted, and evaluates it on every held-out example.

    Args:
        config: `TrainConfig`.
        run: `RunFolder` that was checked against the configuration.
        dataset: `ImageDataset` of the configuration.
        build_model: function of (input shape, number of classes) that returns the model of the configuration.
        preprocessing_of: function of the number of channels that returns the `Preprocessing`.
        command: the command line, for the results.
        versions: dict of package name to version, for the results.
        initial: `InitialModel` that a new run starts from, or None.

    Returns:
        The results, as written to `results.json`: dict of `top_1`, `top_5`, `loss`, `examples`, `split`, `seconds`
        (of training, this process), `epochs`, `parameters`, `command` and `versions`.

    Raises:
        UserError: the data, the batch size or the initial weights do not fit.
    """
    import keras

    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    recipe = config.recipe
    dataset.check_split(dataset.train_split)
    dataset.check_split(dataset.evaluation_split)
    preprocessing: Preprocessing = preprocessing_of(dataset.image_shape[-1])
    card = ModelCard(config.model, dataset.class_names, preprocessing)
    steps = steps_per_epoch(dataset, dataset.train_split, recipe.batch_size)
    model = build_model((*preprocessing.input_size, preprocessing.channels), len(dataset.class_names))
    if initial is not None:
        initial.put_into(model, _router_images(dataset, preprocessing, config))
    _compile(model, recipe, steps, len(dataset.class_names))
    run.start(config)
    start = time.monotonic()
    first_epoch = _restored_epoch(run)
    model.fit(
        training_batches(
            dataset,
            dataset.train_split,
            preprocessing,
            recipe.batch_size,
            recipe.augmentation,
            config.seed,
            first_epoch=first_epoch,
        ),
        validation_data=evaluation_batches(
            dataset, dataset.evaluation_split, preprocessing, recipe.batch_size, repeated=True
        ),
        steps_per_epoch=steps,
        epochs=recipe.epochs,
        initial_epoch=first_epoch,
        shuffle=False,  # the batches are shuffled already
        verbose=1 if sys.stderr.isatty() else 2,
        callbacks=_callbacks(run, first_epoch),
    )
    seconds = time.monotonic() - start
    if model.stop_training or not all(np.isfinite(v).all() for v in model.get_weights()):
        raise UserError("training diverged: the loss or a weight is not finite; lower --learning_rate")
    compute_in_float32(model)
    save_model(model, card, run.model)
    batches = evaluation_batches(
        dataset, dataset.evaluation_split, preprocessing, min(recipe.batch_size, 256), scaled=False
    )
    results = {
        **evaluate(keras_predict(model, card), batches).to_dict(),
        "split": dataset.evaluation_split,
        "skipped_images": sum(dataset.skipped.values()),
        "epochs": recipe.epochs,
        "seconds": round(seconds, 1),
        "parameters": model.count_params(),
        "command": command,
        "versions": versions,
    }
    write_text(run.results, json.dumps(results, indent=2) + "\n")
    return results


def _router_images(dataset, preprocessing, config):
    """Some training images to fit new routers to: enough for a standard deviation, few enough for any memory."""
    count = min(_ROUTER_IMAGES, dataset.splits[dataset.train_split])
    images, _ = next(iter(training_batches(dataset, dataset.train_split, preprocessing, count, seed=config.seed)))
    return images


def _compile(model, recipe, steps, num_classes):
    optimizer = make_optimizer(recipe, steps)
    apply_weight_decay(model, recipe, optimizer)
    model.compile(optimizer, make_loss(recipe, num_classes), metrics=["accuracy"], jit_compile=False)


def _restored_epoch(run):
    """The number of complete epochs of an interrupted run: where `BackupAndRestore` will go on."""
    metadata = run.checkpoint_metadata
    if not metadata.is_file():
        return 0
    try:
        return json.loads(metadata.read_text(encoding="utf-8"))["epoch"]
    except (ValueError, KeyError) as error:
        raise UserError(f"the checkpoint {str(metadata)!r} is damaged; start again in another --model_dir") from error


def _callbacks(run, first_epoch):
    import keras

    _drop_epochs_from(run.history, first_epoch)
    return [
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.BackupAndRestore(str(run.checkpoints), double_checkpoint=True),
        keras.callbacks.CSVLogger(str(run.history), append=run.history.is_file()),
        keras.callbacks.TensorBoard(str(run.tensorboard), write_graph=False),
    ]


def _drop_epochs_from(history, epoch):
    """Forgets the rows of epochs that an interrupted run logged and will repeat."""
    if not history.is_file():
        return
    with open(history, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    kept = [row for i, row in enumerate(rows) if i == 0 or (row and int(row[0]) < epoch)]
    write_text(history, "".join(",".join(row) + "\n" for row in kept))
