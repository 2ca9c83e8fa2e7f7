"""Example images: of each expert and class the image with the highest routing weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from condconv_keras.utils.lazy import LazyModule

Image = LazyModule("PIL.Image")


SIDE = 64  # pixels
_MEMORY = 2**27  # bytes of all thumbnails, above which they are smaller
_LEAST_SIDE = 16


class ExampleImages:
    """Keeps a thumbnail for every expert of one layer and every class while the images pass by.

    The memory is that of experts x classes thumbnails, independent of the number of images: their longer side is
    `SIDE` pixels, or as many fewer as keep all of them within 128 MiB, down to 16. A thumbnail is made only for an
    image that has the highest weight so far.

    Args:
        experts, classes: numbers of them.
        input_shape: (height, width, channels) of the images.

    Attributes:
        thumbnails: uint8 [classes, experts, height, width, channels], zeros for a class without images.
        weights: float64 [classes, experts], the weight of the image that is shown, -inf for a class without images.
    """

    def __init__(self, experts: int, classes: int, input_shape: Sequence[int]) -> None:
        height, width, channels = input_shape
        fitting = int((_MEMORY / (experts * classes * channels)) ** 0.5)
        side = min(SIDE, max(height, width), max(fitting, _LEAST_SIDE))
        self._size = tuple(max(1, round(length * side / max(height, width))) for length in (height, width))
        self.thumbnails = np.zeros((classes, experts, *self._size, channels), np.uint8)
        self.weights = np.full((classes, experts), -np.inf)

    def add(self, images: np.ndarray, weights: np.ndarray, presence: np.ndarray) -> None:
        """Adds a batch; of images with equal weights the first is kept.

        Args:
            images: float32 [batch, height, width, channels] in 0..255.
            weights: float [batch, experts].
            presence: booleans [batch, classes], the classes in each image.
        """
        rows, classes = np.nonzero(presence)
        weights, made = np.asarray(weights), {}
        for pair, expert in np.argwhere(weights[rows] > self.weights[classes]):
            row, index = rows[pair], (classes[pair], expert)
            # An image of the same batch may have more.
            if weights[row, expert] > self.weights[index]:
                if row not in made:
                    made[row] = self._thumbnail(np.asarray(images[row]))
                self.weights[index], self.thumbnails[index] = weights[row, expert], made[row]

    def _thumbnail(self, image: np.ndarray) -> np.ndarray:
        height, width = self._size
        image = np.clip(np.round(image), 0, 255).astype(np.uint8)
        # Pillow has no gray images with a channel axis.
        small = Image.fromarray(image.squeeze(axis=-1) if image.shape[-1] == 1 else image).resize((width, height))
        return np.asarray(small).reshape(height, width, image.shape[-1])
