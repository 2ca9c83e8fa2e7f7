"""Mutated inputs of every kind: read as other readers do, or refused by one line; no traceback, hang or loss.

The variable FUZZ_SEED tries other inputs than those of every run of the tests.
"""

import collections
import contextlib
import os
import random
import signal
import traceback

import pytest

from condconv_keras.utils.errors import UserError
from tests import processes
from tests.fuzz import archive_mutators, folder_mutators, image_mutators, json_mutators, text_mutators  # noqa: F401
from tests.fuzz.model_subjects import MODEL_SUBJECTS, make_aside
from tests.fuzz.mutators import MUTATORS
from tests.fuzz.readers import same
from tests.fuzz.subjects import DATA_SUBJECTS
from tests.fuzz.text_subjects import TEXT_SUBJECTS

SEED = int(os.environ.get("FUZZ_SEED", "22"))
SECONDS = 60
SUBJECTS = {**DATA_SUBJECTS, **TEXT_SUBJECTS, **MODEL_SUBJECTS}


def test_there_are_mutators_enough():
    assert len({mutator.__name__ for mutator in MUTATORS}) == len(MUTATORS) >= 30


@pytest.mark.parametrize(
    ("inputs", "in_processes", "kinds"),
    [(50, 2, ("images", "table")), pytest.param(300, 10, tuple(SUBJECTS), marks=pytest.mark.slow)],
)
def test_mutated_inputs(inputs, in_processes, kinds, tmp_path):
    make_aside(tmp_path / "aside")
    accepted, used, started = 0, collections.Counter(), []
    for number in range(inputs):
        folder = tmp_path / str(number)
        folder.mkdir()
        name, changes = _mutated(folder, number, used)
        description = f"input {number} of seed {SEED}, {name}: {', '.join(changes)}"
        before = _content(folder)
        read = _read(SUBJECTS[name], folder, description)
        accepted += read is not None
        # Two of a kind at most.
        if name in kinds and len(started) < in_processes and started.count(name) < 2:
            arguments = SUBJECTS[name].command(folder, tmp_path / "aside", read)
            if arguments is not None:
                started.append(name)
                _run(arguments, read is not None, description)
        assert _content(folder) == before, description
    assert accepted >= inputs / 3
    assert len(used) >= 30
    assert len(started) == in_processes


def _mutated(folder, number, used):
    """Writes a valid input and changes it by one to three mutators, those that were used least so far.

    Returns:
        Its kind and the mutators' names, which are counted in `used`.
    """
    rng = random.Random(f"{SEED}-{number}")
    name = list(SUBJECTS)[number % len(SUBJECTS)]
    SUBJECTS[name].make(folder, number)
    changes, wanted = [], rng.choice((1, 1, 1, 2, 3))
    mutators = rng.sample(sorted(MUTATORS, key=lambda each: each.__name__), len(MUTATORS))
    for mutator in sorted(mutators, key=lambda each: used[each.__name__]):
        if len(changes) < wanted and mutator(folder, rng):
            changes.append(mutator.__name__)
    used.update(changes)
    return name, changes


def _read(subject, folder, description):
    """What the library reads, which other readers do, too, or None where it refuses it by one line."""
    try:
        with _within(SECONDS):
            read = subject.read(folder)
    except UserError as error:
        assert len(str(error).splitlines()) == 1, description
        return None
    except Exception:
        pytest.fail(f"{description}\n{traceback.format_exc()}")
    try:
        seen = subject.independently(folder)
    except Exception:
        pytest.fail(f"{description}: other readers refuse it\n{traceback.format_exc()}")
    assert same(read, seen), f"{description}\n{read}\n{seen}"
    return read


def _run(arguments, is_accepted, description):
    """Hands an input over as a user does: what is accepted ends with 0, what is refused with one line and 2."""
    finished = processes.run(*arguments, check=False)
    said = f"{description}\n{finished.stderr}"
    errors = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in finished.stderr, said
    if is_accepted:
        assert (finished.returncode, errors) == (0, []), said
    else:
        assert (finished.returncode, len(errors)) == (UserError.EXIT_CODE, 1), said
        assert finished.stderr.splitlines()[-1:] == errors, said


@contextlib.contextmanager
def _within(seconds):
    """Raises TimeoutError in the block after so many seconds."""

    def stop(number, frame):
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _content(folder):
    """What lies below a folder: dict of path to the content, the target, or None of what is neither file nor link."""
    found = {}
    for directory, folders, names in os.walk(os.fsencode(folder)):
        for name in [*folders, *names]:
            path = os.path.join(directory, name)
            found[path] = os.readlink(path) if os.path.islink(path) else None
            if found[path] is None and os.path.isfile(path):
                with open(path, "rb") as file:
                    found[path] = file.read()
    return found
