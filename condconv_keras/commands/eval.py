"""Evaluates a stored classifier or detector: `python eval.py --model=runs/digits`.

--model is a run folder, a `.keras` file, a SavedModel or a `.tflite` file; with --weights=imagenet it is the name of a
registered model, whose published weights are downloaded once. Every example of the split is counted once.

The command prints the results. --per_class_csv, --confusion_csv and --confusion_png write them in more detail to files,
which they replace; --results_csv adds a row to a table of models.
"""

import contextlib
import os
import pathlib

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.commands.foreign_flags import define_foreign, open_to_run
from condconv_keras.commands.model_flags import check_of_task, define_check, define_orientation
from condconv_keras.data.bad_images import bad_images_named
from condconv_keras.tasks.reports import Evaluation
from condconv_keras.tasks.table import all_tasks, get_task
from condconv_keras.training.config import STRATEGIES, Execution
from condconv_keras.training.distribution import is_chief, make_strategy
from condconv_keras.training.rules import check_devices
from condconv_keras.training.run_data import labeled_dataset, open_run_dataset
from condconv_keras.training.validation import Validator
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import check_parents, check_writable
from condconv_keras.utils.lazy import require

FLAGS = flags.FLAGS


def main(argv):
    cli.expect_flags_only(argv)
    known = _reports()
    outputs = {name: FLAGS[name].value for name in known if FLAGS[name].value is not None}
    _check_outputs(outputs, known)
    if FLAGS.raw_weights and FLAGS.weights is not None:
        raise UserError("--raw_weights is for run folders, --weights for registered models")
    stored = open_to_run(FLAGS, FLAGS.weights, FLAGS.raw_weights)
    strategy = _make_strategy(stored)
    task = get_task(stored.task)
    reports = _chosen_reports(outputs, task)
    _require_packages(stored, task, reports)
    dataset, remarks, split = _open_split(stored)
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        predictor = stored.predictor()
    dataset = labeled_dataset(dataset, predictor.card, remarks)
    with bad_images_named(dataset):
        metrics = _evaluate(task, predictor, dataset, split, strategy)
    if strategy is not None and not is_chief(strategy):
        return None
    results = {
        **metrics.to_dict(),
        "model": _model_name(stored),
        "kind": predictor.kind,
        "dataset": dataset.name,
        "split": split,
        **dataset.left_out(split),
        "repeated_images": dataset.repeated[split],
    }
    evaluation = Evaluation(results["model"], predictor.card, predictor.parameters, metrics)
    for name, report in reports.items():
        report.write(outputs[name], evaluation)
    return cli.to_json(results) if FLAGS.json else cli.table([*_heading(results), *task.metric_rows(metrics)])


def _reports():
    """The reports of all tasks by name."""
    return {name: report for task in all_tasks() for name, report in task.reports.items()}


def _chosen_reports(outputs, task):
    """The reports that are asked for; raises a `UserError` for one that the task does not have."""
    for name in outputs:
        check_of_task(name, task, lambda task, name=name: name in task.reports)
    return {name: task.reports[name] for name in outputs}


def _require_packages(stored, task, reports):
    """Raises a `MissingPackage` unless all that the evaluation takes is installed, before it takes its time."""
    stored.require_packages()
    task.require_metrics()
    for report in reports.values():
        require(*report.packages)


def _check_outputs(outputs, known):
    """Raises a `UserError` for a file that could not be written, before the evaluation takes its time.

    Args:
        outputs: dict of flag name to path.
        known: dict of flag name to `Report`.
    """
    places = {}
    for name, path in outputs.items():
        flag, report, path = f"--{name}", known[name], pathlib.Path(path)
        if path.suffix.lower() != report.suffix:
            raise UserError(f"{flag} takes a file that ends in {report.suffix}, received: {str(path)!r}")
        check_parents(path, name)
        if path.exists() and not path.is_file():
            raise UserError(f"{flag} takes a file, {str(path)!r} is none")
        check_writable(path, name)
        other = places.setdefault(path.resolve(), flag)
        if other != flag:
            raise UserError(f"{other} and {flag} name the same file {str(path)!r}")
        if report.check is not None:
            report.check(path)


def _model_name(stored):
    """What the results call the model: the path or name as it was given, with --raw_weights the file inside the run."""
    return os.fspath(stored.file if FLAGS.raw_weights else stored.name)


def _open_split(stored):
    """The data set, what is to be known of it, and the name of its split that a stored model is evaluated on."""
    dataset, remarks = open_run_dataset(
        stored.config,
        FLAGS.dataset,
        FLAGS.data_dir,
        FLAGS.validation_fraction,
        FLAGS.skip_bad_images,
        stored.task,
        FLAGS.apply_orientation,
        stored.applies_orientation,
        FLAGS.check_images,
    )
    split = FLAGS.split or dataset.evaluation_split
    dataset.check_split(split)
    return dataset, remarks, split


def _make_strategy(stored):
    """The strategy of --strategy, or None; to be called before TensorFlow computes anything."""
    execution = Execution(strategy=FLAGS.strategy, tpu=FLAGS.tpu, logical_cpus=FLAGS.logical_cpus)
    check_devices(execution)
    if execution.strategy == "none":
        return None
    if not stored.answers_in_keras:
        raise UserError(f"--strategy is for run folders and .keras files, {stored.name!r} is an export")
    return make_strategy(execution)


def _evaluate(task, predictor, dataset, split, strategy):
    if strategy is not None:
        validation = task.make_validation(predictor.model, predictor.card, dataset, split, FLAGS.batch_size)
        return Validator(strategy, validation)()
    return task.evaluate(predictor.predict, predictor.card, dataset, split, FLAGS.batch_size, with_progress=True)


def _heading(results):
    return [
        ("model", f"{results['model']} ({results['kind']})"),
        ("data set", f"{results['dataset']}, {results['examples']} examples of {results['split']}"),
    ]


def _define_flags():
    flags.DEFINE_string("model", None, "Run folder, .keras file, SavedModel or .tflite file.", required=True)
    flags.DEFINE_string("weights", None, "'imagenet' for the published weights of a registered model.")
    flags.DEFINE_bool("raw_weights", False, "Evaluate a run's last weights instead of their moving average.")
    flags.DEFINE_string("dataset", None, "Data set, as for train.py; default: the run's.")
    flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS data sets; default: the run's.")
    flags.DEFINE_string("split", None, "Split of the data set; default: its held-out one.")
    flags.DEFINE_float(
        "validation_fraction", None, "Part to hold out of data without a split of its own; at most the run's.", 0.0, 1.0
    )
    flags.DEFINE_bool("skip_bad_images", False, "Leave out images that cannot be decoded instead of stopping.")
    define_check()
    define_orientation()
    flags.DEFINE_integer("batch_size", 64, "Images at a time on one device; does not change the result.", lower_bound=1)
    flags.DEFINE_enum("strategy", "none", STRATEGIES, "Strategy by which devices share the images of a Keras model.")
    flags.DEFINE_string("tpu", None, "Name or address of the TPU for --strategy=tpu; default: this machine's.")
    flags.DEFINE_integer("logical_cpus", None, "Devices that --strategy=mirrored splits the CPU into.", lower_bound=1)
    for name, report in _reports().items():
        flags.DEFINE_string(name, None, report.help)
    flags.DEFINE_bool("json", False, "Print the results as one JSON object.")
    define_foreign()


def run():
    """Runs the command."""
    _define_flags()
    cli.run(main)


if __name__ == "__main__":
    run()
