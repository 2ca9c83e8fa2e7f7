"""Times calls in turn, A B A B: what slows the machine for a while slows all of them."""

import statistics
import time

_MOST_REPEATS = 50


def timed_rounds(calls, rounds, seconds, wait=lambda result: None):
    """Returns the seconds that one call took in every round, of each call.

    Args:
        calls: dict of name to function without arguments. Each is called twice before anything counts.
        rounds: number of rounds.
        seconds: how long a call is repeated within a round, at most 50 times and at least once.
        wait: function of a call's result that returns when the device has computed it.

    Returns:
        A dict of name to a list of `rounds` floats.
    """
    for call in calls.values():
        wait(call())
        wait(call())
    repeats = {
        name: max(1, min(_MOST_REPEATS, int(seconds / max(_seconds(call, 1, wait), 1e-6))))
        for name, call in calls.items()
    }
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_seconds(call, repeats[name], wait))
    return times


def ratio_of(base, other):
    """Returns the ratio of two calls' medians, `other` to `base`, and the quartiles of the ratios within a round.

    Args:
        base, other: lists of seconds of the same rounds, at least two.

    Returns:
        `(ratio, low, high)`.
    """
    low, _, high = statistics.quantiles([b / a for a, b in zip(base, other, strict=True)], n=4)
    return statistics.median(other) / statistics.median(base), low, high


def _seconds(call, repeats, wait):
    start = time.perf_counter()
    for _ in range(repeats):
        result = call()
    wait(result)
    return (time.perf_counter() - start) / repeats
