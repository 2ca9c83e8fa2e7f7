"""The figures of an analysis: which statistics each of them shows, and what is written below it."""

import dataclasses
import math
from typing import Any

from condconv_keras.analysis import figures
from condconv_keras.analysis.selection import TOP, frequent_classes, specific_experts
from condconv_keras.analysis.similarity import SIMILAR_CLASSES, class_similarity
from condconv_keras.routing_statistics.statistics import BIN_EDGES, ON
from condconv_keras.utils.lazy import LazyModule

mpl_figure = LazyModule("matplotlib.figure")


_IMAGE_NAME = 18  # characters that have room above an example image


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A figure.

    Attributes:
        name: of its files, without an ending.
        caption: one or two sentences.
        figure: matplotlib `Figure`.
    """

    name: str
    caption: str
    figure: Any


def draw_pictures(layers, class_names, examples, chosen_layers, chosen_classes):
    """Draws everything that the statistics allow; without a class that has images some have nothing to show.

    Args:
        layers: sequence of `LayerStatistics`, input first.
        class_names: sequence of strings.
        examples: `ExampleImages` of the last chosen layer.
        chosen_layers: indices of layers, as of `choose_layers`.
        chosen_classes: indices of classes, or empty for the most frequent ones.

    Returns:
        List of `Picture`.
    """
    count = layers[0].class_count
    chosen_classes = chosen_classes or frequent_classes(count)
    layer = layers[chosen_layers[-1]]
    pictures = [
        _class_means([layers[i] for i in chosen_layers], class_names, chosen_classes),
        _histogram(layer),
        _histograms(layers),
        _two_classes(layer, class_names, chosen_classes[:2]),
        _class_specificity(layers),
        _expert_use(layers),
    ]
    if (count > 0).any():
        pictures.insert(4, _top_classes(layer, class_names, examples))
    if (count > 0).sum() >= SIMILAR_CLASSES:
        pictures.append(_class_similarity(layers, class_names))
    return pictures


def draw_epochs(rows):
    """Draws how the routing of each layer was after every epoch.

    Args:
        rows: sequence of `RoutingOfEpoch`, one at least.

    Returns:
        A `Picture`.
    """
    by_layer = {}
    for row in rows:
        by_layer.setdefault(row.layer, []).append(row)
    layers = by_layer.values()
    panels = {
        "saturation": [[row.saturation for row in layer] for layer in layers],
        "spread": [[row.spread for row in layer] for layer in layers],
    }
    shown = "the weights below 0.05 or above 0.95, and the deviation of an expert's weight over the images"
    if any(row.in_use is not None for row in rows):
        panels = {"share of the experts in use": [list(map(_share_in_use, layer)) for layer in layers], **panels}
        shown = f"the experts that are not dead, {shown}"
    figure = figures.draw_epochs(list(by_layer), [[row.epoch for row in layer] for layer in layers], panels)
    caption = f"The routing of held-out images after every epoch of the run, a line for each layer: {shown}."
    return Picture("over_epochs", caption, figure)


def _share_in_use(row):
    """Not a number, which is no point of a line, where it is unknown."""
    return math.nan if row.in_use is None else row.in_use / row.experts


def _class_means(layers, class_names, classes):
    figure = figures.draw_class_means(
        [layer.name for layer in layers],
        [layer.mean[classes] for layer in layers],
        _class_labels(layers[0], class_names, classes),
    )
    caption = "Mean routing weight of every expert by class, at layers from the input to the output (figure 3)."
    return Picture("class_means", caption, figure)


def _histogram(layer):
    figure = figures.draw_histograms([layer.name], [layer.histogram.sum(axis=0)], BIN_EDGES)
    caption = f"All routing weights of {layer.name} (figure 4)."
    return Picture("histogram", caption, figure)


def _histograms(layers):
    figure = figures.draw_histograms(
        [layer.name for layer in layers], [layer.histogram.sum(axis=0) for layer in layers], BIN_EDGES
    )
    return Picture("histograms", "All routing weights of every layer, input first.", figure)


def _two_classes(layer, class_names, classes):
    figure = figures.draw_two_classes(
        layer.name, layer.mean[classes], layer.std[classes], _class_labels(layer, class_names, classes)
    )
    caption = f"Mean routing weight of every expert of {layer.name}, with one standard deviation (figure 5)."
    return Picture("two_classes", caption, figure)


def _top_classes(layer, class_names, examples):
    experts = specific_experts(layer)
    top = layer.top_classes(TOP)[experts]
    thumbnails = examples.thumbnails[top, [[expert] for expert in experts]]
    labels = [
        [f"{figures.short(class_names[i], _IMAGE_NAME)}\n{layer.mean[i, expert]:.2f}" for i in classes]
        for expert, classes in zip(experts, top, strict=True)
    ]
    caption = (
        f"The classes with the highest mean routing weight of experts of {layer.name}, with that weight; shown is the "
        "image of the class that has the highest. The experts are those whose weights differ most between classes."
    )
    return Picture("top_classes", caption, figures.draw_top_classes(layer.name, experts, thumbnails, labels))


def _class_specificity(layers):
    figure = figures.draw_class_specificity(
        [layer.name for layer in layers], [layer.class_specificity for layer in layers], layers[0].chance_specificity
    )
    caption = "The share of the routing weights' variance that lies between classes, input first."
    return Picture("class_specificity", caption, figure)


def _expert_use(layers):
    figure = figures.draw_expert_use([layer.name for layer in layers], [layer.above_half for layer in layers])
    return Picture("expert_use", f"How often the weight of each expert is above {ON}.", figure)


def _class_similarity(layers, class_names):
    order, similarity = class_similarity(layers)
    caption = (
        "Similarity of the classes by their mean routing weights in all layers, less the mean of the classes; similar "
        "classes side by side."
    )
    figure = figures.draw_class_similarity([class_names[i] for i in order], similarity)
    return Picture("class_similarity", caption, figure)


def _class_labels(layer, class_names, classes):
    return [f"{figures.short(class_names[i])} (n = {layer.class_count[i]})" for i in classes]
