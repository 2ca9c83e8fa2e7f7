"""Evaluates a stored classifier or detector: `python eval.py --model=runs/digits`.

--model is a run folder, a `.keras` file, a SavedModel or a `.tflite` file; with --weights=imagenet it is the name of a
registered model, whose published weights are downloaded once. Every example of the split is counted once.

The results are printed. --per_class_csv, --confusion_csv and --confusion_png write what they show in files, which are
replaced; --results_csv adds a row to a table of models.
"""

import contextlib
import os
import pathlib

from absl import flags

from condconv_keras.commands import cli, reports
from condconv_keras.facts.model_card import CLASSIFICATION, DETECTION
from condconv_keras.pretrained import model_file
from condconv_keras.stored.predictor import model_kind, model_task, open_predictor, require_packages
from condconv_keras.tasks.detection import DetectionMetrics
from condconv_keras.tasks.table import get_task
from condconv_keras.training.config import STRATEGIES, Execution, open_run_dataset
from condconv_keras.training.distribution import is_chief, make_strategy
from condconv_keras.training.rules import check_devices
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.training.validation import Validator
from condconv_keras.utils import figures
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import check_parents, check_writable
from condconv_keras.utils.lazy import require

FLAGS = flags.FLAGS

_OUTPUTS = {"per_class_csv": ".csv", "confusion_csv": ".csv", "confusion_png": ".png", "results_csv": ".csv"}


def main(argv):
    if len(argv) > 1:
        raise UserError(f"expected flags only, received: {' '.join(argv[1:])}")
    _check_outputs({name: FLAGS[name].value for name in _OUTPUTS if FLAGS[name].value is not None})
    path = _model_path()
    strategy = _make_strategy(path)
    task_name = model_task(path)
    _check_task_flags(task_name)
    _require_packages(path, task_name)
    dataset, split = _open_split(path, task_name)
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        predictor = open_predictor(path, FLAGS.raw_weights)
    predictor.card.check_classes(dataset)
    metrics = _evaluate(get_task(task_name), predictor, dataset, split, strategy)
    if strategy is not None and not is_chief(strategy):
        return None
    results = {
        **metrics.to_dict(),
        "model": _model_name(path),
        "kind": predictor.kind,
        "dataset": dataset.name,
        "split": split,
        **dataset.left_out(split),
    }
    _write_outputs(metrics, predictor, results["model"])
    if FLAGS.json:
        return cli.to_json(results)
    return cli.table(_detection_rows(results, metrics) if task_name == DETECTION else _rows(results))


def _check_task_flags(task_name):
    if task_name == CLASSIFICATION:
        return
    for name in ("confusion_csv", "confusion_png", "results_csv"):
        if FLAGS[name].value is not None:
            raise UserError(f"--{name} is for classifiers, the model is a detector")


def _require_packages(path, task_name):
    """Raises a `MissingPackage` unless all that the evaluation takes is installed, before it takes its time."""
    require_packages(path)
    get_task(task_name).require_metrics()
    if FLAGS.confusion_png is not None:
        require("matplotlib")


def _check_outputs(outputs):
    """Raises a `UserError` for a file that could not be written, before the evaluation takes its time.

    Args:
        outputs: dict of flag name to path.
    """
    places = {}
    for name, path in outputs.items():
        flag, suffix, path = f"--{name}", _OUTPUTS[name], pathlib.Path(path)
        # The ending keeps a slip of the pen from replacing a model.
        if path.suffix.lower() != suffix:
            raise UserError(f"{flag} takes a file that ends in {suffix}, received: {str(path)!r}")
        check_parents(path, name)
        if path.exists() and not path.is_file():
            raise UserError(f"{flag} takes a file, {str(path)!r} is none")
        check_writable(path, name)
        other = places.setdefault(path.resolve(), flag)
        if other != flag:
            raise UserError(f"{other} and {flag} name the same file {str(path)!r}")
    if "results_csv" in outputs:
        reports.check_results(outputs["results_csv"])


def _model_path():
    """The path of the model; raises a `UserError` unless one lies there."""
    if FLAGS.raw_weights and FLAGS.weights is not None:
        raise UserError("--raw_weights is for run folders, --weights for registered models")
    path = model_file(FLAGS.model, FLAGS.weights)
    model_kind(path, FLAGS.raw_weights)
    return path


def _model_name(path):
    """What the results call the model: the path or name as it was given, with --raw_weights the file inside the run."""
    return os.fspath(RunFolder(path).raw_model if FLAGS.raw_weights else FLAGS.model)


def _open_split(path, task_name):
    """The data set and the name of its split that the model at a path is evaluated on."""
    config = RunFolder(path).read_config() if model_kind(path) == "run" else None
    dataset = open_run_dataset(
        config, FLAGS.dataset, FLAGS.data_dir, FLAGS.validation_fraction, FLAGS.skip_bad_images, task_name
    )
    split = FLAGS.split or dataset.evaluation_split
    dataset.check_split(split)
    return dataset, split


