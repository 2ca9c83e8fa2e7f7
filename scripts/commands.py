"""The project's commands, run as a user would type them."""

import json
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
