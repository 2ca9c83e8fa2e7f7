"""Random transforms of one training image, each a pure function of the image and its seed.

An augmentation takes `(image, seed, preprocessing)`: an image `[h, w, c]` of values in 0..255 and any size, an integer
seed of shape [2], and the model's `Preprocessing`. It returns float32 `[height, width, channels]` in 0..255.
"""

from condconv_keras.errors import unknown_name

PAD_FRACTION = 8  # pads by 1/8 of the size, as the usual 4 pixels at 32x32
AREA_RANGE = (0.08, 1.0)
ASPECT_RATIO_RANGE = (3 / 4, 4 / 3)


def get_augmentation(name):
    """Returns the augmentation of this name; raises a `UserError` with close names if there is none."""
    if name not in _AUGMENTATIONS:
        raise unknown_name("augmentation", name, _AUGMENTATIONS)
    return _AUGMENTATIONS[name]


def _none(image, seed, preprocessing):
    del seed
    return preprocessing.evaluation_image(image)


def _pad_crop(image, seed, preprocessing):
    """Resizes, pads by reflection and crops back at a random place: for small images that must not be flipped."""
    import tensorflow as tf

    height, width = preprocessing.input_size
    vertical, horizontal = height // PAD_FRACTION, width // PAD_FRACTION
    image = preprocessing.evaluation_image(image)
    padded = tf.pad(image, [[vertical, vertical], [horizontal, horizontal], [0, 0]], mode="REFLECT")
    return tf.image.stateless_random_crop(padded, (height, width, preprocessing.channels), seed)


def _inception(image, seed, preprocessing):
    """Crops a random area at a random aspect ratio, resizes it and flips it half of the time.

    An image for which ten tries find no such crop is used whole. Source: Szegedy et al. 2015, section 6, with the
    ranges of EfficientNet's `preprocessing.py`.
    """
    import tensorflow as tf

    image = preprocessing.convert_channels(image)
    crop_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=crop_seed,
        min_object_covered=0.0,
        area_range=AREA_RANGE,
        aspect_ratio_range=ASPECT_RATIO_RANGE,
        max_attempts=10,
    )
    image = preprocessing.resize(tf.slice(image, begin, size))
    return tf.image.stateless_random_flip_left_right(image, flip_seed)


_AUGMENTATIONS = {"none": _none, "pad_crop": _pad_crop, "inception": _inception}
