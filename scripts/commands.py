"""The project's commands, run as a user would type them."""

import json
import pathlib
import subprocess
import sys


def call(*arguments):
    """Runs one of the project's commands, shows it, and returns its JSON result."""
    command = [str(argument) for argument in arguments]
    print("$ python", *command, file=sys.stderr, flush=True)
    finished = subprocess.run([sys.executable, *command, "--json"], stdout=subprocess.PIPE, text=True)
    if finished.returncode:
        sys.exit(finished.returncode)
    return json.loads(finished.stdout)


def new_folder(stem):
    """Makes the first of `stem`, `stem-2`, `stem-3`, ... that does not exist, and returns it."""
    number = 1
    while True:
        path = pathlib.Path(stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1
