"""Random transforms of one training image, each a pure function of the image and its seed.

A spatial transform takes `(image, seed, preprocessing)`: a `DecodedImage` or `EncodedImage` of values in 0..255 and any
size, an integer seed of shape [2], and the model's `Preprocessing`. It returns float32 `[height, width, channels]` in
0..255, the model's input short of scaling.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal, TypeAlias

from condconv_keras.data.augment.erasing import erase_rectangle
from condconv_keras.data.augment.policies import MAX_MAGNITUDE, POLICIES, PolicyName, make_policy
from condconv_keras.data.input.decoding import DecodedImage, EncodedImage
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.utils.errors import UserError, unknown_name
from condconv_keras.utils.lazy import tensorflow as tf

PAD_FRACTION = 8  # pads by 1/8 of the size, as the usual 4 pixels at 32x32
Spatial: TypeAlias = Literal["none", "pad_crop", "inception"]
AREA_RANGE = (0.08, 1.0)
ASPECT_RATIO_RANGE = (3 / 4, 4 / 3)

_Image: TypeAlias = DecodedImage | EncodedImage


@dataclasses.dataclass(frozen=True)
class AugmentationOptions:
    """How training images are changed at random.

    Attributes:
        augmentation: `"none"`, `"pad_crop"` (shifts by up to an eighth of the size) or `"inception"` (a random area,
            resized, flipped half of the time). Images with boxes have their own, in
            `box_augmentation`.
        policy: None, `"autoaugment"` (its policy v0) or `"randaugment"`, as in `condconv_keras.data.augment.policies`.
        policy_layers: RandAugment's operations per image, at least 1.
        policy_magnitude: RandAugment's magnitude, in [0, 10].
        random_erasing: probability that a rectangle of an image is replaced by noise, in [0, 1].
        mixup_alpha: parameter of the Beta distribution of the weight of the first of two images that are blended; 0 for
            none. See `condconv_keras.data.augment.mixing`.
        cutmix_alpha: the same of two images of which a part of one is pasted into the other. With both, each batch has
            an even chance of one or the other.

    Raises:
        UserError: if a name is unknown or a number is out of range.
    """

    augmentation: Spatial = "none"
    policy: PolicyName | None = None
    policy_layers: int = 2
    policy_magnitude: float = 10.0
    random_erasing: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def __post_init__(self) -> None:
        if self.augmentation not in SPATIAL:
            raise unknown_name("augmentation", self.augmentation, SPATIAL)
        if self.policy is not None and self.policy not in POLICIES:
            raise unknown_name("augmentation policy", self.policy, POLICIES)
        self._check("policy_layers", self.policy_layers >= 1, "at least 1")
        self._check("policy_magnitude", 0 <= self.policy_magnitude <= MAX_MAGNITUDE, f"in [0, {MAX_MAGNITUDE:g}]")
        self._check("random_erasing", 0 <= self.random_erasing <= 1, "in [0, 1]")
        self._check("mixup_alpha", 0 <= self.mixup_alpha < math.inf, "at least 0")
        self._check("cutmix_alpha", 0 <= self.cutmix_alpha < math.inf, "at least 0")

    def _check(self, name: str, valid: bool, expected: str) -> None:
        if not valid:
            raise UserError(f"`{name}` must be {expected}. Received: {name}={getattr(self, name)!r}")

    @property
    def mixes(self) -> bool:
        """Whether examples are mixed with each other: labels are then probabilities."""
        return self.mixup_alpha > 0 or self.cutmix_alpha > 0


def make_augmentation(
    options: AugmentationOptions, preprocessing: Preprocessing
) -> Callable[[_Image, tf.Tensor], tf.Tensor]:
    """Returns the function that turns a training image into the model's input.

    Args:
        options: `AugmentationOptions`.
        preprocessing: the model's `Preprocessing`.

    Returns:
        A function of a `DecodedImage` or `EncodedImage` and an integer seed of shape [2] that returns float32
        `[height, width, channels]`, scaled. The seed alone decides.
    """
    spatial = get_spatial(options.augmentation)
    policy = make_policy(options)

    def augment(image: _Image, seed: tf.Tensor) -> tf.Tensor:
        image = spatial(image, seed, preprocessing)
        if policy is not None:
            image = policy(image, tf.random.fold_in(seed, 0))
        image = preprocessing.scale_images(image)
        if options.random_erasing:
            image = erase_rectangle(image, options.random_erasing, tf.random.fold_in(seed, 1))
        return image

    return augment


def get_spatial(name: str) -> Callable[[_Image, tf.Tensor, Preprocessing], tf.Tensor]:
    """Returns the spatial transform of this name, one of `SPATIAL`."""
    return SPATIAL[name]


def _none(image: _Image, seed: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    del seed
    return preprocessing.evaluation_image(image.whole())


def _pad_crop(image: _Image, seed: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Resizes, pads by reflection and crops back at a random place: for small images that must not be flipped."""
    height, width = preprocessing.input_size
    vertical, horizontal = height // PAD_FRACTION, width // PAD_FRACTION
    image = preprocessing.evaluation_image(image.whole())
    padded = tf.pad(image, [[vertical, vertical], [horizontal, horizontal], [0, 0]], mode="REFLECT")
    return tf.image.stateless_random_crop(padded, (height, width, preprocessing.channels), seed)


def _inception(image: _Image, seed: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Crops a random area at a random aspect ratio, resizes it and flips it half of the time.

    An image for which ten tries find no such crop is used whole. Source: Szegedy et al. 2015, section 6, with the
    ranges of EfficientNet's `preprocessing.py`.
    """
    crop_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))

    def sample(shape: tf.Tensor) -> tf.Tensor:
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            shape,
            bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            seed=crop_seed,
            min_object_covered=0.0,
            area_range=AREA_RANGE,
            aspect_ratio_range=ASPECT_RATIO_RANGE,
            max_attempts=10,
        )
        return tf.concat([begin[:2], size[:2]], axis=0)

    image = preprocessing.resize(preprocessing.convert_channels(image.window(sample)))
    return tf.image.stateless_random_flip_left_right(image, flip_seed)


SPATIAL = {"none": _none, "pad_crop": _pad_crop, "inception": _inception}
