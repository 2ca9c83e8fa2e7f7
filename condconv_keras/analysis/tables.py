"""Routing statistics as files: `routing.npz` and CSV."""

import numpy as np

from condconv_keras.analysis.selection import TOP
from condconv_keras.analysis.similarity import class_similarity
from condconv_keras.routing_statistics.statistics import BIN_EDGES
from condconv_keras.tasks.reports import csv_text
from condconv_keras.utils.files import put_text

NPZ = "routing.npz"


def write_tables(folder, layers, class_names, images):
    """Writes `routing.npz`, `layers.csv`, `routing_by_class.csv` and `top_classes.csv` into a folder.

    The arrays of `routing.npz`, none of which needs pickle: `layers` and `class_names` (text), `images` (int64 []),
    `class_count` (int64 [classes]), `bin_edges` (float64 [bins + 1]), `class_order` (int64 [n]) and `class_similarity`
    (float64 [n, n]), as `class_similarity` returns them; and of each layer `<name>/mean`, `<name>/std`
    (float64 [classes, experts]), `<name>/overall_mean`, `<name>/overall_std`, `<name>/above_half`,
    `<name>/saturated` (float64 [experts]) and `<name>/histogram` (int64 [experts, bins]), as in `LayerStatistics`.

    Args:
        folder: `pathlib.Path`.
        layers: sequence of `LayerStatistics`.
        class_names: sequence of strings.
        images: int, the number of images.
    """
    np.savez(folder / NPZ, **_arrays(layers, class_names, images))
    put_text(folder / "layers.csv", csv_text(_layer_rows(layers)))
    put_text(folder / "routing_by_class.csv", csv_text(_class_rows(layers, class_names)))
    put_text(folder / "top_classes.csv", csv_text(_top_rows(layers, class_names)))


def layer_summary(layer):
    """What is said of a layer in one line: a dict that JSON can hold.

    Args:
        layer: `LayerStatistics`.
    """
    return {
        "layer": layer.name,
        "experts": layer.experts,
        "class_specificity": layer.class_specificity,
        "mean": float(layer.overall_mean.mean()),
        "above_half": float(layer.above_half.mean()),
        "near_0": layer.near_0,
        "near_1": layer.near_1,
        "saturation": layer.saturation,
        "spread": layer.spread,
        "dead": layer.dead,
        "always_on": layer.always_on,
    }


def _arrays(layers, class_names, images):
    fields = ("mean", "std", "overall_mean", "overall_std", "above_half", "saturated", "histogram")
    order, similarity = class_similarity(layers)
    return {
        "layers": np.array([layer.name for layer in layers]),
        "class_names": np.array(class_names),
        "images": np.array(images, np.int64),
        "class_count": layers[0].class_count,
        "bin_edges": BIN_EDGES,
        "class_order": order,
        "class_similarity": similarity,
        **{f"{layer.name}/{field}": getattr(layer, field) for layer in layers for field in fields},
    }


def _layer_rows(layers):
    """A row per layer: depth counts the routers from 1; experts in a list are separated by spaces."""
    for depth, layer in enumerate(layers, start=1):
        summary = layer_summary(layer)
        if depth == 1:
            yield ["depth", *summary]
        yield [depth, *map(_text, summary.values())]


def _class_rows(layers, class_names):
    """A row per layer, class and expert; classes without images have none."""
    yield ["layer", "class", "expert", "count", "mean", "std"]
    for layer in layers:
        for i in np.flatnonzero(layer.class_count):
            for expert, (mean, std) in enumerate(zip(layer.mean[i], layer.std[i], strict=True)):
                yield [layer.name, class_names[i], expert, layer.class_count[i], f"{mean:.6f}", f"{std:.6f}"]


def _top_rows(layers, class_names):
    yield ["layer", "expert", "rank", "class", "mean"]
    for layer in layers:
        for expert, classes in enumerate(layer.top_classes(TOP)):
            for rank, i in enumerate(classes, start=1):
                yield [layer.name, expert, rank, class_names[i], f"{layer.mean[i, expert]:.6f}"]


def _text(value):
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:.6f}" if isinstance(value, float) else value
