import time

import pytest
import tensorflow as tf

from benchmarks.rounds import error_line, ratio_of, timed_or_failed, timed_rounds


def test_calls_take_turns():
    order, waited = [], []

    def call(name, seconds):
        order.append(name)
        time.sleep(seconds)
        return name

    calls = {"slow": lambda: call("slow", 0.01), "fast": lambda: call("fast", 0.001)}
    times = timed_rounds(calls, 3, seconds=0.021, wait=waited.append)
    # Two calls to warm up, one that is timed to see how often a round has to repeat it, three rounds.
    slow_repeats = (order.count("slow") - 3) // 3
    fast_repeats = (order.count("fast") - 3) // 3
    assert slow_repeats in (1, 2) and fast_repeats > slow_repeats
    one_round = ["slow"] * slow_repeats + ["fast"] * fast_repeats
    assert order[6:] == 3 * one_round
    assert len(waited) == 2 * (3 + 3)
    assert {name: len(values) for name, values in times.items()} == {"slow": 3, "fast": 3}
    assert all(value >= 0.01 for value in times["slow"])
    assert all(value >= 0.001 for value in times["fast"])


def test_ratio_of_medians_and_its_quartiles():
    base, other = [1.0, 2.0, 4.0, 8.0, 16.0], [2.0, 3.0, 4.0, 24.0, 64.0]
    ratio, low, high = ratio_of(base, other)
    assert ratio == 1.0  # 4 / 4
    # Within the rounds 2, 1.5, 1, 3, 4: the exclusive quartiles lie between the first and second, fourth and fifth.
    assert (low, high) == pytest.approx((1.25, 3.5))


def test_a_call_that_fails_does_not_stop_the_others():
    def full():
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\ntensor {{node x}} [Op:Conv2D]")

    waited = []
    times, errors = timed_or_failed({"fits": lambda: "result", "full": full}, 3, seconds=0, wait=waited.append)
    assert {name: len(values) for name, values in times.items()} == {"fits": 3}
    assert errors == {"full": "ResourceExhaustedError: OOM when allocating tensor"}
    # Once to try it, and then as of `timed_rounds`.
    assert waited == ["result"] * (1 + 2 + 1 + 3)


def test_an_error_is_one_line():
    @tf.function
    def traced(x):
        raise ValueError(f"no kernel\nfor {x.dtype.name}")

    with pytest.raises(ValueError) as caught:
        traced(tf.zeros(1))
    assert str(caught.value).startswith("in user code:")
    # The last line of it.
    assert error_line(caught.value) == "ValueError: for float32"
    assert error_line(MemoryError()) == "MemoryError"
    assert len(error_line(OSError("x" * 500))) == 200
