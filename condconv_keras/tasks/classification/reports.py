"""What an evaluation of a classifier can write: figures per class, the confusion matrix, a row of a table of models."""

import contextlib
import os
import pathlib

from condconv_keras.tasks.reports import Report, csv_text
from condconv_keras.utils import figures
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import write_text
from condconv_keras.utils.lazy import LazyModule

fcntl = LazyModule("fcntl")  # which Windows lacks

# Those of timm's results/results-imagenet.csv: accuracies and errors in percent, parameters in millions.
RESULTS_COLUMNS = (
    "model",
    "img_size",
    "top1",
    "top1_err",
    "top5",
    "top5_err",
    "param_count",
    "crop_pct",
    "interpolation",
)


def write_per_class(path, per_class, class_names):
    """Writes one row per class, whole or not at all: index, name, support and the fractions of `ClassMetrics`.

    Args:
        path: path to write; a file that lies there is replaced.
        per_class: `condconv_keras.tasks.classification.metrics.ClassMetrics`.
        class_names: sequence of strings.
    """
    rows = [["class", "name", "support", "precision", "recall", "f1", "top_1"]]
    for i, name in enumerate(class_names):
        precision, recall, f1 = (f"{v[i]:.6f}" for v in (per_class.precision, per_class.recall, per_class.f1))
        # The top-1 accuracy on the examples of one class is its recall.
        rows.append([i, name, per_class.support[i], precision, recall, f1, recall])
    write_text(path, csv_text(rows))


def write_confusion(path, matrix, class_names):
    """Writes a confusion matrix, whole or not at all: a row per class, a column per predicted class.

    Args:
        path: path to write; a file that lies there is replaced.
        matrix: integers [classes, classes].
        class_names: sequence of strings.
    """
    rows = [["class", *class_names], *([name, *counts] for name, counts in zip(class_names, matrix, strict=True))]
    write_text(path, csv_text(rows))


def results_row(model, metrics, preprocessing, parameters):
    """Returns the values of `RESULTS_COLUMNS`, written as timm writes them.

    Args:
        model: name for the row.
        metrics: `condconv_keras.tasks.classification.metrics.Metrics`.
        preprocessing: `condconv_keras.data.Preprocessing` of the model. `img_size` is its height and width where they
            are equal, else `<height>x<width>`.
        parameters: number of parameters, or None where it is unknown; the field is empty then.
    """
    height, width = preprocessing.input_size
    top_1, top_5 = 100 * metrics.top_1, 100 * metrics.top_5
    return (
        model,
        str(height) if height == width else f"{height}x{width}",
        *(f"{percent:.3f}" for percent in (top_1, 100 - top_1, top_5, 100 - top_5)),
        "" if parameters is None else f"{parameters / 1e6:.2f}",
        f"{preprocessing.crop_fraction:.3f}",
        preprocessing.interpolation,
    )


def append_results(path, row):
    """Appends a row to a CSV file of `RESULTS_COLUMNS`, which is made if there is none.

    The file is replaced whole: a reader, or a crash, never meets half a row. Commands on one machine that append at the
    same time wait for each other.

    Raises:
        UserError: as `check_results`.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        text = check_results(path)
        if text and not text.endswith("\n"):
            text += "\n"
        write_text(path, (text or csv_text([RESULTS_COLUMNS])) + csv_text([row]))


def check_results(path):
    """Returns the text of the file that `append_results` would append to, empty if there is none.

    Raises:
        UserError: it is no text, or its columns are not `RESULTS_COLUMNS`.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return ""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"expected a CSV file in {str(path)!r}, it is not UTF-8 text ({error})") from error
    # Spreadsheets begin a table with a byte order mark.
    first = text.removeprefix("\ufeff").split("\n", 1)[0].rstrip("\r")
    if text and first != ",".join(RESULTS_COLUMNS):
        raise UserError(
            f"expected a file with the columns {','.join(RESULTS_COLUMNS)} in {str(path)!r}, it starts: {first[:80]!r}"
        )
    return text


@contextlib.contextmanager
def _locked(folder):
    """Holds a folder's lock: that of the file itself would be lost when the file is replaced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems have no locks for folders; a row is worth more than the wait.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_per_class(path, evaluation):
    write_per_class(path, evaluation.metrics.per_class, evaluation.card.class_names)


def _write_confusion(path, evaluation):
    write_confusion(path, evaluation.metrics.confusion, evaluation.card.class_names)


def _draw_confusion(path, evaluation):
    figures.confusion_matrix(evaluation.metrics.confusion, evaluation.card.class_names, path)


def _append_results(path, evaluation):
    preprocessing = evaluation.card.preprocessing
    append_results(path, results_row(evaluation.name, evaluation.metrics, preprocessing, evaluation.parameters))


REPORTS = {
    "per_class_csv": Report(".csv", "CSV file for the figures of every class.", _write_per_class),
    "confusion_csv": Report(
        ".csv", "CSV file for the confusion matrix: classes in rows, predicted classes in columns.", _write_confusion
    ),
    "confusion_png": Report(
        ".png", "PNG file for the confusion matrix as a picture.", _draw_confusion, packages=("matplotlib",)
    ),
    "results_csv": Report(
        ".csv",
        "CSV file that gets one more row, in the columns and units of timm's results.",
        _append_results,
        check=check_results,
    ),
}
