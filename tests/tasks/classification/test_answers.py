"""How a classifier's answers are compared: the figures against the logits that they are of."""

import math

import numpy as np
import pytest

from condconv_keras.tasks.classification.answers import Comparison, centered_log_probabilities, compare, failures
from condconv_keras.tasks.error_figures import EQUAL_DB


def _softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


def test_the_figures_are_those_of_the_logits():
    rng = np.random.default_rng(1)
    logits, noise = rng.standard_normal((6, 5)) * 3, rng.standard_normal((6, 5)) * 0.1
    received = logits + noise
    comparison = compare(*(centered_log_probabilities(_softmax(x)) for x in (logits, received)))
    logits, received = (x - x.mean(-1, keepdims=True) for x in (logits, received))
    assert comparison.images == 6
    assert comparison.relative_error == pytest.approx(np.abs(received - logits).max() / np.abs(logits).max(), rel=1e-4)
    assert comparison.snr_db == pytest.approx(20 * np.log10(logits.std() / (received - logits).std()), abs=1e-3)
    assert comparison.same_class == (logits.argmax(-1) == received.argmax(-1)).sum()


def test_what_float32_probabilities_cannot_show_is_no_difference():
    logits = np.random.default_rng(1).standard_normal((6, 1000)) * 1e-5
    reference, received = (
        centered_log_probabilities(_softmax(logits).astype(dtype)) for dtype in ("float64", "float32")
    )
    assert np.abs(received - reference).max() > 1e-3 * np.abs(reference).max()
    assert compare(reference, received).relative_error == 0
    assert compare(reference, reference[::-1]).relative_error > 0.5


def test_equal_and_vanishing_answers():
    answers = centered_log_probabilities(np.array([[1.0, 0.0, 0.0], [0.2, 0.5, 0.3]]))
    assert answers[0] == pytest.approx(np.log([1, 1e-30, 1e-30]) - np.log(1e-30) * 2 / 3)
    assert compare(answers, answers) == Comparison(2, 0.0, EQUAL_DB, 2, 0.0)
    flat = np.zeros((2, 3))
    assert compare(flat, flat).snr_db == EQUAL_DB
    assert compare(flat, answers).relative_error == math.inf


def test_a_confident_answer_may_not_change_and_a_near_tie_may():
    reference = centered_log_probabilities(np.array([[0.9, 0.05, 0.05], [0.340, 0.335, 0.325]]))
    tie, confident = reference.copy(), reference.copy()
    tie[1, [0, 1]] = tie[1, [1, 0]]
    confident[0, [0, 1]] = confident[0, [1, 0]]
    assert compare(reference, tie).same_class == compare(reference, confident).same_class == 1
    assert not failures(compare(reference, tie), reference, min_snr_db=20)
    assert "change places" in failures(compare(reference, confident), reference, min_snr_db=20)[-1]
    # float32 rounding explains neither.
    assert len(failures(compare(reference, tie), reference, max_relative_error=1e-4)) == 2
