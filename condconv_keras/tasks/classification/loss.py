"""The loss of a classifier."""

from condconv_keras.utils.lazy import keras


def make_loss(recipe, num_classes):
    """Returns the cross entropy of logits with integer or soft labels, smoothed by the recipe, of each example.

    Keras' sparse cross entropy has no label smoothing: integer labels are made one-hot here.
    """

    def smoothed_cross_entropy(labels, logits):
        if len(labels.shape) < 2:
            labels = keras.ops.one_hot(labels, num_classes, dtype=logits.dtype)
        return keras.losses.categorical_crossentropy(
            labels, logits, from_logits=True, label_smoothing=recipe.label_smoothing
        )

    return smoothed_cross_entropy
