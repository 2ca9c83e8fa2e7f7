"""Runs the project's commands as a user does: in a process of their own."""

import contextlib
import functools
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Of the session's run, but for the epochs. Small steps and few experts: it gets most digits right, so that its exports
# in eight bits are not noise.
TRAINED_RUN = (
    "--model=condconv_mobilenet_v1",
    "--width_multiplier=0.25",
    "--num_experts=2",
    "--start_block=13",
    "--batch_size=8",
    "--learning_rate=0.02",
    "--warmup_epochs=0.5",
    "--augmentation=none",
)

_TIMEOUT_SECONDS = 600
# Of what the fork servers have read when they started, variables that tests change.
READ_AT_START = {name: os.environ.get(name) for name in ("KERAS_HOME", "PYTHONPATH")}
# A folder for what the forked processes have compiled of the library, which each of them imports anew; also where the
# user wants no such files beside the sources.
bytecode = None
_servers = {}  # by what they have imported


def run(*arguments, check=True, fresh=False, folder=ROOT, stdin=os.devnull, **environment):
    """Runs `python ARGUMENTS` in a folder, the project's by default; returns the finished process.

    Args:
        arguments: what follows `python`.
        check: whether an exit code other than 0 is a failure of the test.
        fresh: whether Python itself is started. Else a script or a module is run by a process that is forked from one
            with the big packages imported, which takes five seconds less; where there are none, as
            `without_frameworks` says, by one with NumPy and absl. A program (`-c`) and a command with other variables
            of its own are always run by a new Python: they are about how it starts.
        folder: the current folder; it is also where modules are found first.
        stdin: path of the file that is standard input.
        environment: variables of the process.
    """
    arguments = list(map(str, arguments))
    changed = any(os.environ.get(name) != value for name, value in READ_AT_START.items())
    names_program = not arguments[0].startswith("-") or arguments[0] == "-m"
    if fresh or changed or not names_program or (environment and not _lacks_frameworks(environment)):
        finished = _started(arguments, folder, stdin, environment)
    else:
        finished = _forked(arguments, folder, stdin, environment)
    if check:
        assert finished.returncode == 0, finished.stderr
    return finished


@functools.cache
def flags_of(*arguments):
    """The flags that the help of a command shows, a set; of a switch `name` and `noname`."""
    shown = re.findall(r"^  --(\[no\])?(\w+)", run(*arguments, "--help").stdout, re.MULTILINE)
    return {name for _, name in shown} | {f"no{name}" for switch, name in shown if switch}


def _started(arguments, folder, stdin, environment):
    environment = {**os.environ, **environment}
    command = [sys.executable, *arguments]
    with open(stdin, "rb") as file:
        return subprocess.run(
            command, cwd=folder, stdin=file, capture_output=True, text=True, env=environment, timeout=_TIMEOUT_SECONDS
        )


def _forked(arguments, folder, stdin, environment):
    server = _fork_server("few packages" if environment else "all packages")
    with contextlib.ExitStack() as files:
        out, err = (files.enter_context(tempfile.NamedTemporaryFile("r")) for _ in range(2))
        request = {"arguments": arguments, "folder": str(folder), "bytecode": bytecode}
        request |= {"environment": {**os.environ, **environment}}
        request |= {"stdin": str(stdin), "stdout": out.name, "stderr": err.name}
        server.stdin.write(json.dumps(request).encode() + b"\n")
        child = int(server.stdout.readline())
        ended = select.select([server.stdout], [], [], _TIMEOUT_SECONDS)[0]
        if not ended:
            os.kill(child, signal.SIGKILL)
        code = int(server.stdout.readline())
        if not ended:
            raise subprocess.TimeoutExpired(arguments, _TIMEOUT_SECONDS)
        return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


def _fork_server(imported):
    """A fork server of this process of the tests. It ends with it, when its standard input does."""
    server = _servers.get(imported)
    if server is None or server.poll() is not None:
        server = _servers[imported] = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", imported],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # what has been answered and not been read stays in the pipe, where `select` sees it
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
    return server


def without_frameworks(folder):
    """Returns an environment in which importing TensorFlow or Keras fails: what works there answers at once."""
    for name in ("tensorflow", "keras"):
        (folder / f"{name}.py").write_text(f"raise AssertionError('{name} is imported')")
    return {"PYTHONPATH": str(folder)}


def _lacks_frameworks(environment):
    """Whether these variables are those of `without_frameworks`."""
    return environment.keys() == {"PYTHONPATH"} and pathlib.Path(environment["PYTHONPATH"], "keras.py").is_file()


def assert_refused(*arguments, contains, fresh=False, **environment):
    """Runs a command that must end with one clear line on standard error, nothing on standard output, and code 1 or 2.

    Returns the finished process.
    """
    finished = run(*arguments, check=False, fresh=fresh, **environment)
    lines = [line for line in finished.stderr.splitlines() if line.strip()]
    assert finished.returncode in (1, 2), finished.stderr
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("error: ")
    for text in [contains] if isinstance(contains, str) else contains:
        assert text in lines[0], lines[0]
    assert finished.stdout == ""
    return finished
