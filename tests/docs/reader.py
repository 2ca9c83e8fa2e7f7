"""What a reader of a page has, a folder with the project, and does: runs a block there."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import unittest.mock

from tests import processes
from tests.docs.pages import tracked

# Many times what one takes: the processors may be busy.
QUICK_SECONDS = 120
_SLOW_SECONDS = 3600
# What a shell would do more than run one program after another.
_SHELL = re.compile(r"[$`*?\[\]~<>|&;(){}!#\\]")
_COMMENT = re.compile(r"(^|\s)#[^'\"\n]*$", re.MULTILINE)
# Of this process and its parents, what a reader's shell does not have.
_OURS = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
# Leads nowhere, at once.
_NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
_LINES_SHOWN = 40


class Place:
    """A folder in which the blocks of one page run, one after another.

    Args:
        folder: path that does not exist yet.
        own_environment: whether it has a Python of its own, with nothing installed, in `.venv`; else the environment
            of the tests is linked there.
    """

    def __init__(self, folder, own_environment=False):
        self.folder = folder
        self.own_environment = own_environment
        for name in tracked():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(processes.ROOT / name, folder / name)
        environment = folder / ".venv"
        if own_environment:
            base = getattr(sys, "_base_executable", sys.executable)
            subprocess.run([base, "-m", "venv", environment], env=self._environment(), check=True)
        else:
            environment.symlink_to(sys.prefix)

    def remove(self):
        shutil.rmtree(self.folder)

    def run(self, block):
        """Runs a block. Returns the exit code and the texts of standard output and standard error."""
        assert self.own_environment or not block.installs, f"{block.place} would change the environment of the tests"
        if block.language == "python":
            # Empty lines before it: a traceback names the lines of the page.
            (self.folder / "block.py").write_text("\n" * (block.line - 1) + block.code, encoding="utf-8")
            commands = [["python", "block.py"]]
        else:
            commands = simple_commands(block.code)
        if commands and not block.is_slow and not self.own_environment:
            return self._run_by_fork_server(commands)
        if block.language == "bash":
            command = ["bash", "-euo", "pipefail", "-c", block.code]
        else:
            command = [self.folder / ".venv/bin/python", "block.py"]
        return self._start(command, block.is_slow or self.own_environment)

    def _run_by_fork_server(self, commands):
        """`python` of the environment, less the seconds in which TensorFlow is imported."""
        done = []
        with unittest.mock.patch.dict(os.environ, {**self._environment(), **_NO_NETWORK}, clear=True):
            for _, *arguments in commands:
                done.append(processes.run(*arguments, check=False, folder=self.folder))
                if done[-1].returncode:
                    break
        return done[-1].returncode, "".join(each.stdout for each in done), "".join(each.stderr for each in done)

    def _start(self, command, slow):
        with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
            with open(out.name, "wb") as stdout, open(err.name, "wb") as stderr:
                process = subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env=self._environment() if slow else {**self._environment(), **_NO_NETWORK},
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )
            late = ""
            try:
                process.wait(_SLOW_SECONDS if slow else QUICK_SECONDS)
            except subprocess.TimeoutExpired as error:
                late = f"\n{error}"
            finally:
                _end_group(process)
            return process.wait(), out.read(), err.read() + late

    def _environment(self):
        names = {name: value for name, value in os.environ.items() if name not in _OURS and "PYTEST" not in name}
        ours = sysconfig.get_path("scripts")
        path = [str(self.folder / ".venv/bin"), *names["PATH"].split(os.pathsep)]
        return {**names, "PATH": os.pathsep.join(part for part in path if part != ours)}


def _end_group(process):
    """Ends what a block has left running in the background."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def simple_commands(code):
    """Returns the commands of a script as lists of words if each is `python ...` and nothing for a shell, else None."""
    code = _COMMENT.sub("", code.replace("\\\n", " "))
    if _SHELL.search(code):
        return None
    try:
        commands = [words for words in map(shlex.split, code.splitlines()) if words]
    except ValueError:  # a quotation that goes on in the next line
        return None
    return commands if all(words[0] == "python" and len(words) > 1 for words in commands) else None


def end_of(text):
    """The last lines of an output."""
    return "\n".join(text.splitlines()[-_LINES_SHOWN:])
