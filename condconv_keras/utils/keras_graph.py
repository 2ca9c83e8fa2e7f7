"""Watches or changes what a Keras layer computes, for a while."""

import contextlib


@contextlib.contextmanager
def wrapped_call(layer, wrap):
    """While open, the layer calls `wrap(call)` in place of its own `call`.

    Args:
        layer: Keras layer. May be wrapped already; then it is again when this one closes.
        wrap: function of the layer's `call` that returns a function of the same arguments, made by `functools.wraps`:
            Keras looks at its signature.
    """
    # An attribute of the instance hides the method of the class; Keras' own attribute tracking is bypassed.
    attributes = vars(layer)
    before = attributes.get("call")
    attributes["call"] = wrap(layer.call)
    try:
        yield
    finally:
        if before is None:
            del attributes["call"]
        else:
            attributes["call"] = before
