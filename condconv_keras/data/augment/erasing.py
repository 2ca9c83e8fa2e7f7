"""Random erasing: a rectangle of the image becomes noise.

tf-models-official's `RandomErasing` draws from stateful generators, and a rectangle near the top or the left is cut
off; this one is a pure function of its seed and always erases the whole rectangle that it draws.
"""

import math

from condconv_keras.utils.lazy import tensorflow as tf

AREA_RANGE = (0.02, 1 / 3)
ASPECT_RATIO_RANGE = (0.3, 1 / 0.3)
ATTEMPTS = 10


def erase_rectangle(image, probability, seed):
    """Replaces a random rectangle by Gaussian noise of mean 0 and variance 1, of its own for each value.

    Of `ATTEMPTS` rectangles of random area and aspect ratio (uniform and log-uniform) the first that is smaller than
    the image is taken, at a uniform place; if none is, the image stays as it is.

    Source: Zhong et al., "Random Erasing Data Augmentation", arXiv 1708.04896, algorithm 1, with the ranges and the
    noise of timm's `RandomErasing`, mode `"pixel"`.

    Args:
        image: float32 tensor `[height, width, channels]` of static shape, scaled to about -1..1.
        probability: that anything is erased, in [0, 1].
        seed: integer tensor [2]; it alone decides.

    Returns:
        A float32 tensor of the image's shape.
    """
    height, width, _ = image.shape
    chance_seed, area_seed, ratio_seed, place_seed, noise_seed = tf.unstack(tf.random.split(seed, 5))
    low, high = (height * width * fraction for fraction in AREA_RANGE)
    area = tf.random.stateless_uniform([ATTEMPTS], area_seed, low, high)
    ratio = tf.exp(tf.random.stateless_uniform([ATTEMPTS], ratio_seed, *map(math.log, ASPECT_RATIO_RANGE)))
    heights, widths = tf.round(tf.sqrt(area * ratio)), tf.round(tf.sqrt(area / ratio))
    fits = (heights < height) & (widths < width)
    first = tf.argmax(fits)
    place = tf.random.stateless_uniform([2], place_seed)
    top = tf.floor(place[0] * (height - heights[first] + 1))
    left = tf.floor(place[1] * (width - widths[first] + 1))
    rows, columns = tf.range(height, dtype=tf.float32)[:, None], tf.range(width, dtype=tf.float32)
    inside = (rows >= top) & (rows < top + heights[first]) & (columns >= left) & (columns < left + widths[first])
    erases = (tf.random.stateless_uniform([], chance_seed) < probability) & tf.reduce_any(fits)
    return tf.where((inside & erases)[..., None], tf.random.stateless_normal(image.shape, noise_seed), image)
