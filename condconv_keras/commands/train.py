"""Trains a model: `python train.py --model=condconv_mobilenet_v1 --dataset=digits --model_dir=runs/digits`.

Everything about the run is written to --model_dir: `config.json`, `model.keras`, `history.csv`, `curves.png`,
`tensorboard/`, `checkpoints/` and `results.json`. The same command goes on with a run that was interrupted.
docs/training.md explains the recipes, several devices and machines, precision and resuming.
"""

import dataclasses
import os
import shlex
import sys

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.commands.names import started_as
from condconv_keras.commands.train_config import config_from_flags
from condconv_keras.commands.train_flags import define_flags
from condconv_keras.commands.trained_model import EQUAL_EXPERTS
from condconv_keras.data import InputShard
from condconv_keras.data.input.service import check_service
from condconv_keras.data.opening import find_source
from condconv_keras.data.unused_arguments import check_validation_fraction
from condconv_keras.facts.model_card import check_archive
from condconv_keras.models.saved_networks import is_saved_model, network_of
from condconv_keras.pretrained import IMAGENET
from condconv_keras.stored import StoredModel
from condconv_keras.tasks.table import get_task
from condconv_keras.training.distribution import check_workers, make_strategy
from condconv_keras.training.dry_run import describe_run, summary_rows
from condconv_keras.training.packages import require_run, require_step
from condconv_keras.training.run_data import split_rule
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.training.start import has_trained_experts, without_download
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import check_writable
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.versions import versions

fit = LazyModule("condconv_keras.training.fit")
stored_classifier = LazyModule("condconv_keras.training.stored_classifier")

FLAGS = flags.FLAGS
_PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy")


def main(argv):
    cli.expect_flags_only(argv)
    config, given = config_from_flags(FLAGS)
    check_workers(config.execution)
    InputShard(replicas=config.execution.logical_cpus or 1).batch_size(config.recipe.batch_size)
    run = None if FLAGS.model_dir is None else RunFolder(FLAGS.model_dir)
    if run is not None:
        config = run.continued(config, given)
        run.check(config)
    elif not FLAGS.dry_run:
        raise UserError("--model_dir is needed: the folder of the run")
    if FLAGS.dry_run:
        _check_weights_file(config, given)
        require_step(config)
        return describe(config, _open_dataset(config, given, run), run)
    results = run.results_of(config)
    if results is None and run.read_results() is not None:
        print(f"{run.path} goes on to {config.recipe.epochs} epochs", file=sys.stderr)
    if results is None:
        check_writable(run.path, "model_dir")
        if not run.has_checkpoint():
            _check_weights_file(config, given)
        require_run(config)
        if config.execution.data_service is not None:
            check_service(config.execution.data_service)
        results = train(config, run, *_open_dataset_and_devices(config, given, run))
    else:
        print(f"{run.path} is complete; these are its results", file=sys.stderr)
    if results is None:  # of a worker that does not see the chief's run folder
        return None
    return cli.to_json(results) if FLAGS.json else summary(config, run, results)


def _check_weights_file(config, given):
    """Raises a `UserError` for a file of weights that is none, and for given flags that it leaves nothing to do."""
    path = config.weights
    if path not in (None, IMAGENET):
        if is_saved_model(path):
            network_of(path)
        elif not os.path.isfile(path):
            raise UserError(f"--weights is {IMAGENET!r}, an existing file or a SavedModel. Received: {path!r}")
        elif path.endswith(".keras"):
            check_archive(path)
    changes = {"expert_start": config.recipe.expert_start == "alike", "router_scale": config.recipe.router_scale != 1}
    for name in sorted(given & changes.keys()):
        if changes[name] and has_trained_experts(config):
            raise UserError(f"--{name} is for experts that start anew, those of --weights={path} are trained")
    if path is not None and "router_scale" in given and config.recipe.router_scale == 0:
        raise UserError(f"--router_scale must be positive: {EQUAL_EXPERTS.format(f'--weights={path}')}")


def _open_dataset(config, given, run):
    """Opens the data set as the run has split it, where it goes on."""
    stored = run.read_config() if run is not None and run.has_checkpoint() else None
    dataset = get_task(config.task).open_dataset(
        config.dataset,
        config.data_dir,
        config.validation_fraction,
        config.skip_bad_images,
        download=not FLAGS.dry_run,
        split_rule=split_rule(stored),
        apply_orientation=config.apply_orientation,
        check_images=config.check_images,
    )
    check_validation_fraction(given, dataset)
    get_task(config.task).check_training_data(dataset)
    if run is not None and dataset.takes_in(run.path):
        raise UserError(
            f"--model_dir {str(run.path)!r} lies among the images of {dataset.name!r}: give a folder elsewhere"
        )
    config.steps_per_epoch(dataset)
    return dataset


def _open_dataset_and_devices(config, given, run):
    """Opens the data set and makes the distribution strategy."""
    if find_source(config.dataset, config.data_dir).checks_images and config.execution.strategy != "none":
        # Opening it decodes its images; devices can only be set up before TensorFlow computes anything.
        strategy = make_strategy(config.execution)
        return _open_dataset(config, given, run), strategy
    # TensorFlow is not imported yet: a wrong name is answered at once.
    dataset = _open_dataset(config, given, run)
    return dataset, make_strategy(config.execution)


def train(config, run, dataset, strategy):
    """Runs the configuration; see `condconv_keras.training.fit.train`."""
    recipe = config.recipe
    if recipe.warmup_epochs >= recipe.epochs:
        print(f"the warm-up of {recipe.warmup_epochs:g} epochs does not end in {recipe.epochs}", file=sys.stderr)
    if recipe.routing_temperature > 1 and recipe.temperature_epochs > recipe.epochs:
        print(
            f"the temperature does not fall to 1 in {recipe.epochs} epochs, but in {recipe.temperature_epochs:g}",
            file=sys.stderr,
        )
    command = shlex.join([*started_as(), *sys.argv[1:]])
    stored = None if run.has_checkpoint() else _stored_model(config)
    return fit.train(config, run, dataset, strategy, command, versions(_PACKAGES), stored)


def _stored_model(config):
    """The `StoredModel` that a run starts from, None for a registered one."""
    return StoredModel.open(config.model) if config.is_stored else None


def describe(config, dataset, run=None):
    """Returns what `--dry_run` prints; nothing is written or downloaded."""
    if config.is_stored and run is not None and run.has_checkpoint():
        config = dataclasses.replace(config, inherited=run.read_config().inherited)
        description = describe_run(config, dataset, lambda plan: stored_classifier.StoredNetwork.of_run(run))
    else:
        config, initial = without_download(config, _stored_model(config))
        description = describe_run(config, dataset, initial.network if config.is_stored else None)
    return cli.to_json(description) if FLAGS.json else cli.table(summary_rows(description))


def summary(config, run, results):
    """Returns the results as the lines that a person reads."""
    return cli.table(
        [
            ("model", config.model),
            ("data set", f"{config.dataset}, {results['examples']} examples of {results['split']}"),
            *get_task(config.task).summary_rows(results),
            ("parameters", f"{results['parameters']:,}"),
            ("training", f"{results['epochs']} epochs, {results['seconds']} s"),
            ("run folder", run.path),
        ]
    )


def run():
    """Runs the command."""
    define_flags(FLAGS)
    cli.run(main)


if __name__ == "__main__":
    run()
