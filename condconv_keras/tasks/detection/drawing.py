"""Detections drawn on an image, with Pillow."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np

from condconv_keras.utils.lazy import LazyModule

Image = LazyModule("PIL.Image")
ImageDraw = LazyModule("PIL.ImageDraw")
ImageFont = LazyModule("PIL.ImageFont")


def draw_boxes(
    image: np.ndarray, boxes: np.ndarray, classes: np.ndarray, scores: np.ndarray, class_names: Sequence[str]
) -> np.ndarray:
    """Draws boxes with their class and score, the better ones over the others.

    Args:
        image: uint8 [height, width, 3]; it stays as it is.
        boxes: float [n, 4]: (ymin, xmin, ymax, xmax) as fractions of the image.
        classes: integers [n], from 0.
        scores: float [n], in [0, 1].
        class_names: strings; class `c` is `class_names[c]`.

    Returns:
        uint8 [height, width, 3].
    """

    height, width = image.shape[:2]
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    line = max(1, round(min(height, width) / 200))
    font = ImageFont.load_default(max(10, round(min(height, width) / 30)))
    for i in np.argsort(scores, kind="stable"):
        # The corners are pixels of the box: the last row and column are those before its end.
        top, left, bottom, right = np.round(np.asarray(boxes[i]) * (height, width, height, width)).astype(int)
        bottom, right = max(bottom - 1, top), max(right - 1, left)
        color = _color(int(classes[i]))
        draw.rectangle((left, top, right, bottom), outline=color, width=line)
        _draw_label(draw, (left, top), width, f"{class_names[classes[i]]} {scores[i]:.2f}", color, font)
    return np.array(canvas)


def _draw_label(
    draw: Any, corner: tuple[int, int], image_width: int, text: str, color: tuple[int, ...], font: Any
) -> None:
    """Writes on a filled ground above the corner of a box, below and further left where there is no room."""
    x0, y0, x1, y1 = draw.textbbox((0, 0), text, font=font)
    text_width, text_height = x1 - x0 + 2, y1 - y0 + 2
    left = max(min(corner[0], image_width - text_width), 0)
    top = corner[1] - text_height if corner[1] >= text_height else corner[1]
    draw.rectangle((left, top, left + text_width - 1, top + text_height - 1), fill=color)
    draw.text((left + 1 - x0, top + 1 - y0), text, fill="black", font=font)


def _color(index: int) -> tuple[int, ...]:
    """A bright color; neighbors of the count have hues far apart, a golden section of the circle."""
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb((0.15 + index * 0.618034) % 1.0, 0.75, 1.0))
