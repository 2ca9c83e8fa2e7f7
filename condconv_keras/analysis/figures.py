"""Figures of routing statistics. Each function takes arrays and returns a matplotlib `Figure`, drawn in memory.

Numbers of figures are those of the CondConv paper (arXiv 1904.04971).
"""

import itertools
import math

import numpy as np

from condconv_keras.routing_statistics.statistics import ON
from condconv_keras.utils.figures import READABLE_CLASSES
from condconv_keras.utils.lazy import LazyModule

mpl_figure = LazyModule("matplotlib.figure")


MARKERS = "osD^vP*X<>p"  # one more than there are colors: eleven and more series differ by both
_PANEL_COLUMNS = 4


def draw_class_means(titles, means, labels):
    """Figure 3: the mean routing weight of every expert, a panel for a layer and a line for a class.

    Args:
        titles: list of strings, one a layer.
        means: list of float [classes, experts], one a layer; NaN for a class without images.
        labels: list of strings, one a class.
    """
    figure = mpl_figure.Figure(figsize=(4 * len(titles), 3.6), layout="constrained")
    for i, (title, values) in enumerate(zip(titles, means, strict=True), start=1):
        axes = _expert_axes(figure.add_subplot(1, len(titles), i), values.shape[1])
        axes.set_title(short(title), parse_math=False)
        axes.set_ylabel("mean routing weight")
        lines = [
            axes.plot(np.arange(len(row)), row, marker=marker, markersize=4)[0]
            for row, marker in zip(values, itertools.cycle(MARKERS))
        ]
    name_series(axes, lines, labels)
    return figure


def draw_two_classes(title, means, deviations, labels):
    """Figure 5: the mean routing weight of every expert of one layer with bars of one standard deviation.

    Args:
        title: string.
        means, deviations: float [classes, experts], usually of two classes.
        labels: list of strings, one a class.
    """
    figure = mpl_figure.Figure(figsize=(max(5, 0.4 * means.shape[1] + 2), 3.8), layout="constrained")
    axes = _expert_axes(figure.add_subplot(), means.shape[1])
    axes.set_title(short(title), parse_math=False)
    axes.set_ylabel("routing weight, mean and deviation")
    bars = []
    for i, (mean, deviation) in enumerate(zip(means, deviations, strict=True)):
        # Side by side, so that no bar hides another.
        places = np.arange(len(mean)) + 0.16 * (i - (len(means) - 1) / 2)
        bars.append(axes.errorbar(places, mean, yerr=deviation, fmt="o", capsize=3))
    ends = np.concatenate([means - deviations, means + deviations])
    ends = ends[np.isfinite(ends)]
    # A deviation may reach beyond what a weight can be.
    axes.set_ylim(min(-0.02, ends.min(initial=0) - 0.02), max(1.02, ends.max(initial=0) + 0.02))
    name_series(axes, bars, labels)
    return figure


