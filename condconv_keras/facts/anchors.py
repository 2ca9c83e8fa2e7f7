"""The default boxes (anchors) of a single-shot detector, as data.

Source: Liu et al., "SSD: Single Shot MultiBox Detector", arXiv 1512.02325, section 2.2, with the scales and the reduced
first map of `create_ssd_anchors` (multiple_grid_anchor_generator.py of the TensorFlow Object Detection API).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from condconv_keras.utils.lazy import numpy as np


@dataclasses.dataclass(frozen=True)
class AnchorScheme:
    """Where a detector's anchors lie: some at every location of every feature map.

    Attributes:
        strides: of the feature maps that come from the backbone, in pixels, the finest first. Each map after them is
            half the size of the one before.
        scales: of the anchors of each map, fractions of the image's shorter side.
        aspect_ratios: width to height of the anchors at a map's scale. One more of ratio 1 has the geometric mean of it
            and the next map's scale (1 after the last).
        first_map: (scale, aspect ratio) of all anchors of the first map, in place of those.

    Raises:
        ValueError: a field is no tuple of positive numbers, or there are more strides than scales.
    """

    strides: tuple[int, ...] = (16, 32)
    scales: tuple[float, ...] = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 1 / 2, 3.0, 1 / 3)
    first_map: tuple[tuple[float, float], ...] = ((0.1, 1.0), (0.2, 2.0), (0.2, 1 / 2))

    def __post_init__(self) -> None:
        for name in ("strides", "scales", "aspect_ratios"):
            _check_positive(name, getattr(self, name))
        for pair in self.first_map:
            _check_positive("first_map", pair)
        if len(self.strides) > len(self.scales):
            raise ValueError(f"`scales` has one for each map. Received: strides={self.strides}, scales={self.scales}")

    @property
    def per_location(self) -> tuple[int, ...]:
        """The number of anchors at a location of each map, a tuple."""
        return tuple(map(len, self._shapes_by_map()))

    def map_sizes(self, input_size: Sequence[int]) -> list[tuple[int, ...]]:
        """Returns the sizes of the feature maps as a list of (height, width), the finest first, all rounded up.

        Args:
            input_size: (height, width) of the network's images in pixels.
        """
        sizes = [tuple(math.ceil(side / stride) for side in input_size) for stride in self.strides]
        while len(sizes) < len(self.scales):
            sizes.append(tuple(math.ceil(side / 2) for side in sizes[-1]))
        return sizes

    def boxes(self, input_size: Sequence[int]) -> np.ndarray:
        """Returns the anchors as boxes, float32 [anchors, 4], (ymin, xmin, ymax, xmax) as fractions of the image.

        They come map by map, the finest first, row by row over a map's locations, then one after the other at a
        location, in the order of the attributes. The center of an anchor is that of its location; ratio 1 is a square
        of pixels. They are not clipped to the image.

        Args:
            input_size: (height, width) of the network's images in pixels.
        """
        maps = zip(self.map_sizes(input_size), self._shapes_by_map(), strict=True)
        return np.concatenate([_map_boxes(size, shapes, input_size) for size, shapes in maps])

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dict that JSON can hold."""
        fields = dataclasses.asdict(self)
        return {**{name: list(value) for name, value in fields.items()}, "first_map": list(map(list, self.first_map))}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> AnchorScheme:
        """Returns the scheme of a `to_dict`; raises a KeyError, TypeError or ValueError if it is not one."""
        values = {name: tuple(value) for name, value in dict(fields).items()}
        return cls(**{**values, "first_map": tuple((scale, ratio) for scale, ratio in values["first_map"])})

    def _shapes_by_map(self) -> list[tuple[tuple[float, float], ...]]:
        """The (scale, aspect ratio) of the anchors at a location, map by map."""
        following = (*self.scales[1:], 1.0)
        shapes = [
            tuple((scale, ratio) for ratio in self.aspect_ratios) + ((math.sqrt(scale * larger), 1.0),)
            for scale, larger in zip(self.scales, following, strict=True)
        ]
        return [self.first_map, *shapes[1:]]


def _check_positive(name: str, values: Sequence[float]) -> None:
    """Raises a ValueError unless all values are positive numbers; a comparison with NaN is false."""
    if not values or not all(isinstance(value, int | float) and 0 < value < math.inf for value in values):
        raise ValueError(f"`{name}` is a tuple of positive numbers. Received: {values!r}")


def _map_boxes(map_size: Sequence[int], shapes: Sequence[tuple[float, float]], input_size: Sequence[int]) -> np.ndarray:
    rows, columns = map_size
    scales, ratios = np.array(shapes).T
    # [anchors of a location, 2]: height and width as fractions of the image.
    sizes = np.stack([scales / np.sqrt(ratios), scales * np.sqrt(ratios)], axis=-1)
    sizes = sizes * min(input_size) / np.array(input_size)
    y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
    centers = np.stack([y, x], axis=-1).reshape(-1, 1, 2)
    boxes = np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=-1)
    return boxes.reshape(-1, 4).astype(np.float32)


# SSD with a MobileNetV1 backbone: six maps, 1,917 anchors at 300x300.
SSD_MOBILENET_V1 = AnchorScheme()
