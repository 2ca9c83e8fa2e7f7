"""How far answers are from a reference."""

import math

# What is reported in place of the infinite signal-to-noise ratio of equal answers.
EQUAL_DB = 200.0


def ratio(error, scale):
    """Returns an error as a part of a scale; 0 of nothing is 0."""
    return float(error / scale) if scale else (math.inf if error else 0.0)


def decibels(signal, noise):
    """Returns the ratio of two sums of squares in dB, at most `EQUAL_DB`."""
    if not noise:
        return EQUAL_DB
    return min(10 * math.log10(signal / noise), EQUAL_DB) if signal else -math.inf
