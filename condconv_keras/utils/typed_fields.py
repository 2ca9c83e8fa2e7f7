"""Whether the fields of a dataclass are of the types that it states: what was stored may have been written by hand."""

import dataclasses
import sys
import types
import typing

# What reading a JSON value of another form than expected raises: a list where a dict has to be, a number too large for
# a float, lists in lists without end.
OTHER_FORM = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def check_types(instance):
    """Raises a TypeError for the first field of a dataclass that is not of its type.

    An integer is a float, too; a truth value is no number.

    Args:
        instance: of a dataclass whose fields are of simple types, literals, dataclasses, and dicts, lists and tuples.
    """
    # Annotations are text in the modules that postpone them.
    kinds = typing.get_type_hints(type(instance))
    for field in dataclasses.fields(instance):
        value, kind = getattr(instance, field.name), kinds[field.name]
        if not _is(value, kind):
            expected = getattr(kind, "__name__", kind)
            raise TypeError(f"`{field.name}` is of the type {expected}. Received: {value!r}")


def _is(value, kind):
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return any(_is(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is tuple and inner[-1] is not Ellipsis:
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(_is, value, inner))
    if origin in (tuple, list):
        return isinstance(value, origin) and all(_is(item, inner[0]) for item in value)
    if isinstance(value, bool):
        return kind in (bool, object)
    if kind is float:
        return isinstance(value, float) or (isinstance(value, int) and abs(value) <= sys.float_info.max)
    return isinstance(value, origin or kind)
