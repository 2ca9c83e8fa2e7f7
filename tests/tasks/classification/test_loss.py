"""The loss of a classifier against NumPy."""

import dataclasses

import keras
import numpy as np
import pytest

from condconv_keras.tasks.classification.loss import make_loss
from condconv_keras.training.recipes import get_recipe


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_smoothed_cross_entropy_of_logits(smoothing):
    recipe = dataclasses.replace(get_recipe("digits"), label_smoothing=smoothing)
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((6, 5)).astype(np.float32), np.array([0, 1, 2, 3, 4, 0])
    targets = np.eye(5)[labels] * (1 - smoothing) + smoothing / 5
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    loss = make_loss(recipe, 5)(labels, keras.ops.convert_to_tensor(logits))
    np.testing.assert_allclose(np.asarray(loss), -(targets * log_probabilities).sum(-1), rtol=1e-5)
