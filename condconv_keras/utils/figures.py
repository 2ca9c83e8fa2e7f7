"""Figures of runs and evaluations as PNG files. They are drawn in memory: no display is needed, none is opened.

Each picture is a function that draws a matplotlib `Figure` and one that writes it as a file.
"""

import csv

import numpy as np

from condconv_keras.utils.files import whole_file
from condconv_keras.utils.lazy import LazyModule

mpl_figure = LazyModule("matplotlib.figure")


# Up to here a confusion matrix has room for a name at every row and column, and for a number in every cell.
READABLE_CLASSES = 25
_LONGEST_NAME = 30
_DPI = 100


def training_curves(history_csv, curves, png):
    """Draws the history of a run as a PNG file, written whole or not at all.

    Args:
        history_csv: path of a run's `history.csv`.
        curves: dict of a panel's title to a dict of the names of its columns to their labels. Columns that are missing,
            empty or not finite are left out of the picture.
        png: path to write; a file that lies there is replaced.
    """
    with open(history_csv, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    _write(draw_training_curves(rows, curves), png)


def draw_training_curves(rows, curves):
    """Draws the panels of a run and one of the learning rate against the epoch.

    Args:
        rows: list of dicts of column name to text, one per epoch.
        curves: as in `training_curves`.

    Returns:
        A `Figure`. A panel none of whose columns is there is left out.
    """
    epochs = _column(rows, "epoch")
    panels = {
        title: {name: label for name, label in columns.items() if any(row.get(name) for row in rows)}
        for title, columns in {**curves, "learning rate": {"learning_rate": None}}.items()
    }
    panels = {title: columns for title, columns in panels.items() if columns}
    figure = mpl_figure.Figure(figsize=(4.5 * max(len(panels), 1), 3.6), layout="constrained")
    for i, (title, columns) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), i, title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        for name, label in columns.items():
            # The markers show a point without neighbors, as after one epoch.
            axes.plot(epochs, _column(rows, name), marker=".", label=label)
        if len(columns) > 1:
            axes.legend()
    return figure


def confusion_matrix(matrix, class_names, png):
    """Draws a confusion matrix as a PNG file, written whole or not at all.

    Args:
        matrix: integers [classes, classes], number of examples by class (row) and predicted class (column).
        class_names: sequence of strings.
        png: path to write; a file that lies there is replaced.
    """
    _write(draw_confusion_matrix(matrix, class_names), png)


def draw_confusion_matrix(matrix, class_names):
    """Draws a confusion matrix; the arguments are those of `confusion_matrix`.

    A cell's color is its share of the examples of its row. Up to `READABLE_CLASSES` classes every row and column has
    its name and every cell that is not 0 its count; more of them are a picture with the class indices at its edges.

    Returns:
        A `Figure`.
    """
    matrix = np.asarray(matrix)
    classes = len(matrix)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    readable = classes <= READABLE_CLASSES
    side = 3 + 0.5 * classes if readable else max(8, 1.3 * classes / _DPI)  # a pixel or more per class
    figure = mpl_figure.Figure(figsize=(side * 1.1, side), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted class", ylabel="class")
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the class", shrink=0.8)
    if readable:
        _name_cells(axes, matrix, share, class_names)
    return figure


def _name_cells(axes, matrix, share, class_names):
    names = [name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..." for name in class_names]
    places = range(len(names))
    # A dollar sign in a name is one, not the start of a formula.
    axes.set_xticks(places, names, rotation=90, parse_math=False)
    axes.set_yticks(places, names, parse_math=False)
    for row, column in np.argwhere(matrix):
        color = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, matrix[row, column], ha="center", va="center", color=color, fontsize="small")


def _column(rows, name):
    """A column as floats, NaN where there is no finite number."""
    values = np.array([_number(row.get(name)) for row in rows], np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return np.nan


def _write(figure, png):
    with whole_file(png) as partial:
        figure.savefig(partial, format="png", dpi=_DPI)
