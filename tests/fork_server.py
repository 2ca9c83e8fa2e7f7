"""A process that has imported what takes long to import, and forks into a process for every command it is sent.

    python -m tests.fork_server ("all packages" | "few packages")

A request is a line of JSON on standard input. It is answered on standard output by a line with the number of the
process and, when that has ended, one with its exit code. What has been forked is what `python ARGUMENTS` is, less those
seconds: it has its own arguments, folder, environment, output, signals and end. Only what Python and the imported
packages read when they start is the server's.
"""

import gc
import importlib
import json
import os
import runpy
import sys

# Not the library, which each command imports as it does alone. A process in which these are imported can be forked:
# none computes anything, or starts a thread of its own, before it is asked to.
_IMPORTED = {
    "all packages": (
        "tensorflow",
        "keras",
        "official.vision.ops.augment",
        "matplotlib.pyplot",
        "sklearn.metrics",
        "safetensors",
    ),
    # What answers at once may import these.
    "few packages": ("numpy", "absl.app", "urllib.request", "concurrent.futures"),
}


def main():
    for name in _IMPORTED[sys.argv[1]]:
        importlib.import_module(name)
    # Else each child would look through a million objects at its collections, and copy their pages.
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            return _become(**request)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(arguments, folder, bytecode, environment, stdin, stdout, stderr):
    """Runs `python ARGUMENTS`; the process ends as that one does.

    Args:
        arguments: list of a script, or of `-m` and a module, and of what it is given.
        folder: the current folder.
        bytecode: folder for what is compiled of the modules that are imported, or None.
        environment: dict of all variables.
        stdin: path of a file to read.
        stdout: path of a file to write.
        stderr: the same.
    """
    for number, path, flags in ((0, stdin, os.O_RDONLY), (1, stdout, os.O_WRONLY), (2, stderr, os.O_WRONLY)):
        os.dup2(os.open(path, flags), number)
    sys.stdin = os.fdopen(0, closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if bytecode:
        sys.pycache_prefix, sys.dont_write_bytecode = bytecode, False
    # As Python starts: what the folder and then PYTHONPATH hold comes before the packages.
    first = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [folder, *(path for path in first if path and path not in sys.path)]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
