"""Times calls in turn, A B A B: what slows the machine for a while slows all of them."""

import statistics
import time

from condconv_keras.utils.errors import one_line, op_reason

_MOST_REPEATS = 50
_ERROR_LENGTH = 200
_TRACED = "in user code:"


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


def timed_or_failed(calls, rounds, seconds, wait=lambda result: None):
    """Times the calls that work, as of `timed_rounds`, where some may be too large for the device or unknown to it.

    Args:
        calls, rounds, seconds, wait: those of `timed_rounds`. Each call is tried once more before.

    Returns:
        `(times, errors)`: what `timed_rounds` returns of the calls that work, and a dict of the others' names to their
        errors as of `error_line`.
    """
    working, errors = {}, {}
    for name, call in calls.items():
        try:
            wait(call())
            working[name] = call
        except Exception as error:  # TensorFlow, XLA, Keras and NumPy each have their own
            errors[name] = error_line(error)
    return timed_rounds(working, rounds, seconds, wait), errors


def error_line(error):
    """Returns an exception as one line of at most 200 characters: its class and its message, without any stack."""
    text = str(error).strip()
    if hasattr(error, "message"):  # TensorFlow's errors
        text = op_reason(error) or text
    elif text.startswith(_TRACED):  # the stack within a function that was traced, then the error
        text = text.splitlines()[-1]
    return one_line(f"{type(error).__name__}: {text}", _ERROR_LENGTH).removesuffix(":")


def wait_for_device(result):
    """Returns when the device of the running Keras backend has computed a call's result."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        jax.block_until_ready(result)
    else:
        import tensorflow as tf

        tf.test.experimental.sync_devices()


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
