import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support, top_k_accuracy_score

from condconv_keras.tasks.classification.metrics import evaluate
from condconv_keras.tasks.progress import with_progress


def _evaluate(probabilities, labels, size=1000):
    batches = [(probabilities[i : i + size], labels[i : i + size]) for i in range(0, len(labels), size)]
    return evaluate(lambda images: images, batches)


@pytest.fixture
def predictions():
    """Probabilities [101, 12] and labels. Classes 3 and 11 have no example; 11 and 7 are never predicted."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(12), 101).astype(np.float32)
    probabilities[:, [7, 11]] = 0
    labels = rng.choice([0, 1, 2, 4, 5, 6, 7, 8, 9, 10], 101)
    assert 3 in probabilities.argmax(axis=1)
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("size", [1, 7, 32, 1000])
def test_metrics_equal_scikit_learn_for_every_batch_size(predictions, size):
    probabilities, labels = predictions
    metrics = _evaluate(probabilities, labels, size)
    classes = np.arange(12)
    predicted = probabilities.argmax(axis=1)
    assert (metrics.examples, metrics.not_finite) == (101, 0)
    assert metrics.top_1 == pytest.approx(top_k_accuracy_score(labels, probabilities, k=1, labels=classes))
    assert metrics.top_5 == pytest.approx(top_k_accuracy_score(labels, probabilities, k=5, labels=classes))
    clipped = np.maximum(probabilities, np.finfo(np.float32).tiny)
    assert metrics.loss == pytest.approx(-np.log(clipped[np.arange(101), labels].astype(np.float64)).mean())
    np.testing.assert_array_equal(metrics.confusion, confusion_matrix(labels, predicted, labels=classes))
    macro = precision_recall_fscore_support(
        labels, predicted, labels=np.unique(labels), average="macro", zero_division=0
    )
    assert (metrics.precision_macro, metrics.recall_macro, metrics.f1_macro) == pytest.approx(macro[:3])
    per_class = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    received = metrics.per_class
    np.testing.assert_allclose([received.precision, received.recall, received.f1], per_class[:3])
    np.testing.assert_array_equal(received.support, per_class[3])


def test_the_loss_equals_scikit_learn():
    rng = np.random.default_rng(1)
    probabilities, labels = rng.dirichlet(np.ones(12), 101).astype(np.float32), rng.integers(0, 12, 101)
    expected = log_loss(labels, probabilities, labels=np.arange(12))
    assert _evaluate(probabilities, labels).loss == pytest.approx(expected, rel=1e-5)


def test_fewer_than_five_classes_and_ties():
    probabilities = np.array([[0.5, 0.5], [0.5, 0.5], [0.0, 1.0]], np.float32)
    metrics = _evaluate(probabilities, np.array([0, 1, 0]))
    assert metrics.top_1 == pytest.approx(1 / 3)
    assert metrics.top_5 == 1.0
    np.testing.assert_array_equal(metrics.confusion, [[1, 1], [1, 0]])
    assert np.isfinite(metrics.loss)


def test_a_tie_over_the_fifth_place_counts_the_first_classes():
    probabilities = np.full((8, 8), 1 / 8)
    metrics = _evaluate(probabilities, np.arange(8))
    assert (metrics.top_1, metrics.top_5) == (1 / 8, 5 / 8)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_an_answer_that_is_not_finite_is_never_right(broken):
    good = [0.7, 0.2, 0.1]
    probabilities = np.array([good, [broken] * 3, [broken, 0.9, 0.1], [0.9, broken, 0.1]])
    metrics = _evaluate(probabilities, np.array([0, 0, 1, 1]))
    assert (metrics.top_1, metrics.top_5, metrics.examples, metrics.not_finite) == (0.25, 0.25, 4, 3)
    np.testing.assert_array_equal(metrics.confusion, np.diag([1, 0, 0]))
    np.testing.assert_array_equal(metrics.per_class.support, [2, 2, 0])
    np.testing.assert_array_equal(metrics.per_class.recall, [0.5, 0, 0])
    assert metrics.loss == pytest.approx((-np.log(0.7) - 3 * np.log(np.finfo(np.float32).tiny)) / 4)


def test_the_accuracy_among_a_subset_of_the_classes(predictions):
    probabilities, labels = predictions
    subset = [1, 4, 7, 9]
    kept = np.isin(labels, subset)
    probabilities, labels = probabilities[kept], labels[kept]
    metrics = evaluate(
        lambda images: images, [(probabilities[:9], labels[:9]), (probabilities[9:], labels[9:])], subset
    )
    # scikit-learn's, of probabilities that are 0 elsewhere.
    masked = np.where(np.isin(np.arange(12), subset), probabilities, 0)
    expected = top_k_accuracy_score(labels, masked, k=1, labels=np.arange(12))
    assert metrics.top_1_subset == pytest.approx(expected) and expected > metrics.top_1
    assert metrics.top_1 == _evaluate(probabilities, labels).top_1
    assert metrics.to_dict().items() >= {"subset_classes": 4, "top_1_subset": metrics.top_1_subset}.items()
    assert "top_1_subset" not in _evaluate(probabilities, labels).to_dict()
    # An answer that is not finite is wrong here, too.
    metrics = evaluate(lambda images: images, [(np.array([[0.1, 0.2, 0.7], [np.nan, 0, 1]]), np.array([1, 0]))], [0, 1])
    assert (metrics.top_1, metrics.top_1_subset) == (0, 0.5)


def test_fillers_are_not_counted(predictions):
    probabilities, labels = predictions
    expected = _evaluate(probabilities, labels)
    rng = np.random.default_rng(2)
    filled = np.full(150, -1)
    places = np.sort(rng.permutation(150)[:101])
    filled[places] = labels
    answers = rng.dirichlet(np.ones(12), 150)
    answers[filled == -1] = np.nan
    answers[places] = probabilities
    received = _evaluate(answers, filled, size=3)
    assert received.to_dict() == pytest.approx(expected.to_dict())
    np.testing.assert_array_equal(received.confusion, expected.confusion)


def test_the_dict_holds_numbers_that_json_can_hold(predictions):
    fields = json.loads(json.dumps(_evaluate(*predictions).to_dict(), allow_nan=False))
    assert list(fields) == [
        "top_1",
        "top_5",
        "loss",
        "precision_macro",
        "recall_macro",
        "f1_macro",
        "examples",
        "not_finite",
    ]


@pytest.mark.parametrize("labels", [[], [-1, -1]])
def test_no_example_is_an_error(labels):
    with pytest.raises(ValueError, match="at least one example"):
        _evaluate(np.full((len(labels), 2), 0.5), np.array(labels))


def test_the_progress_counts_images_whatever_their_labels_are(monkeypatch):
    counted = []

    class Bar:
        def __init__(self, total, **_):
            counted.append(("total", total))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, number):
            counted.append(number)

    monkeypatch.setattr("tqdm.tqdm", Bar)
    batches = [
        (np.zeros((4, 2)), np.zeros(4)),
        (np.zeros((3, 2)), {"boxes": np.zeros((3, 9, 4)), "count": np.zeros(3)}),
    ]
    assert list(with_progress(batches, 7)) == batches
    assert counted == [("total", 7), 4, 3]
