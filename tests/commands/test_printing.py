import subprocess
import sys

import pytest

from tests import processes

PROGRAM = r"""
import sys
from condconv_keras.commands import cli
from condconv_keras.utils.errors import UserError
def main(argv):
    print("saw L\u00f6we caf\udce9", file=sys.stderr)
    if len(argv) > 1:
        raise UserError("no L\u00f6we caf\udce9")
    return "L\u00f6we caf\udce9"
cli.run(main)
"""
ESCAPED = rb"L\xf6we caf\udce9"


def run(*arguments, **environment):
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(
        command, cwd=processes.ROOT, capture_output=True, env={"PATH": "", "PYTHONUTF8": "0", **environment}
    )


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"PYTHONIOENCODING": "ascii"}, ESCAPED),
        ({"PYTHONIOENCODING": "utf-8"}, "Löwe caf".encode() + rb"\udce9"),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}, ESCAPED),
    ],
)
def test_output_on_a_terminal_of_any_encoding(environment, expected):
    finished = run(**environment)
    assert (finished.returncode, finished.stdout) == (0, expected + b"\n")
    assert finished.stderr == b"saw " + expected + b"\n"


def test_an_error_on_a_terminal_of_any_encoding():
    finished = run("word", PYTHONIOENCODING="ascii")
    assert (finished.returncode, finished.stdout) == (2, b"")
    assert finished.stderr == b"saw " + ESCAPED + b"\nerror: no " + ESCAPED + b"\n"
