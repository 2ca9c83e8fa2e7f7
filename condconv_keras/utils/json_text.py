"""JSON that every reader takes: Python writes the words NaN and Infinity, which RFC 8259 does not have."""

import json
import math


def json_text(value, indent=2, **options):
    """Returns a value as JSON text; a float that is not finite, as the probability of a diverged model, is null.

    Only ASCII: a name that is no valid Unicode, as of a file with other bytes, is written with escapes and read again.

    Args:
        value: dicts with text keys, lists, tuples, text, numbers, booleans and None, nested in any way.
        indent: spaces of a level, or None for one line.
        **options: those of `json.dumps`.
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False, **options)


def exact_json_text(value, **options):
    """Returns a configuration of Keras as JSON text as Keras writes it: an infinity in it stays one, and is read again.

    Args:
        value: as of `json_text`.
        **options: those of `json.dumps`.
    """
    return json.dumps(value, **options)


def _finite(value):
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
