"""AutoAugment and RandAugment on the image operations of tf-models-official.

The operations and AutoAugment's table of policies are those of `official.vision.ops.augment`; the random choices are
made here. Its own classes draw them from stateful generators, whose numbers depend on how many images were prepared
before and in which order the threads came to it; here an image's seed alone decides, so that a run that is
interrupted goes on with the same images. Two details differ on purpose: Solarize at magnitude 10 leaves the image as it
is (the threshold 256 is above every value; as a uint8 it would wrap to 0 and invert the image), and float images are
rounded to integers, not cut off.

The operations that move an image do so by numbers of pixels meant for inputs of about 224 pixels.
"""

import functools
from typing import Literal, TypeAlias

from condconv_keras.utils.lazy import OFFICIAL_VISION, LazyModule, load, require
from condconv_keras.utils.lazy import tensorflow as tf

augment = LazyModule("official.vision.ops.augment", extra="augmentation")

MAX_MAGNITUDE = 10.0  # of the operations
_GRAY = [128, 128, 128]  # where an operation has moved the image away
_RAND_AUGMENT_OPERATIONS = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "Posterize",
    "Solarize",
    "Color",
    "Contrast",
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Cutout",
    "SolarizeAdd",
)


def require_packages():
    """Raises a `MissingPackage` unless the packages of the policies are installed; imports none."""
    require(*OFFICIAL_VISION, extra="augmentation")


def make_policy(options):
    """Returns the policy of an `AugmentationOptions`, or None if it has none.

    A policy is a function of a float32 image `[height, width, 1 or 3]` of static shape in 0..255 and an integer seed
    of shape [2], which alone decides. It returns float32 of the same shape, integers in 0..255. A gray image is
    treated as an RGB image with three equal channels, which they stay.
    """
    if options.policy is None:
        return None
    load(augment)
    distort = POLICIES[options.policy](options)

    def policy(image, seed):
        channels = image.shape[-1]
        pixels = tf.cast(tf.round(tf.clip_by_value(image, 0.0, 255.0)), tf.uint8)
        rgb = pixels if channels == 3 else tf.image.grayscale_to_rgb(pixels)
        return tf.cast(distort(rgb, seed)[..., :channels], tf.float32)

    return policy


def auto_augment(image, seed, policies=None):
    """Applies a random one of AutoAugment's sub-policies: each of its operations with its probability and magnitude.

    Source: Cubuk et al., "AutoAugment: Learning Augmentation Policies from Data", arXiv 1805.09501, the ImageNet
    policy as "v0" of tf-models-official.

    Args:
        image: uint8 tensor `[height, width, 3]` of static shape.
        seed: integer tensor [2].
        policies: list of sub-policies, each a list of (operation, probability, magnitude); None for v0.

    Returns:
        A uint8 tensor of the image's shape.
    """
    policies = policies or augment.AutoAugment.policy_v0()
    longest = max(map(len, policies))
    choice_seed, chance_seed, *operation_seeds = tf.unstack(tf.random.split(seed, 2 + longest))
    choice = tf.random.stateless_uniform([], choice_seed, maxval=len(policies), dtype=tf.int32)
    # Drawn out here, once: a graph for every operation of every sub-policy is slow to build.
    chances = tf.unstack(tf.random.stateless_uniform([longest], chance_seed))

    def apply(sub_policy):
        result = image
        for i, (name, probability, magnitude) in enumerate(sub_policy):
            result = tf.cond(
                chances[i] < probability,
                functools.partial(_operate, result, name, magnitude, operation_seeds[i], cutout=100, translate=250),
                functools.partial(tf.identity, result),
            )
        return result

    return tf.switch_case(choice, [functools.partial(apply, sub_policy) for sub_policy in policies])


def rand_augment(image, seed, layers, magnitude):
    """Applies `layers` random operations of one magnitude, one after the other; one choice of 17 is to do nothing.

    Source: Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space", arXiv
    1909.13719, with the operations and constants of tf-models-official.

    Args:
        image: uint8 tensor `[height, width, 3]` of static shape.
        seed: integer tensor [2].
        layers: number of operations.
        magnitude: in [0, 10].

    Returns:
        A uint8 tensor of the image's shape.
    """
    for layer in range(layers):
        choice_seed, operation_seed = tf.unstack(tf.random.split(tf.random.fold_in(seed, layer), 2))
        branches = [
            functools.partial(_operate, image, name, magnitude, operation_seed, cutout=40, translate=100)
            for name in _RAND_AUGMENT_OPERATIONS
        ]
        choice = tf.random.stateless_uniform([], choice_seed, maxval=len(branches) + 1, dtype=tf.int32)
        image = tf.switch_case(choice, [*branches, functools.partial(tf.identity, image)])
    return image


def _operate(image, name, magnitude, seed, cutout, translate):
    """Applies one operation; `cutout` and `translate` are its pixels at the largest magnitude."""
    largest = {"Rotate": 30.0, "ShearX": 0.3, "ShearY": 0.3, "TranslateX": translate, "TranslateY": translate}
    operation = augment.NAME_TO_FUNC[name]
    if name == "Cutout":
        result = _cut_out(image, int(magnitude / MAX_MAGNITUDE * cutout), seed)
    elif name in largest:
        sign = tf.where(tf.random.stateless_uniform([], seed) < 0.5, -1.0, 1.0)
        result = operation(image, sign * (magnitude / MAX_MAGNITUDE * largest[name]), _GRAY)
    elif name == "Solarize" and magnitude == MAX_MAGNITUDE:
        result = image
    else:
        result = operation(image, *augment.level_to_arg(cutout, translate)[name](magnitude))
    return tf.ensure_shape(result, image.shape)


def _cut_out(image, half_size, seed):
    """Grays out a square of twice this size around a random point of the image, cut off at its border."""
    height, width, _ = image.shape
    center = tf.random.stateless_uniform([2], seed) * [height, width]
    row, column = tf.unstack(tf.cast(center, tf.int32))
    rows, columns = tf.range(height)[:, None], tf.range(width)
    inside = (
        (rows >= row - half_size)
        & (rows < row + half_size)
        & (columns >= column - half_size)
        & (columns < column + half_size)
    )
    return tf.where(inside[..., None], tf.constant(_GRAY, image.dtype), image)


def _auto_augment(options):
    del options
    return auto_augment


def _rand_augment(options):
    return functools.partial(rand_augment, layers=options.policy_layers, magnitude=options.policy_magnitude)


PolicyName: TypeAlias = Literal["autoaugment", "randaugment"]
# Names of policies to what makes, of an `AugmentationOptions`, the function of a uint8 RGB image and a seed.
POLICIES = {"autoaugment": _auto_augment, "randaugment": _rand_augment}
