"""The routing weights that a file returns beside its answers, compared with those of the Keras model."""

from __future__ import annotations

import pathlib

import numpy as np

from condconv_keras.export.format import ExportFormat
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.utils.lazy import LazyModule, keras

routers = LazyModule("condconv_keras.layers.routers")

# Where weights are rounded, so are the answers of routers, and how much that may be is seen in the file's own answers.
# What is left to find here is another layer's weights, or those of another image: their differences are as large as
# what tells the images apart. Half of that passes, and so does what nobody would see where nothing tells them apart.
MAX_OF_SPREAD = 0.5
VISIBLE = 0.01


class RoutingCheck:
    """Compares routing weights with those of a Keras model.

    Args:
        model: Keras model.
        card: its `ModelCard`.
        images: float32 [count, height, width, channels] in 0..255.
    """

    def __init__(self, model: keras.Model, card: ModelCard, images: np.ndarray) -> None:
        self._images = images
        with routers.recorded_routing(model) as routing:
            model(card.preprocessing.scale_images(images), training=False)
        self._reference = {name: np.array(weights) for name, weights in routing}

    def failures(self, file_format: ExportFormat, path: pathlib.Path, threads: int | None) -> list[str]:
        """Lists what is wrong with a file's routing weights, as text; empty if nothing is.

        The limit is the format's relative error, of the largest weight; for a format that rounds, the root mean square
        of the differences may be `MAX_OF_SPREAD` of the weights' standard deviation over the images, or `VISIBLE`.

        Args:
            file_format: its `ExportFormat`.
            path: where the file lies.
            threads: as of `ExportFormat.predictor`.
        """
        received = file_format.routing_weights(path, self._images, threads)
        if received.keys() != self._reference.keys():
            return [f"routing weights of {_list(received)} in the place of those of {_list(self._reference)}"]
        found = []
        for name, reference in self._reference.items():
            difference = np.abs(received[name].astype(np.float64) - reference)
            if file_format.max_relative_error is not None:
                error, limit = difference.max(), file_format.max_relative_error * np.abs(reference).max()
            else:
                error, limit = np.sqrt(np.square(difference).mean()), max(MAX_OF_SPREAD * _spread(reference), VISIBLE)
            if not error <= limit:
                found.append(f"routing weights of {name} by {error:.1e} (at most {limit:.1e})")
        return found[:1]


def _spread(weights):
    """The standard deviation over the images, one number for all experts."""
    return float(np.sqrt(weights.astype(np.float64).var(axis=0).mean()))


def _list(names):
    return ", ".join(names) or "no router"
