"""Random transforms of a training image and its boxes, each a pure function of its arguments and a seed.

Images are float32 `[height, width, channels]` in 0..255. A label is the dict of `DetectionDataset`: `boxes`, `classes`
and `is_crowd` of `n` boxes. Seeds are integers of shape [2]. Source: Liu et al., "SSD: Single Shot MultiBox Detector",
arXiv 1512.02325, section 2.2, with the constants of its released code.
"""

from condconv_keras.utils.errors import unknown_name
from condconv_keras.utils.lazy import tensorflow as tf

MIN_COVERED = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
AREA_RANGE = (0.1, 1.0)
ASPECT_RATIO_RANGE = (0.5, 2.0)
CROP_ATTEMPTS = 50
MAX_BRIGHTNESS = 32.0  # of 255
CONTRAST_RANGE = (0.5, 1.5)
SATURATION_RANGE = (0.5, 1.5)
MAX_HUE = 0.1  # of the color circle
PER_BOX = ("boxes", "classes", "is_crowd")


def training_detection_example(image, label, seed, preprocessing, augmentation):
    """Turns a training image and its label into the model's input and the boxes in it.

    The image is resized to the model's input without keeping its aspect ratio, as SSD does.

    Args:
        image: uint8 or float tensor `[height, width, 1 or 3]` in 0..255.
        label: dict of the image's boxes, as above.
        seed: integer tensor `[2]`, which alone decides.
        preprocessing: the model's `Preprocessing`, with a crop fraction of 1.
        augmentation: `"none"`, `"ssd"` (random crop, flip and color jitter) or `"ssd_no_flip"`, for what must not be
            mirrored, such as digits.

    Returns:
        The image, float32 `[height, width, channels]`, scaled; the boxes, float32 `[n, 4]` in [0, 1]; their classes,
        int32 `[n]`; and whether they are crowd boxes, bool `[n]`.

    Raises:
        UserError: if there is no augmentation of this name.
        ValueError: if the preprocessing crops, which would cut boxes.
    """
    if augmentation not in AUGMENTATIONS:
        raise unknown_name("augmentation", augmentation, AUGMENTATIONS)
    if preprocessing.crop_fraction != 1:
        raise ValueError(f"expected a crop fraction of 1 for detection. Received: {preprocessing.crop_fraction}")
    transforms = AUGMENTATIONS[augmentation]
    image = preprocessing.convert_channels(image)
    label = {key: label[key] for key in PER_BOX}
    crop_seed, flip_seed, color_seed = tf.unstack(tf.random.split(seed, 3))
    if "crop" in transforms:
        image, label = ssd_random_crop(image, label, crop_seed)
    image = preprocessing.resize(image)
    if "flip" in transforms:
        image, label = random_flip(image, label, flip_seed)
    if "color" in transforms:
        image = color_jitter(image, color_seed)
    return preprocessing.scale_images(image), *(label[key] for key in PER_BOX)


AUGMENTATIONS = {
    "none": frozenset(),
    "ssd": frozenset({"crop", "flip", "color"}),
    "ssd_no_flip": frozenset({"crop", "color"}),
}


