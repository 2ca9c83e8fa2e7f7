"""The loss of a classifier."""

import numpy as np

from condconv_keras.utils.lazy import keras


def balanced_weights(counts):
    """Returns the weights, float32 [classes], with which all classes weigh the same, and an example 1 in the mean.

    As scikit-learn's `class_weight="balanced"`: examples / (classes * examples of the class).

    Args:
        counts: int [classes], examples of each class. A class without any has the weight 0 and is not counted.
    """
    counts = np.asarray(counts, np.float64)
    occurring = np.count_nonzero(counts)
    return np.divide(counts.sum() / max(occurring, 1), counts, out=np.zeros(len(counts)), where=counts > 0).astype("f4")


def make_loss(recipe, num_classes, class_weights=None):
    """Returns the cross entropy of logits with integer or soft labels, smoothed by the recipe, of each example.

    Keras' sparse cross entropy has no label smoothing: integer labels are made one-hot here.

    Args:
        recipe: `ClassificationRecipe`.
        num_classes: classes.
        class_weights: float [classes] that the loss of an example is multiplied by: its class's, of soft labels the
            mean of the classes'; None for none.
    """

    def smoothed_cross_entropy(labels, logits):
        if len(labels.shape) < 2:
            labels = keras.ops.one_hot(labels, num_classes, dtype=logits.dtype)
        losses = keras.losses.categorical_crossentropy(
            labels, logits, from_logits=True, label_smoothing=recipe.label_smoothing
        )
        if class_weights is None:
            return losses
        weights = keras.ops.cast(class_weights, losses.dtype)
        return losses * keras.ops.sum(keras.ops.cast(labels, losses.dtype) * weights, axis=-1)

    return smoothed_cross_entropy