def draw_histograms(titles, histograms, edges):
    """Figure 4: the histogram of all routing weights of a layer, a panel for each layer.

    Args:
        titles: list of strings, one a layer.
        histograms: list of integers [bins], one a layer.
        edges: float [bins + 1].
    """
    columns = min(_PANEL_COLUMNS, len(titles))
    rows = math.ceil(len(titles) / columns)
    size = (5.5, 3.8) if len(titles) == 1 else (3.2 * columns, 2.4 * rows)
    figure = mpl_figure.Figure(figsize=size, layout="constrained")
    for i, (title, counts) in enumerate(zip(titles, histograms, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, i, xlabel="routing weight", ylabel="share of the weights")
        axes.set_title(short(title), parse_math=False)
        axes.bar(edges[:-1], counts / max(counts.sum(), 1), width=np.diff(edges), align="edge")
        axes.set_xlim(edges[0], edges[-1])
    return figure


def draw_top_classes(title, experts, thumbnails, labels):
    """The classes with the highest mean routing weights of some experts, a row for an expert, an image for a class.

    Args:
        title: string.
        experts: list of integers, the experts' numbers.
        thumbnails: uint8 [experts, classes, height, width, channels], the best class first.
        labels: list of lists of strings [experts][classes].
    """
    rows, columns, height, width, channels = thumbnails.shape
    # One pair of axes for all: forty of them take seconds. Above an image there is room for two lines.
    across, down = 1.15 * width, height + 0.45 * max(height, width)
    figure = mpl_figure.Figure(figsize=(1.2 * columns + 0.8, 1.2 * rows * down / across + 0.6), layout="constrained")
    axes = figure.add_subplot(xticks=[])
    axes.set_title(short(title), parse_math=False)
    axes.set_yticks([(row + 1) * down - height / 2 for row in range(rows)], [f"expert {i}" for i in experts])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for row, column in np.ndindex(rows, columns):
        image, left, bottom = thumbnails[row, column], column * across, (row + 1) * down
        gray = {"cmap": "gray", "vmin": 0, "vmax": 255} if channels == 1 else {}
        image = image[..., 0] if gray else image
        axes.imshow(image, extent=(left, left + width, bottom, bottom - height), aspect="equal", **gray)
        place = (left + width / 2, bottom - height * 1.03)
        axes.text(*place, labels[row][column], ha="center", va="bottom", fontsize="x-small", parse_math=False)
    axes.set(xlim=(0, columns * across), ylim=(rows * down, 0))  # `imshow` has set them to its image
    return figure


def draw_class_specificity(names, values, chance):
    """The class-specificity of the routing by depth, input first.

    Args:
        names: list of strings, one a layer.
        values: float [layers], in [0, 1].
        chance: what labels drawn at random would give.
    """
    figure = mpl_figure.Figure(figsize=(max(5, 0.45 * len(names) + 2), 4.2), layout="constrained")
    axes = figure.add_subplot(ylabel="between-class / total variance")
    axes.plot(np.arange(len(values)), values, marker="o", label="routing weights")
    axes.axhline(chance, linestyle="--", color="gray", label="labels at random")
    axes.set_xticks(range(len(names)), [short(name) for name in names], rotation=90, parse_math=False)
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def draw_expert_use(names, shares):
    """How often each expert is on: a row for a layer, a column for an expert.

    Args:
        names: list of strings, one a layer.
        shares: list of float [experts], one a layer; the share of the images in [0, 1].
    """
    width = max(map(len, shares))
    table = np.full((len(shares), width), np.nan)
    for row, values in zip(table, shares, strict=True):
        row[: len(values)] = values
    figure = mpl_figure.Figure(figsize=(0.55 * width + 4, 0.4 * len(names) + 1.6), layout="constrained")
    axes = figure.add_subplot(xlabel="expert")
    image = axes.imshow(table, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    figure.colorbar(image, ax=axes, label=f"share of images with weight > {ON}")
    axes.set_xticks(range(width))
    axes.set_yticks(range(len(names)), [short(name) for name in names], parse_math=False)
    for row, column in np.argwhere(np.isfinite(table)):
        value = table[row, column]
        color = "black" if value > 0.6 else "white"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize="x-small")
    return figure


def draw_class_similarity(names, similarity):
    """The similarity of the classes' routing, in the order of the arguments.

    Args:
        names: list of strings; shown up to `READABLE_CLASSES` of them. A class of a larger figure is three pixels.
        similarity: float [classes, classes], in [-1, 1].
    """
    readable = len(names) <= READABLE_CLASSES
    side = 3.5 + 0.3 * len(names) if readable else max(9, 0.03 * len(names) / 0.75)
    figure = mpl_figure.Figure(figsize=(side * 1.15, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(similarity, cmap="RdBu_r", vmin=-1, vmax=1)
    figure.colorbar(image, ax=axes, label="similarity (cosine)", shrink=0.8)
    if readable:
        shown = [short(name) for name in names]
        axes.set_xticks(range(len(names)), shown, rotation=90, parse_math=False)
        axes.set_yticks(range(len(names)), shown, parse_math=False)
    else:
        axes.set(xlabel="classes, similar ones side by side", xticks=[], yticks=[])
    return figure


def draw_epochs(names, epochs, panels):
    """How the routing of every layer was after each epoch of a run: a panel for each number, a line for each layer.

    Args:
        names: list of strings, one a layer.
        epochs: list of integers [n], one list a layer.
        panels: dict of a panel's title to a list of float [n] in [0, 1], one a layer.
    """
    rows = math.ceil(len(names) / 25)  # of the legend
    figure = mpl_figure.Figure(figsize=(4 * len(panels) + 2.5 * rows, 4.2), layout="constrained")
    for i, (title, values) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), i, title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        lines = [
            axes.plot(x, y, marker=marker, markersize=3, linewidth=1)[0]
            for x, y, marker in zip(epochs, values, itertools.cycle(MARKERS), strict=False)
        ]
        axes.set_ylim(bottom=-0.03 * axes.get_ylim()[1])
    legend = figure.legend(lines, list(map(short, names)), loc="outside right upper", fontsize="x-small", ncols=rows)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def short(name, length=30):
    """A name cut to the room that a figure has, `length` characters."""
    return name if len(name) <= length else name[: length - 3] + "..."


def _expert_axes(axes, experts):
    axes.set_xlabel("expert")
    axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.3)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlim(-0.5, experts - 0.5)
    return axes


def name_series(axes, handles, labels):
    """Adds a legend with these names as they are: one may start with "_" or have dollar signs."""
    for text in axes.legend(handles, labels, fontsize="small").get_texts():
        text.set_parse_math(False)
