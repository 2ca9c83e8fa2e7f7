"""Checks of the flags that several benchmarks have."""

from condconv_keras.utils.errors import UserError, unknown_name


def batch_sizes(values, flag="batch"):
    """Returns the integers of `--batch` or another flag, as `positive_integers` does."""
    return positive_integers(flag, values, "batch sizes")


def positive_integers(flag, values, expected="positive integers"):
    """Returns the integers of a flag, a list of texts; raises a `UserError` for none and for one below 1."""
    if not values or not all(value.isdigit() and int(value) for value in values):
        raise UserError(f"--{flag} expects {expected}, received: {','.join(values)}")
    return [int(value) for value in values]


def check_names(kind, values, known):
    """Raises a `UserError` for a value that is not known."""
    for value in values:
        if value not in known:
            raise unknown_name(kind, value, known)
