"""SSD's two losses. Each is summed over an image's anchors and divided by the matched anchors of the batch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from condconv_keras.utils.annotations import Tensor


@keras.saving.register_keras_serializable(package="condconv_keras")
class SigmoidFocalLoss(keras.losses.Loss):
    """Focal loss of independent sigmoids, one per class.

    For the logit x of a class and its target, let z = x where the target is 1 and -x where it is 0. The class's loss is
    `alpha_t * sigmoid(-z)**gamma * softplus(-z)` with alpha_t = alpha for target 1, else 1 - alpha. An anchor without a
    box has target 0 for every class. The background's column, which no detection is made of, does not count: with it,
    a score of 0.01 to start from would be wrong for nearly every anchor. Source: Lin et al., "Focal Loss for Dense
    Object Detection", arXiv 1708.02002, section 3; the constants are those of SSD with MobileNetV1 in the TensorFlow
    Object Detection API.

    Args:
        alpha: weight of the classes with target 1, in [0, 1].
        gamma: at least 0; how far well-classified ones count less.

    Call:
        - y_true: integers [batch, anchors]: 0 for the background, 1 + class, -1 for an anchor that does not count.
        - y_pred: float logits [batch, anchors, 1 + classes].

        Returns the mean over the batch of `call`: the sum of the losses divided by the matched anchors (at least 1).
    """

    def __init__(self, alpha: float = 0.75, gamma: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = alpha
        self.gamma = gamma

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns float32 [batch]: each image's sum times batch / matched anchors of the batch."""
        labels = ops.cast(y_true, "int32")
        counts = labels >= 0
        # Chosen, not multiplied away: of an anchor that does not count no number matters, NaN neither.
        logits = ops.where(counts[..., None], ops.cast(y_pred[..., 1:], "float32"), 0.0)
        # No class is the target of label 0 or -1: one_hot of a negative number is zeros.
        is_target = ops.one_hot(labels - 1, logits.shape[-1], dtype="bool")
        z = ops.where(is_target, logits, -logits)
        # sigmoid(-z)**gamma as an exponential: its gradient is finite for every z and gamma.
        modulator = ops.exp(-self.gamma * ops.softplus(z))
        losses = ops.where(is_target, self.alpha, 1.0 - self.alpha) * modulator * ops.softplus(-z)
        per_anchor = ops.sum(losses, axis=-1) * ops.cast(counts, "float32")
        return _per_match(per_anchor, ops.cast(labels > 0, "float32"))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha, "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="condconv_keras")
class SmoothL1Loss(keras.losses.Loss):
    """Smooth L1 (Huber, delta 1) of the matched anchors' box codes, summed over the four coordinates.

    Source: Girshick, "Fast R-CNN", arXiv 1504.08083, equation 3.

    Call:
        - y_true: float [batch, anchors, 5]: the codes, then 1 for a matched anchor and 0 for another, which does not
            count.
        - y_pred: float codes [batch, anchors, 4].

        Returns the mean over the batch of `call`: the sum of the losses divided by the matched anchors (at least 1).
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns float32 [batch]: each image's sum times batch / matched anchors of the batch."""
        y_true = ops.cast(y_true, "float32")
        codes, matched = y_true[..., :4], y_true[..., 4]
        mean_of_coordinates = keras.losses.huber(codes, ops.cast(y_pred, "float32"), delta=1.0)
        return _per_match(4.0 * mean_of_coordinates * matched, matched)


def _per_match(losses: Tensor, matched: Tensor) -> Tensor:
    """Sums losses [batch, anchors] over the anchors, so that the mean over the batch is the sum per match."""
    batch = ops.cast(ops.shape(losses)[0], "float32")
    return ops.sum(losses, axis=-1) * batch / ops.maximum(ops.sum(matched), 1.0)
