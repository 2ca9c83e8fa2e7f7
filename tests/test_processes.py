"""The forked processes that commands run in are what a new Python would be."""

import pathlib

from tests import processes

PROGRAM = """
import sys
print(sys.path[0], [name for name in ("condconv_keras", "tensorflow", "keras") if name in sys.modules])
import condconv_keras.utils.errors
print(condconv_keras.utils.errors.__cached__)
import keras
"""


def test_without_frameworks(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = processes.without_frameworks(tmp_path)
    finished = processes.run(tmp_path / "program.py", check=False, **environment)
    assert finished.returncode == 1
    assert finished.stderr.endswith("AssertionError: keras is imported\n")
    first, cached = finished.stdout.splitlines()
    assert first == f"{processes.ROOT} []"
    # The next process need not compile it, and nothing lies beside the sources.
    assert pathlib.Path(cached).is_relative_to(processes.bytecode) and pathlib.Path(cached).is_file()


def test_with_all_packages(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    finished = processes.run(tmp_path / "program.py")
    assert finished.stdout.startswith(f"{processes.ROOT} ['tensorflow', 'keras']\n")