def _make_strategy(path):
    """The strategy of --strategy, or None; to be called before TensorFlow computes anything."""
    execution = Execution(strategy=FLAGS.strategy, tpu=FLAGS.tpu, logical_cpus=FLAGS.logical_cpus)
    check_devices(execution)
    if execution.strategy == "none":
        return None
    if model_kind(path) not in ("run", "keras"):
        raise UserError(f"--strategy is for run folders and .keras files, {os.fspath(path)!r} is an export")
    return make_strategy(execution)


def _evaluate(task, predictor, dataset, split, strategy):
    if strategy is not None:
        validation = task.make_validation(predictor.model, predictor.card, dataset, split, FLAGS.batch_size)
        return Validator(strategy, validation)()
    return task.evaluate(predictor.predict, predictor.card, dataset, split, FLAGS.batch_size, with_progress=True)


def _write_outputs(metrics, predictor, name):
    class_names = predictor.card.class_names
    if FLAGS.per_class_csv and predictor.card.task == DETECTION:
        reports.write_per_class_ap(FLAGS.per_class_csv, metrics.per_class)
    elif FLAGS.per_class_csv:
        reports.write_per_class(FLAGS.per_class_csv, metrics.per_class, class_names)
    if FLAGS.confusion_csv:
        reports.write_confusion(FLAGS.confusion_csv, metrics.confusion, class_names)
    if FLAGS.confusion_png:
        figures.confusion_matrix(metrics.confusion, class_names, FLAGS.confusion_png)
    if FLAGS.results_csv:
        row = reports.results_row(name, metrics, predictor.card.preprocessing, predictor.parameters)
        reports.append_results(FLAGS.results_csv, row)


def _detection_rows(results, metrics):
    """COCO's table, then the AP of every class; "-" where there is nothing to find."""
    figures = [(name, results[name]) for name in DetectionMetrics.NAMES] + list(metrics.per_class.items())
    return _heading(results) + [(name, "-" if value is None else f"{value:.4f}") for name, value in figures]


def _heading(results):
    return [
        ("model", f"{results['model']} ({results['kind']})"),
        ("data set", f"{results['dataset']}, {results['examples']} examples of {results['split']}"),
    ]


def _rows(results):
    rows = [
        *_heading(results),
        ("top-1", f"{results['top_1']:.4f}"),
        ("top-5", f"{results['top_5']:.4f}"),
        ("loss", f"{results['loss']:.4f}"),
        *((f"macro {name}", f"{results[f'{name}_macro']:.4f}") for name in ("precision", "recall", "f1")),
    ]
    if results["not_finite"]:
        rows.append(("not finite", f"{results['not_finite']} answers, counted as wrong"))
    return rows


def _define_flags():
    flags.DEFINE_string("model", None, "Run folder, .keras file, SavedModel or .tflite file.", required=True)
    flags.DEFINE_string("weights", None, "'imagenet' for the published weights of a registered model.")
    flags.DEFINE_bool("raw_weights", False, "A run's last weights instead of their moving average.")
    flags.DEFINE_string("dataset", None, "A data set, as of train.py; default: the run's.")
    flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS data sets; default: the run's.")
    flags.DEFINE_string("split", None, "Split of the data set; default: its held-out one.")
    flags.DEFINE_float("validation_fraction", None, "Held-out part of data without a split of its own.", 0.0, 1.0)
    flags.DEFINE_bool("skip_bad_images", False, "Leave out images that cannot be decoded instead of stopping.")
    flags.DEFINE_integer("batch_size", 64, "Images at a time on one device; does not change the result.", lower_bound=1)
    flags.DEFINE_enum("strategy", "none", STRATEGIES, "Devices that share the images of a Keras model.")
    flags.DEFINE_string("tpu", None, "Name or address of the TPU for --strategy=tpu; default: this machine's.")
    flags.DEFINE_integer("logical_cpus", None, "Devices that --strategy=mirrored splits the CPU into.", lower_bound=1)
    flags.DEFINE_string("per_class_csv", None, "File to write: what is measured of every class.")
    flags.DEFINE_string("confusion_csv", None, "File to write: examples by class (row) and predicted class (column).")
    flags.DEFINE_string("confusion_png", None, "File to write: the confusion matrix as a picture.")
    flags.DEFINE_string("results_csv", None, "File to add a row to, in the columns and units of timm's results.")
    flags.DEFINE_bool("json", False, "Print the results as one JSON object.")


def run():
    """Runs the command."""
    _define_flags()
    cli.run(main)


if __name__ == "__main__":
    run()
