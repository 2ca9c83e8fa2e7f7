"""What an evaluation of a detector can write: the AP of every class."""

from condconv_keras.tasks.reports import Report, csv_text
from condconv_keras.utils.files import write_text


def write_per_class_ap(path, per_class):
    """Writes one row per class of a detector, whole or not at all: index, name and AP, empty where it has no box.

    Args:
        path: path to write; a file that lies there is replaced.
        per_class: dict of class name to AP, a fraction, or None.
    """
    rows = [["class", "name", "AP"]]
    rows += [[i, name, "" if ap is None else f"{ap:.6f}"] for i, (name, ap) in enumerate(per_class.items())]
    write_text(path, csv_text(rows))


def _write_per_class_ap(path, evaluation):
    write_per_class_ap(path, evaluation.metrics.per_class)


REPORTS = {"per_class_csv": Report(".csv", "CSV file for the figures of every class.", _write_per_class_ap)}
