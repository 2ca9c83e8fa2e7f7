"""Mutated inputs of every kind: read as other readers do, or refused by one line; never a traceback, a hang or a loss."""

import contextlib
import os
import random
import signal
import traceback

import pytest

from condconv_keras.utils.errors import UserError
from tests.fuzz import image_mutators  # noqa: F401 - registers its mutators
from tests.fuzz.mutators import MUTATORS
from tests.fuzz.subjects import SUBJECTS

SEED = 22
SECONDS = 60
QUICK, ALL = 50, 300


def test_there_are_mutators_enough():
    assert len({mutator.__name__ for mutator in MUTATORS}) == len(MUTATORS) >= 30


@pytest.mark.parametrize("inputs", [QUICK, pytest.param(ALL, marks=pytest.mark.slow)])
def test_mutated_inputs(inputs, tmp_path):
    accepted, used = 0, set()
    for number in range(inputs):
        folder = tmp_path / str(number)
        folder.mkdir()
        subject, changes = _mutated(folder, number)
        used.update(changes)
        accepted += _is_accepted(subject, folder, f"input {number}: {', '.join(changes)}")
    assert accepted >= inputs / 3
    assert len(used) >= 30


def _mutated(folder, number):
    """Writes a valid input and changes it by one to three mutators; returns its subject and the mutators' names."""
    rng = random.Random(f"{SEED}-{number}")
    subject = list(SUBJECTS.values())[number % len(SUBJECTS)]
    subject.make(folder, number)
    changes, wanted = [], rng.choice((1, 1, 2, 3))
    for mutator in rng.sample(MUTATORS, len(MUTATORS)):
        if len(changes) < wanted and mutator(folder, rng):
            changes.append(mutator.__name__)
    return subject, changes


def _is_accepted(subject, folder, description):
    before = _content(folder)
    try:
        with _within(SECONDS):
            read = subject.read(folder)
    except UserError as error:
        assert len(str(error).splitlines()) == 1, description
        read = None
    except Exception:
        pytest.fail(f"{description}\n{traceback.format_exc()}")
    assert _content(folder) == before, description
    if read is not None:
        assert read == subject.independently(folder), description
    return read is not None


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
    """What lies below a folder: dict of path to the content or the target."""
    found = {}
    for directory, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.islink(path):
                found[path] = os.readlink(path)
            else:
                with open(path, "rb") as file:
                    found[path] = file.read()
    return found
