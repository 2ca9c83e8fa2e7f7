"""What a model expects of its input, and the evaluation transform that gives it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias, get_args

from condconv_keras.facts import old_names
from condconv_keras.utils.lazy import numpy as np
from condconv_keras.utils.lazy import tensorflow as tf
from condconv_keras.utils.typed_fields import check_types

Interpolation: TypeAlias = Literal["bicubic", "bilinear"]
INTERPOLATIONS = get_args(Interpolation)
# Fields that come with weights, whatever the input's size and the classes.
SCALING = ("mean", "std", "interpolation")
_MAX_SIDE = 2**14  # in pixels: a larger image would take the memory of a machine


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """A model's input: its size, its channels and the scaling of its pixels. Inside, pixels are float32 in 0..255.

    Attributes:
        input_size: `(height, width)` in pixels.
        channels: 1 (gray) or 3 (RGB).
        mean: the model's input is `(x - mean) / std` for pixels `x` in 0..255. A number, or a tuple of one number per
            channel.
        std: see `mean`; not 0.
        interpolation: `"bicubic"` or `"bilinear"`, antialiased when an image shrinks.
        crop_fraction: in (0, 1]. Below 1 evaluation keeps the center crop of that fraction of the image's shorter
            side (of the largest box with the input's aspect ratio, if that is not square), as EfficientNet's
            `preprocessing.py` and timm do; 1 resizes the whole image.
        apply_orientation: whether image files are turned as their EXIF orientation says, so that the model sees what
            people see.

    Raises:
        ValueError: if a field is out of range.
    """

    input_size: tuple[int, int]
    channels: int
    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]
    interpolation: Interpolation = "bicubic"
    crop_fraction: float = 1.0
    apply_orientation: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_size", tuple(self.input_size))
        size = self.input_size
        if len(size) != 2 or not all(isinstance(side, int) and 0 < side <= _MAX_SIDE for side in size):
            raise ValueError(f"`input_size` is two integers (height, width) from 1 to {_MAX_SIDE}. Received: {size}")
        if self.channels not in (1, 3):
            raise ValueError(f"`channels` is 1 or 3. Received: {self.channels!r}")
        for name in ("mean", "std"):
            value = getattr(self, name)
            if isinstance(value, list | tuple):
                object.__setattr__(self, name, tuple(value))
                if len(value) != self.channels:
                    raise ValueError(f"`{name}` has one number for each of {self.channels} channels. Received: {value}")
        if not all(map(math.isfinite, _numbers(self.mean))):
            raise ValueError(f"`mean` is a finite number, or one per channel. Received: {self.mean!r}")
        if not all(math.isfinite(number) and number != 0 for number in _numbers(self.std)):
            raise ValueError(f"`std` is a finite number other than 0, or one per channel. Received: {self.std!r}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"`interpolation` is one of {INTERPOLATIONS}. Received: {self.interpolation!r}")
        if not 0 < self.crop_fraction <= 1:
            raise ValueError(f"`crop_fraction` is in (0, 1]. Received: {self.crop_fraction!r}")
        if not isinstance(self.apply_orientation, bool):
            raise ValueError(f"`apply_orientation` is True or False. Received: {self.apply_orientation!r}")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)` of the model's input."""
        return (*self.input_size, self.channels)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dict that JSON can hold."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Preprocessing:
        """Returns the `Preprocessing` of a `to_dict`, of this version or an earlier one.

        Raises:
            ValueError: a field is missing, unknown or out of range.
            TypeError: one is of another type.
        """
        stored = old_names.renamed(fields, old_names.PREPROCESSING)
        # Version 0.1, which does not say it, left images as they were stored.
        fields = {"apply_orientation": False, **stored}
        expected = {field.name for field in dataclasses.fields(cls)}
        if set(fields) != expected:
            raise ValueError(f"expected the fields {sorted(expected)}. Received: {sorted(stored)}")
        preprocessing = cls(**fields)
        check_types(preprocessing)
        return preprocessing

    def evaluation_image(self, image: tf.Tensor | np.ndarray) -> tf.Tensor:
        """Turns an image into the model's input, short of scaling: channels, center crop, resize.

        Args:
            image: uint8 or float tensor or array `[h, w, c]` of values in 0..255, `c` 1 or 3, `h` and `w` any size.

        Returns:
            A float32 tensor `[height, width, channels]` in 0..255.
        """
        image = self.convert_channels(image)
        if self.crop_fraction < 1:
            image = self._center_crop(image)
        return self.resize(image)

    def evaluation_images(self, images: Iterable[tf.Tensor | np.ndarray]) -> np.ndarray:
        """Returns `evaluation_image` of each of some images, float32 NumPy `[count, height, width, channels]`."""
        return np.stack([self.evaluation_image(image) for image in images])

    def convert_channels(self, image: tf.Tensor | np.ndarray) -> tf.Tensor:
        """Returns the image `[h, w, c]` as float32 with the model's channels; gray is the ITU-R 601 luma."""
        image = tf.cast(image, tf.float32)
        received = image.shape[-1]
        if received == self.channels:
            return image
        if received == 1:
            return tf.image.grayscale_to_rgb(image)
        if received == 3:
            return tf.image.rgb_to_grayscale(image)
        raise ValueError(f"expected an image of 1 or 3 channels. Received: shape {tuple(image.shape)}")

    def resize(self, image: tf.Tensor | np.ndarray) -> tf.Tensor:
        """Resizes an image `[h, w, channels]` to the input size, as float32 in 0..255."""
        image = tf.image.resize(image, self.input_size, method=self.interpolation, antialias=True)
        image = tf.clip_by_value(image, 0.0, 255.0)  # bicubic overshoots at edges
        return tf.ensure_shape(image, self.input_shape)

    def scale_images(self, images: tf.Tensor | np.ndarray) -> tf.Tensor:
        """Returns `(images - mean) / std` as float32, for pixels in 0..255."""
        return (tf.cast(images, tf.float32) - self.mean) / self.std

    def _center_crop(self, image: tf.Tensor) -> tf.Tensor:
        height, width = tf.unstack(tf.shape(image)[:2])
        input_height, input_width = self.input_size
        box_height = tf.minimum(tf.cast(height, tf.float32), tf.cast(width, tf.float32) * (input_height / input_width))
        box_width = tf.minimum(tf.cast(width, tf.float32), tf.cast(height, tf.float32) * (input_width / input_height))
        crop_height = tf.maximum(tf.cast(self.crop_fraction * box_height, tf.int32), 1)
        crop_width = tf.maximum(tf.cast(self.crop_fraction * box_width, tf.int32), 1)
        begin = [(height - crop_height + 1) // 2, (width - crop_width + 1) // 2, 0]
        return tf.slice(image, begin, [crop_height, crop_width, -1])


def _numbers(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)
