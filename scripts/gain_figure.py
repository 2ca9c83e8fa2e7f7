"""Draws README's figure of accuracy against multiply-adds: `python -m scripts.gain_figure`.

The points are the rows of each `summary.csv` in docs/results/gain of a set of small networks that was compared with
wider plain networks, with two standard errors of the mean to either side. The picture's description names the files
with hashes of them: a test compares these.
"""

import csv
import pathlib

from condconv_keras.experiments.gain.settings import PLAIN
from condconv_keras.experiments.gain.study import SETTINGS
from condconv_keras.utils.files import file_hash, whole_file
from condconv_keras.utils.lazy import LazyModule

pyplot = LazyModule("matplotlib.pyplot")
ticker = LazyModule("matplotlib.ticker")

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/results/gain"
FIGURE = ROOT / "docs/images/accuracy_by_multiply_adds.png"
TITLES = {
    "separable_instruments": "120 instruments",
    "resnet_instruments": "120 instruments, residual network",
    "separable_fashion_mnist": "Fashion-MNIST",
    "separable_glyphs": "1,000 glyphs",
}
WIDER = (PLAIN, "same_multiply_adds", "same_parameters")
_PLAIN, _TWIN = "#707070", "#c2410c"


def points(setting):
    """Returns the points of a setting: the plain networks', and those with experts.

    Both are lists of `(millions of multiply-adds, accuracy in %, two standard errors, label)` by multiply-adds. The
    label is the number of parameters, or that of experts.
    """
    with open(FOLDER / setting / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    experts = [row for row in rows if row["side"] == "twin" or row["side"].startswith("experts_")]
    plain = [row for row in rows if row["side"] in WIDER]
    counts = {side: _experts(SETTINGS[setting].arguments(side)) for side in (row["side"] for row in experts)}
    return [
        sorted(_point(row, f"{int(row['parameters']):,} parameters") for row in plain),
        sorted(_point(row, f"n = {counts[row['side']]}") for row in experts),
    ]


def _experts(arguments):
    (count,) = (word.partition("=")[2] for word in arguments if word.startswith("--num_experts="))
    return count


def _point(row, label):
    return (
        float(row["multiply_adds"]) / 1e6,
        100 * float(row["mean"]),
        200 * float(row["error_of_mean"]),
        label,
    )


def description():
    """What the picture says of the files that it was drawn from: a line for each, with its SHA-256."""
    files = [FOLDER / setting / "summary.csv" for setting in TITLES]
    return "\n".join(f"{path.relative_to(ROOT)} {file_hash(path)}" for path in files)


def draw():
    """Returns the figure, a panel for each of `TITLES`."""
    figure, panels = pyplot.subplots(2, len(TITLES) // 2, figsize=(10, 7.5), layout="constrained")
    for axes, (setting, title) in zip(panels.flat, TITLES.items(), strict=True):
        plain, experts = points(setting)
        _series(axes, plain, _PLAIN, "o-", "plain, wider and wider")
        _series(axes, experts, _TWIN, "D-", "with n experts")
        axes.set(title=title, xlabel="million multiply-adds", ylabel="test accuracy, % (± 2 standard errors)")
        # From the plain network to one with the parameters of the twin it is a factor of ten.
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.margins(x=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _series(axes, points, color, style, title):
    across, up, errors, labels = zip(*points, strict=True)
    axes.errorbar(across, up, errors, fmt=style, color=color, label=title, capsize=3, markersize=6, linewidth=1.2)
    for i, (x, y, label) in enumerate(zip(across, up, labels, strict=True)):
        offset, side = _place(label, falls=i > 0 and y < up[i - 1])
        axes.annotate(label, (x, y), offset, textcoords="offset points", fontsize=8, color=color, ha=side)


def _place(label, falls):
    """Where a label lies beside its point, off the line: its offset and the side of the point."""
    if label == "n = 1":
        return (-8, -12), "right"  # a plain network of nearly the same cost has its own to the right
    if label.startswith("n") and not falls:
        return (-8, 4), "right"
    return (10, -14), "left"


def main():
    """Draws the figure anew."""
    with whole_file(FIGURE) as path:
        draw().savefig(path, format="png", dpi=150, metadata={"Description": description()})


if __name__ == "__main__":
    main()
