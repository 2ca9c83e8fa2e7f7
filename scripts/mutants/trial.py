"""Tries a fault of the library: the tests of its package, run in a copy of the checkout up to the first failure."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from condconv_keras.utils.errors import UserError
from scripts.mutants.draw import LIBRARY

# Tests of what has no folder or file of tests by its name; of an earlier version, too.
_TESTS = {
    "condconv_keras/__init__.py": ["tests/test_public_names.py", "tests/test_registration.py"],
    "condconv_keras/wrapped_call.py": ["tests/test_fused_batch_norm.py", "tests/analysis"],
    "commands": ["tests/commands", "tests/scripts"],
}
# Bytecode goes by a file's size and second, which a fault can leave as they were.
_ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}


def tests_of(checkout, mutant):
    """Returns the paths of the tests of a fault's package; those that are named like the file or name it are first.

    A module beside the packages has the tests of its name and those that import it.
    """
    module = mutant.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    naming = re.compile(rf"\b{re.escape(module)}\b|from {LIBRARY} import .*\b{module.rpartition('.')[2]}\b")
    mirror = f"/test_{module.rpartition('.')[2]}.py"
    is_beside = mutant.path not in _TESTS and mutant.package == LIBRARY
    own = _TESTS.get(mutant.path) or _TESTS.get(mutant.package) or [f"tests/{mutant.package}"]
    order = {}
    for path in _test_files(checkout, ["tests"] if is_beside else own):
        is_mirror, names_it = path.endswith(mirror), bool(naming.search(_read(checkout / path)))
        if is_mirror or names_it or not is_beside:
            order[path] = (not is_mirror, not names_it, path)
    return sorted(order, key=order.get)


def _test_files(checkout, places):
    """The files of tests at and below places of a checkout, but for those of its scripts."""
    scripts = {f"test_{path.stem}.py" for path in (checkout / "scripts").iterdir()}
    found = set()
    for place in places:
        path = checkout / place
        found |= {path} if path.is_file() else set(path.rglob("test_*.py"))
    return [
        path.relative_to(checkout).as_posix()
        for path in sorted(found)
        if path.parent.name != "scripts" or path.name not in scripts
    ]


def try_mutant(checkout, mutant, failing, limit):
    """Runs the tests of a fault's package with the fault.

    Args:
        checkout: path of a copy of the checkout. A file of it is changed for the time of the run.
        mutant: a `Mutant`.
        failing: names of tests that fail without a fault.
        limit: seconds for the tests.

    Returns:
        Dict of "outcome", "killed", "survived" or "timeout", which counts as killed; "tests", the files; "failed", the
        test that failed or did not end, or None; "reason", the first line of its error; "seconds"; "left_out", the
        tests of the package that fail without the fault.
    """
    tests, left_out, start = tests_of(checkout, mutant), set(failing), time.monotonic()
    if not tests:
        raise UserError(f"no tests for {mutant.path}")
    while True:
        with _applied(checkout / mutant.path, mutant.mutation):
            outcome, failed, reason = run_tests(checkout, tests, left_out, limit)
        if outcome != "killed" or _passes(checkout, failed, tests, limit):
            break
        if failed is None or failed in left_out:
            raise UserError(f"the tests of {mutant.package} fail without a fault, too: {reason}")
        left_out.add(failed)
    return {
        "outcome": outcome,
        "tests": tests,
        "failed": failed,
        "reason": reason,
        "seconds": round(time.monotonic() - start),
        "left_out": sorted(test for test in left_out if test.partition("::")[0] in tests),
    }


@contextlib.contextmanager
def _applied(path, mutation):
    text = _read(path)
    path.write_text(mutation.apply(text), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def _passes(checkout, failed, tests, limit):
    """Whether a test passes without a fault, or, where all of them could not be gathered, the gathering does."""
    alone = [failed] if failed and "::" in failed else ["--collect-only", *([failed] if failed else tests)]
    return run_tests(checkout, alone, (), limit)[0] == "survived"


def run_tests(checkout, tests, left_out, limit):
    """Runs tests of a checkout up to the first failure.

    Returns:
        The outcome as of `try_mutant`, the name of the test that failed or None, and the line of its error or None.
    """
    with tempfile.TemporaryDirectory(prefix="tests-", dir=checkout.parent) as work:
        cache, log = pathlib.Path(work) / "cache", pathlib.Path(work) / "log"
        command = [sys.executable, "-m", "pytest", "-x", "-vv", "-m", "not slow", "-o", f"cache_dir={cache}"]
        command += [f"--basetemp={work}/tmp", *(f"--deselect={test}" for test in sorted(left_out)), *tests]
        code = _run(command, checkout, log, limit)
        output = log.read_text(encoding="utf-8", errors="replace")
        if code is None:
            begun = re.findall(r"^(tests/\S+?::.*?) *(?: (?:PASSED|SKIPPED|XFAIL).*)?$", output, re.MULTILINE)
            return "timeout", begun[-1] if begun else None, None
        # 5: there is none to run.
        if code in (0, 5):
            return "survived", None, None
        last = cache / "v/cache/lastfailed"
        failed = next(iter(json.loads(_read(last))), None) if last.exists() else None
        errors = re.findall(r"^E +(\S.*)$", output, re.MULTILINE) or output.splitlines()[-1:]
        return "killed", failed, errors[0] if errors else None


def _run(command, folder, log, limit):
    """Runs a command with its output in a file; returns its exit code, or None if it was ended at the limit."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=_ENVIRONMENT, stdout=output, stderr=output, start_new_session=True
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # The commands that a test had started, too.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _read(path):
    return path.read_text(encoding="utf-8")
