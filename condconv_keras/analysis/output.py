"""The folder that an analysis is written to."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

from condconv_keras.analysis.pictures import Picture, draw_epochs, draw_pictures
from condconv_keras.analysis.report import report_html
from condconv_keras.analysis.tables import layer_summary, write_tables
from condconv_keras.routing_statistics.by_epoch import RoutingOfEpoch, write_by_epoch
from condconv_keras.routing_statistics.examples import ExampleImages
from condconv_keras.routing_statistics.statistics import LayerStatistics
from condconv_keras.utils.files import put_text, whole_folder
from condconv_keras.utils.json_text import json_text

# What the pictures and the order of similar classes take.
PACKAGES = ("matplotlib", "scipy", "PIL")
BY_EPOCH = "routing_by_epoch.csv"
_DPI = 100


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Analysis:
    """The routing of a model on a split: its statistics, and the choice that the figures show.

    Attributes:
        model: name of the model.
        dataset: name of the data set.
        split: name of the split.
        images: number of images.
        layers: tuple of `LayerStatistics`, input first.
        class_names: tuple of strings.
        examples: `ExampleImages` of the last chosen layer.
        chosen_layers: indices of the layers to show, as of `choose_layers`.
        chosen_classes: indices of the classes to show, or empty for the most frequent ones.
        by_epoch: the `RoutingOfEpoch` of every layer after every epoch of the run that trained the model; empty where
            they are not known.
    """

    model: str
    dataset: str
    split: str
    images: int
    layers: tuple[LayerStatistics, ...]
    class_names: tuple[str, ...]
    examples: ExampleImages
    chosen_layers: list[int]
    chosen_classes: list[int]
    by_epoch: tuple[RoutingOfEpoch, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Returns the main numbers as a dict that JSON can hold."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "split": self.split,
            "examples": self.images,
            "classes": int((self.layers[0].class_count > 0).sum()),
            "chance_specificity": self.layers[0].chance_specificity,
            "logged_epochs": len({row.epoch for row in self.by_epoch}),
            "layers": [layer_summary(layer) for layer in self.layers],
        }


def write_analysis(path: str | os.PathLike[str], analysis: Analysis) -> None:
    """Writes an `Analysis` as a folder, whole or not at all.

    It holds `analysis.json` (`Analysis.summary`), what `write_tables` writes, `figures/<name>.png` and `.svg` of every
    picture, and `report.html`; where the routing by epoch is known, that too, as `routing_by_epoch.csv`.

    Args:
        path: the folder; it must not exist or be empty.
        analysis: `Analysis`.
    """

    layers, class_names = analysis.layers, analysis.class_names
    pictures = draw_pictures(layers, class_names, analysis.examples, analysis.chosen_layers, analysis.chosen_classes)
    summary = analysis.summary()
    with whole_folder(path) as folder:
        write_tables(folder, layers, class_names, analysis.images)
        put_text(folder / "analysis.json", json_text(summary) + "\n")
        (folder / "figures").mkdir()
        shown = [(picture.caption, _save(picture, folder / "figures")) for picture in pictures]
        over_epochs = None
        if analysis.by_epoch:
            write_by_epoch(folder / BY_EPOCH, analysis.by_epoch)
            picture = draw_epochs(analysis.by_epoch)
            over_epochs = (picture.caption, _save(picture, folder / "figures"))
        page = report_html(summary, layers[analysis.chosen_layers[-1]], class_names, shown, over_epochs)
        put_text(folder / "report.html", page)


def _save(picture: Picture, folder: pathlib.Path) -> bytes:
    """Writes a picture's two files; returns the content of the PNG file."""
    png = folder / f"{picture.name}.png"
    picture.figure.savefig(png, dpi=_DPI)
    # Keeps the layout that was found, which takes as long as the drawing.
    picture.figure.set_layout_engine("none")
    picture.figure.savefig(png.with_suffix(".svg"))
    return png.read_bytes()
