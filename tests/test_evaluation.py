import numpy as np
import pytest
from sklearn.metrics import log_loss, top_k_accuracy_score

from condconv_keras.evaluation import evaluate


def _batches(probabilities, labels, size):
    for start in range(0, len(labels), size):
        yield probabilities[start : start + size], labels[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 32, 1000])
def test_metrics_equal_scikit_learn_for_every_batch_size(size):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(12), 101).astype(np.float32)
    labels = rng.integers(0, 12, 101)
    metrics = evaluate(lambda images: images, _batches(probabilities, labels, size))
    classes = np.arange(12)
    assert metrics.examples == 101
    assert metrics.top_1 == pytest.approx(top_k_accuracy_score(labels, probabilities, k=1, labels=classes))
    assert metrics.top_5 == pytest.approx(top_k_accuracy_score(labels, probabilities, k=5, labels=classes))
    assert metrics.loss == pytest.approx(log_loss(labels, probabilities, labels=classes), rel=1e-5)


def test_fewer_than_five_classes_and_ties():
    probabilities = np.array([[0.5, 0.5], [0.5, 0.5], [0.0, 1.0]], np.float32)
    metrics = evaluate(lambda images: images, [(probabilities, np.array([0, 1, 0]))])
    assert metrics.top_1 == pytest.approx(1 / 3)
    assert metrics.top_5 == 1.0
    assert np.isfinite(metrics.loss)


def test_no_example_is_an_error():
    with pytest.raises(ValueError, match="at least one example"):
        evaluate(lambda images: images, [])
