"""What the commands are called: texts have the names of a checkout, an installation those of its own commands."""

import os
import re
import sys

PREFIX = "condconv-"
# Longer ones first: one name may be a part of another.
_INSTALLED = {
    "python -m condconv_keras.weights": "condconv-weights",
    "python -m experiments": "condconv-experiments",
    "python -m export": "condconv-export",
    "python -m models": "condconv-models",
    "python analyze.py": "condconv-analyze",
    "python predict.py": "condconv-predict",
    "python train.py": "condconv-train",
    "python eval.py": "condconv-eval",
    "analyze.py": "condconv-analyze",
    "predict.py": "condconv-predict",
    "train.py": "condconv-train",
    "eval.py": "condconv-eval",
}
_NAMES = re.compile(r"(?<![\w/.-])(" + "|".join(map(re.escape, _INSTALLED)) + r")(?![\w/])")


def started_as():
    """Returns the words by which this process was asked to run its command, a list."""
    installed = os.path.basename(sys.argv[0])
    if installed.startswith(PREFIX):
        return [installed]
    module = sys.modules["__main__"].__spec__
    return ["python", sys.argv[0]] if module is None else ["python", "-m", module.name.removesuffix(".__main__")]


def as_started(text):
    """Returns a text with the commands' names of an installation if this process is one of those."""
    if not os.path.basename(sys.argv[0]).startswith(PREFIX):
        return text
    return _NAMES.sub(lambda match: _INSTALLED[match.group()], text)
