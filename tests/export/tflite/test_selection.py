"""Layers that stay out of 8 bits: the noisiest for what they cost, within the budget."""

import math

import numpy as np
import pytest

from condconv_keras.export.budget import Budget
from condconv_keras.export.tflite.selection import Candidate, choose, signal_to_noise

# Energies of the noise of each candidate, and bytes and multiply-adds of each.
NOISE = [1.0, 30.0, 5.0, 80.0, 0.5, 10.0]
BYTES = [10, 10, 10, 40, 10, 10]
MULTIPLY_ADDS = [1, 2, 3, 4, 5, 6]
EVERYTHING = Budget(math.inf, math.inf)


class Network:
    """Answers whose noise is the sum of those of the candidates in 8 bits: vectors at right angles to each other."""

    def __init__(self, noise=NOISE, sizes=BYTES, rest=0.0):
        rng = np.random.default_rng(0)
        sums = zip(sizes, MULTIPLY_ADDS, strict=True)
        self.candidates = [Candidate(f"layer{i}", (f"tensor{i}",), *pair) for i, pair in enumerate(sums)]
        vectors = rng.normal(size=(4 * 50, len(noise) + 1))
        # Without the mean of an image's values, which is no noise of logits.
        vectors = (vectors.reshape(4, 50, -1) - vectors.reshape(4, 50, -1).mean(axis=1, keepdims=True)).reshape(200, -1)
        vectors = np.linalg.qr(vectors)[0] * np.sqrt([*noise, rest])
        self.vectors = vectors.T.reshape(-1, 4, 50)
        self.reference = rng.normal(size=(4, 50))
        self.reference -= self.reference.mean(axis=1, keepdims=True)
        self.signal = np.square(self.reference).sum()
        self.looks = 0

    def answers(self, kept):
        self.looks += 1
        noisy = [i for i, each in enumerate(self.candidates) if each not in kept]
        return [self.reference + self.vectors[[*noisy, -1]].sum(axis=0)]

    def db(self, noise):
        """The signal-to-noise ratio of a sum of energies."""
        return 10 * math.log10(self.signal / noise)

    def chosen(self, target_db, budget):
        found = choose(self.candidates, self.answers, [self.reference], target_db, budget)
        return [self.candidates.index(each) for each in found]


def test_the_noise_is_that_of_the_model():
    network = Network()
    kept = [network.candidates[3], network.candidates[1]]
    assert signal_to_noise([network.reference], network.answers(kept)) == pytest.approx(network.db(16.5))


def test_nothing_is_chosen_where_the_target_is_met():
    network = Network()
    assert network.chosen(network.db(sum(NOISE)) - 0.1, EVERYTHING) == []
    assert network.looks == 1
    assert choose([], network.answers, [network.reference], 200, EVERYTHING) == []


@pytest.mark.parametrize(
    ("left", "expected"),
    # In the order of noise by byte: 1 (3), 3 (2), 5 (1), 2 (0.5), 0 (0.1), 4 (0.05); listed as the candidates are.
    [(97, [1]), (17, [1, 3]), (7, [1, 3, 5]), (2, [1, 2, 3, 5]), (0.6, [0, 1, 2, 3, 5]), (0.1, [0, 1, 2, 3, 4, 5])],
)
def test_the_noisiest_by_byte_until_the_target_is_met(left, expected):
    network = Network()
    assert network.chosen(network.db(left), Budget(1000, math.inf)) == expected


def test_the_dearer_of_bytes_and_multiply_adds_counts():
    # By multiply-adds, of which there are fewer: 3 (20), 1 (15), 5 (1.7), 2 (1.7), 0 (1), 4 (0.1).
    network = Network()
    assert network.chosen(network.db(47), Budget(1000, 21)) == [3]
    assert network.chosen(network.db(47), Budget(50, 2100)) == [1, 3]


@pytest.mark.parametrize("budget", [(0, 0), (0, 100), (9, 21), (25, 21), (35, 8), (49, 21), (50, 6), (90, 21)])
def test_the_budget_is_never_exceeded(budget):
    network = Network()
    chosen = network.chosen(200, Budget(*budget))
    assert sum(BYTES[i] for i in chosen) <= budget[0]
    assert sum(MULTIPLY_ADDS[i] for i in chosen) <= budget[1]
    # Nothing that is left out would still fit.
    for other in set(range(6)) - set(chosen):
        spent = [sum(each[i] for i in [*chosen, other]) for each in (BYTES, MULTIPLY_ADDS)]
        assert spent[0] > budget[0] or spent[1] > budget[1]
    assert chosen == sorted(chosen)


def test_one_that_does_not_fit_is_passed_over():
    network = Network()
    assert network.chosen(200, Budget(39, 1000)) == [1, 2, 5]
    # What costs no bytes is taken on a budget of none.
    free = Network(sizes=[10, 0, 10, 40, 0, 10])
    assert free.chosen(200, Budget(0, 1000)) == [1, 4]


def test_noise_that_no_candidate_has_is_left():
    """A target that all of them miss takes all of them."""
    network = Network(rest=20.0)
    assert network.chosen(network.db(20.7), Budget(1000, math.inf)) == [0, 1, 2, 3, 5]
    assert network.chosen(network.db(19), Budget(1000, math.inf)) == [0, 1, 2, 3, 4, 5]


def test_the_share_of_a_budget():
    assert Budget(100, 10).share(25, 1) == 0.25
    assert Budget(100, 10).share(25, 5) == 0.5
    assert Budget(100, 10).share(200, 5) == 2
    assert Budget(0, 0).share(0, 0) == 0
    assert Budget(0, 10).share(0, 5) == 0.5
    assert Budget(0, 10).share(1, 0) == math.inf
    assert Budget(100, 0).share(1, 1) == math.inf


def test_signal_to_noise_ratios():
    logits = np.array([[1.0, -1.0, 3.0, -3.0]])
    noise = np.array([[0.1, -0.1, 0.3, -0.3]])
    assert signal_to_noise([logits], [logits + noise]) == pytest.approx(20)
    # The constant of logits is neither signal nor noise.
    assert signal_to_noise([logits + 7], [logits + noise + 2]) == pytest.approx(20)
    # That of all anchors is no signal, but counts as noise: [images, anchors, values].
    boxes = np.array([[[1.0, 5.0], [-1.0, 5.0]]])
    assert signal_to_noise([boxes], [boxes + [[[0.1, 0.0], [-0.1, 0.0]]]]) == pytest.approx(20)
    assert signal_to_noise([boxes], [boxes + [0.0, 0.1]]) == pytest.approx(20)
    # The worst of all outputs.
    assert signal_to_noise([boxes, logits], [boxes, logits + noise]) == pytest.approx(20)
    assert signal_to_noise([logits], [logits]) == 200
