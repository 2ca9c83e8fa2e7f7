"""The errors that a script shows its user as one line."""

from __future__ import annotations

import contextlib
import contextvars
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

# Lines of the message of a graph that failed, which say where.
_OF_THE_STACK = re.compile(r"\s|Graph execution error|Detected at node|<stack traces unavailable>")
_ASSERTION = "assertion failed: "
_WORDING: contextvars.ContextVar[Callable[[str], str]] = contextvars.ContextVar("wording", default=str)


class UserError(ValueError):
    """Bad input from the user: the message is one line that says what was expected and what was received.

    It names arguments in backticks, as `` `seed` `` or `` `strategy='tpu'` ``, which scripts print as the flags that
    they are there: without a traceback, and they exit with `EXIT_CODE`.
    """

    EXIT_CODE = 2

    def __init__(self, message: object = "") -> None:
        # What a message names, a folder or a cell of a table, may have line ends in it.
        super().__init__(" ".join(str(message).splitlines()))


class MissingPackage(ModuleNotFoundError):
    """A package that is not installed: the message is one line that names the `pip install` which brings it.

    Scripts print it as they print a `UserError`. It is none: a handler of bad files or values must not take it for one.
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Returns a `UserError` for a name that is not registered, with the closest known names.

    Args:
        kind: what the name names, for the message, as in `"model"`.
        name: string, as received.
        known: iterable of the names that exist.
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        hint = f"Did you mean {' or '.join(repr(c) for c in close)}?"
    elif len(known) <= 20:
        hint = f"Known: {', '.join(known)}."
    else:
        hint = f"None of the {len(known)} known names is close."
    return UserError(f"unknown {kind} {name!r}. {hint}")


def warn(text: object) -> None:
    """Says on standard error, on one line, what a user has to know of work that goes on all the same.

    The text names arguments as a `UserError` does.
    """
    print(f"warning: {_WORDING.get()(one_line(text))}", file=sys.stderr)


@contextlib.contextmanager
def warnings_worded(wording: Callable[[str], str]) -> Iterator[None]:
    """While open, `warn` says what a function makes of its texts: a script names the flags of arguments."""
    token = _WORDING.set(wording)
    try:
        yield
    finally:
        _WORDING.reset(token)


def one_line(error: object, length: int | None = None) -> str:
    """Returns the message of an error on one line, cut to `length` characters if that is given."""
    return " ".join(str(error).split())[:length]


def some_of(names: Sequence[str], limit: int = 5) -> str:
    """Joins names for a message, the first few of a long list."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def op_reason(error: tf.errors.OpError) -> str:
    """Returns why TensorFlow failed, on one line: the message of a `tf.errors.OpError` without names and stack.

    As in "{{function_node ...}} Input is empty. [Op:DecodeImage]", or, after "Graph execution error" and the lines of
    a stack, as a paragraph of its own. A failed assertion says "assertion failed: [what was expected] [values]".
    """
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", error.message).strip()
    kept = [line for line in message.split("\n") if not re.match(_OF_THE_STACK, line)]
    reason = one_line(" ".join(kept)).removesuffix(" name:").strip(" .")
    if reason.startswith(_ASSERTION):
        return re.sub(r"[][]", "", reason.removeprefix(_ASSERTION))
    return reason
