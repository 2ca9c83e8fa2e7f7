"""The loss of a classifier against NumPy."""

import dataclasses

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from condconv_keras.tasks.classification.loss import balanced_weights, make_loss
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


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.repeat([0, 1, 2], [6, 3, 1])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(balanced_weights(np.bincount(labels)), expected, rtol=1e-6)
    # A class without examples changes nothing for the others.
    np.testing.assert_allclose(balanced_weights([6, 0, 3, 1]), np.insert(expected, 1, 0), rtol=1e-6)


def test_class_weights_multiply_the_loss_of_hard_and_of_mixed_labels():
    recipe = dataclasses.replace(get_recipe("digits"), label_smoothing=0.1)
    logits = keras.ops.convert_to_tensor(np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32))
    weights = np.array([0.5, 3.0], np.float32)
    plain, weighted = make_loss(recipe, 2), make_loss(recipe, 2, weights)
    hard, mixed = np.array([0, 1, 1]), np.array([[1, 0], [0.25, 0.75], [0, 1]], np.float32)
    np.testing.assert_allclose(weighted(hard, logits), plain(hard, logits) * weights[hard], rtol=1e-6)
    np.testing.assert_allclose(weighted(mixed, logits), plain(mixed, logits) * (mixed @ weights), rtol=1e-6)
