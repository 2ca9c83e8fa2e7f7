"""Blocks of code as a reader runs them: in a folder with the project, by a shell or by Python."""

import os
import pathlib
import sys
import time

import pytest

from tests.docs.blocks import Block
from tests.docs.reader import Place, simple_commands


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    return Place(folder / "project")


def run(place, code, language="bash", line=1, mark=None):
    return place.run(Block("a.md", line, language, code, mark))


def test_the_folder_has_the_files_of_a_clone(place):
    there = {path.name for path in place.folder.iterdir()}
    assert there >= {"README.md", "Makefile", "train.py", "condconv_keras", "docs", ".venv"}
    assert not there & {".git", "runs", "exported", ".pytest_cache"}


@pytest.mark.parametrize("mark", [None, "slow"])
def test_the_library_is_that_of_the_folder(place, mark):
    code = "import condconv_keras\nprint(condconv_keras.__file__)\n"
    assert run(place, code, "python", mark=mark)[1] == f"{place.folder}/condconv_keras/__init__.py\n"


@pytest.mark.parametrize("mark", [None, "slow"])
def test_python_runs_in_the_folder_and_errors_have_the_lines_of_the_page(place, mark):
    code = "import os, sys\nprint(os.path.basename(os.getcwd()), sys.argv, 'é')\n1 / 0\n"
    code, printed, errors = run(place, code, "python", line=40, mark=mark)
    assert (code, printed) == (1, "project ['block.py'] é\n")
    assert 'block.py", line 42, in <module>' in errors


def test_commands_of_python_are_run_in_their_order_until_one_fails(place):
    (place.folder / "say.py").write_text("import sys\nprint(*sys.argv[1:])\nsys.exit(sys.argv[1] == 'stop')\n")
    code = "# three\npython say.py a 'b c'  # first\npython say.py stop \\\n  here\npython say.py d\n"
    assert simple_commands(code) is not None
    assert run(place, code)[:2] == run(place, code, mark="slow")[:2] == (1, "a b c\nstop here\n")


@pytest.mark.parametrize(
    "code",
    [
        "ls",
        "python a.py > b",
        "python a.py $b",
        "python a.py *.jpg",
        "python a.py; ls",
        "python a.py & wait",
        "python a.py 'x\ny'",
        "python a.py x#y",
        "python a.py '#' # \"",
        "x=1 python a.py",
        "cd x\npython a.py",
        "python",
        "# nothing",
    ],
)
def test_what_needs_a_shell_has_one(code):
    assert not simple_commands(code)


def test_the_environment_of_the_tests_is_not_installed_into(place):
    with pytest.raises(AssertionError, match=r"a\.md:1 would change the environment of the tests"):
        run(place, "pip --version")


def test_a_shell_stops_at_the_first_error_and_at_a_variable_that_is_not_set(place):
    assert run(place, "echo a\nfalse | cat\necho b\n") == (1, "a\n", "")
    code, printed, errors = run(place, "echo a; echo $unknown_name; echo b")
    assert (code, printed) == (1, "a\n") and "unknown_name" in errors


def test_the_environment_of_the_tests_is_the_readers(place):
    code = "python -c 'import sys; print(sys.prefix)'\nsource .venv/bin/activate\ncommand -v python\nwc -c < README.md"
    code, printed, _ = run(place, code)
    prefix, python, size = printed.split()
    assert code == 0 and os.path.samefile(prefix, sys.prefix) and os.path.samefile(python, sys.executable)
    assert int(size) == (place.folder / "README.md").stat().st_size


def test_a_quick_block_has_no_network(place):
    assert run(place, "echo $https_proxy")[1] == "http://127.0.0.1:9\n"
    code = "import urllib.request\nurllib.request.urlopen('https://keras.io')\n"
    assert "Connection refused" in run(place, code, "python")[2]


def test_a_block_leaves_nothing_running(place):
    stat = pathlib.Path("/proc", run(place, "sleep 100 & echo $!")[1].strip(), "stat")
    for _ in range(100):  # a killed process takes its time
        # One that has ended and that nobody has asked for is a Z.
        if not stat.exists() or stat.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the process of a block goes on")