def ssd_random_crop(image, label, seed):
    """Returns the image as it is or, with six of seven chances, a random part of it, and the boxes in that part.

    A part has an area of 0.1 to 1 of the image's and an aspect ratio from 1/2 to 2. For an equal chance of each of
    `MIN_COVERED` it covers at least this fraction of some box that is no crowd (the coverage of the box stands for
    the paper's overlap, as in public TensorFlow implementations). The image is left whole where no such part is found
    in `CROP_ATTEMPTS` tries. See `crop_boxes` for the label.
    """
    option_seed, sample_seed = tf.unstack(tf.random.split(seed, 2))
    option = tf.random.stateless_uniform([], option_seed, maxval=len(MIN_COVERED) + 1, dtype=tf.int32)
    shape = tf.shape(image)

    def sample():
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            shape,
            bounding_boxes=tf.boolean_mask(label["boxes"], ~label["is_crowd"])[tf.newaxis],
            seed=sample_seed,
            min_object_covered=tf.gather(tf.constant(MIN_COVERED), tf.minimum(option, len(MIN_COVERED) - 1)),
            area_range=AREA_RANGE,
            aspect_ratio_range=ASPECT_RATIO_RANGE,
            max_attempts=CROP_ATTEMPTS,
            use_image_if_no_bounding_boxes=True,
        )
        return begin[:2], size[:2]

    begin, size = tf.cond(option < len(MIN_COVERED), sample, lambda: (tf.zeros([2], tf.int32), shape[:2]))
    cropped = tf.slice(image, tf.concat([begin, [0]], axis=0), tf.concat([size, [-1]], axis=0))
    full_size = tf.cast(shape[:2], tf.float32)
    window = tf.concat([tf.cast(begin, tf.float32) / full_size, tf.cast(begin + size, tf.float32) / full_size], axis=0)
    return cropped, crop_boxes(label, window)


def crop_boxes(label, window):
    """Returns the label of a part of an image.

    Boxes with the center outside are dropped, with their classes and crowd flags. The others are clipped and given as
    fractions of the part.

    Args:
        label: dict, as above.
        window: float32 `[4]`, (ymin, xmin, ymax, xmax) of the part as fractions of the image's size.
    """
    begin, end = window[:2], window[2:]
    boxes = label["boxes"]
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = (boxes - tf.tile(begin, [2])) / tf.tile(end - begin, [2])
    inside = tf.clip_by_value(inside, 0.0, 1.0)
    # Rounding may leave nothing of a sliver at the border.
    kept = tf.reduce_all((center >= begin) & (center < end) & (inside[:, 2:] > inside[:, :2]), axis=1)
    return {key: tf.boolean_mask(inside if key == "boxes" else label[key], kept) for key in PER_BOX}


def random_flip(image, label, seed):
    """Returns the image and its label, mirrored left to right for half of the seeds."""
    flipped = tf.random.stateless_uniform([], seed) < 0.5
    image = tf.cond(flipped, lambda: tf.reverse(image, axis=[1]), lambda: image)
    return image, label | {"boxes": tf.where(flipped, flip_boxes(label["boxes"]), label["boxes"])}


def flip_boxes(boxes):
    """Returns boxes `[n, 4]` of the image that is mirrored left to right."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    return tf.stack([ymin, 1 - xmax, ymax, 1 - xmin], axis=1)


def color_jitter(image, seed):
    """Changes brightness, contrast and, of an RGB image, saturation and hue, each for half of the seeds.

    Args:
        image: float32 `[height, width, 1 or 3]` in 0..255.
        seed: integer tensor `[2]`.

    Returns:
        The image, in 0..255.
    """
    changes = [
        lambda pixels, seed: tf.image.stateless_random_brightness(pixels, MAX_BRIGHTNESS, seed),
        lambda pixels, seed: tf.image.stateless_random_contrast(pixels, *CONTRAST_RANGE, seed),
        lambda pixels, seed: tf.image.stateless_random_saturation(pixels, *SATURATION_RANGE, seed),
        lambda pixels, seed: tf.image.stateless_random_hue(pixels, MAX_HUE, seed),
    ]
    if image.shape[-1] == 1:
        changes = changes[:2]
    for change, change_seed in zip(changes, tf.unstack(tf.random.split(seed, len(changes))), strict=True):
        image = _half_of_the_time(change, image, change_seed)
    return image


def _half_of_the_time(change, image, seed):
    decision_seed, change_seed = tf.unstack(tf.random.split(seed, 2))
    # Saturation and hue are of the colors in 0..255 only.
    return tf.cond(
        tf.random.stateless_uniform([], decision_seed) < 0.5,
        lambda: tf.clip_by_value(change(image, change_seed), 0.0, 255.0),
        lambda: image,
    )
