"""What the commands are called: texts have the names of a checkout, an installation those of its own commands."""

import os
import re
import sys

_PREFIX = "condconv-"
_CHECKOUT_NAMES = re.compile(
    r"(?<![\w/.-])(?:(?:python )?(analyze|eval|predict|train)\.py"
    r"|python -m (?:condconv_keras\.)?(convert|experiments|export|models|weights))(?![\w/])"
)


def started_as():
    """Returns the words by which this process was asked to run its command, a list."""
    installed = _installed_command()
    if installed:
        return [installed]
    module = sys.modules["__main__"].__spec__
    return ["python", sys.argv[0]] if module is None else ["python", "-m", module.name.removesuffix(".__main__")]


def as_started(text):
    """Returns a text with the commands' names of an installation if this process is one of those."""
    if not _installed_command():
        return text
    return _CHECKOUT_NAMES.sub(lambda match: _PREFIX + (match[1] or match[2]), text)


def _installed_command():
    """The name of the installed command that this process is, or None."""
    name = os.path.basename(sys.argv[0])
    return name if name.startswith(_PREFIX) else None
