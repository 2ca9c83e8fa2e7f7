"""Mixup and cutmix: every example of a batch is mixed with the one at the same place from the other end."""

from condconv_keras.utils.lazy import tensorflow as tf


def mix(images, labels, options, num_classes, seed):
    """Mixes a batch by mixup or cutmix; with both, an even chance decides (as timm's `switch_prob` of 0.5).

    Args:
        images: float32 tensor `[batch, height, width, channels]` of static shape.
        labels: int32 tensor [batch].
        options: `AugmentationOptions` that mixes.
        num_classes: number of classes.
        seed: integer tensor [2]; it alone decides.

    Returns:
        The mixed images and their labels as probabilities, float32 `[batch, num_classes]`.
    """
    probabilities = tf.one_hot(labels, num_classes, dtype=tf.float32)
    choice_seed, mix_seed = tf.unstack(tf.random.split(seed, 2))

    def with_mixup():
        return mixup(images, probabilities, options.mixup_alpha, mix_seed)

    def with_cutmix():
        return cutmix(images, probabilities, options.cutmix_alpha, mix_seed)

    if not options.cutmix_alpha:
        return with_mixup()
    if not options.mixup_alpha:
        return with_cutmix()
    return tf.cond(tf.random.stateless_uniform([], choice_seed) < 0.5, with_mixup, with_cutmix)


def mixup(images, probabilities, alpha, seed):
    """Blends every example with its partner: `weight * own + (1 - weight) * partner's`, images and probabilities.

    The weight is one for the batch, drawn from Beta(alpha, alpha). Source: Zhang et al., "mixup: Beyond Empirical Risk
    Minimization", arXiv 1710.09412, section 2.

    Args:
        images: float32 tensor `[batch, height, width, channels]`.
        probabilities: float32 tensor `[batch, classes]`.
        alpha: above 0.
        seed: integer tensor [2].

    Returns:
        The mixed images and probabilities.
    """
    weight = sample_weight(alpha, seed)
    return _blend(images, weight), _blend(probabilities, weight)


def cutmix(images, probabilities, alpha, seed):
    """Pastes one rectangle of its partner into every example; the probabilities follow the area that was pasted.

    The rectangle is one for the batch. It has the image's aspect ratio and, for a weight drawn from Beta(alpha,
    alpha), `1 - weight` of its area. Its center is uniform over the image, so that the border may cut it off: what
    remains decides the probabilities. Source: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers
    with Localizable Features", arXiv 1905.04899, section 3, with the corrected weight of the authors' code and timm's.

    Args:
        images: float32 tensor `[batch, height, width, channels]` of static height and width.
        probabilities: float32 tensor `[batch, classes]`.
        alpha: above 0.
        seed: integer tensor [2].

    Returns:
        The mixed images and probabilities.
    """
    height, width = images.shape[1:3]
    weight_seed, center_seed = tf.unstack(tf.random.split(seed, 2))
    center = tf.random.stateless_uniform([2], center_seed)
    top, left, bottom, right = cut_box(sample_weight(alpha, weight_seed), center, height, width)
    rows, columns = tf.range(height)[:, None], tf.range(width)
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    weight = 1.0 - tf.cast((bottom - top) * (right - left), tf.float32) / (height * width)
    return tf.where(inside[..., None], images[::-1], images), _blend(probabilities, weight)


def sample_weight(alpha, seed):
    """Returns a float32 scalar drawn from Beta(alpha, alpha)."""
    # In float64: for a small alpha both gammas are often below the smallest float32.
    first, second = tf.unstack(tf.random.stateless_gamma([2], seed, alpha, dtype=tf.float64))
    return tf.cast(first / (first + second), tf.float32)


def cut_box(weight, center, height, width):
    """Returns the box (top, left, bottom, right) that cutmix pastes, in pixels and within the image.

    Args:
        weight: float32 scalar in [0, 1]; the box has `1 - weight` of the area of the image before it is cut off.
        center: float32 tensor [2], the row and column of its center as fractions of the size, in [0, 1).
        height, width: of the image.
    """
    size = tf.constant([height, width])
    box = tf.cast(tf.sqrt(1.0 - weight) * tf.cast(size, tf.float32), tf.int32)
    begin = tf.cast(center * tf.cast(size, tf.float32), tf.int32) - box // 2
    return (*tf.unstack(tf.maximum(begin, 0)), *tf.unstack(tf.minimum(begin + box, size)))


def _blend(values, weight):
    return weight * values + (1.0 - weight) * values[::-1]
