"""Output on a terminal of any encoding."""

import io
import sys


def print_anywhere():
    """Lets everything be printed: what the encoding of an output lacks is written with a backslash, as on errors.

    That is a class named in another alphabet where PYTHONIOENCODING is ascii, and a file name whose bytes are no text.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
