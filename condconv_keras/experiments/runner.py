"""Trains the runs of a table that are not finished, one after another or several at a time."""

import contextlib
import os
import shlex
import subprocess
import sys
import time

from condconv_keras.experiments.results import finished
from condconv_keras.utils.errors import UserError

_POLL_SECONDS = 0.5


def train_missing(program, runs, output_dir, common, jobs, after_each):
    """Trains the runs without results, each in a process of its own; one that was interrupted goes on.

    With several jobs each is kept to its share of the cores that this process may use, where the system can do that.
    What ends this function early ends the runs in progress, too.

    Args:
        program: arguments of Python that start a training run, before its flags.
        runs: list of `Run`.
        output_dir: folder of the run folders.
        common: arguments that every run gets.
        jobs: runs at a time. What a run prints is shown if it is 1, else added to `NAME.log` in `output_dir`.
        after_each: function without arguments, called when a run has ended.

    Returns:
        The names of the runs that failed.

    Raises:
        UserError: a run was finished with other arguments.
    """
    for run in runs:
        _check_arguments(run, output_dir, common)
    missing = [run for run in runs if finished(output_dir / run.name) is None]
    running, failed = {}, []
    try:
        while missing or running:
            for job in range(jobs):
                if missing and job not in running:
                    run = missing.pop(0)
                    print(f"run {1 + runs.index(run)} of {len(runs)}: {run.name}", file=sys.stderr, flush=True)
                    running[job] = run, _start(program, run, output_dir, common, job, jobs)
            ended = [job for job, (_, process) in running.items() if process.poll() is not None]
            for job in ended:
                run, process = running.pop(job)
                if process.returncode != 0:
                    failed.append(run.name)
                after_each()
            if not ended:
                time.sleep(_POLL_SECONDS)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.wait()
    return failed


def failure(failed, runs, output_dir, jobs):
    """Returns the `UserError` that names the runs which `train_missing` returned as failed."""
    place = "above" if jobs == 1 else f"in {str(output_dir)!r}, NAME.log"
    return UserError(f"{len(failed)} of {len(runs)} runs failed, their messages are {place}: {', '.join(failed)}")


def _check_arguments(run, output_dir, common):
    """Raises a `UserError` if the results of a run are those of other arguments: they would be compared as if not."""
    if differing := differing_flags(run, output_dir, common):
        raise UserError(
            f"the run {run.name} in {str(output_dir)!r} was trained with other flags ({', '.join(differing)} of only "
            "one of both); give another `output_dir`, or remove that run"
        )


def differing_flags(run, output_dir, common):
    """The flags that a finished run was trained with and would not be now, or the other way; a sorted list.

    Arguments as of `train_missing`. Where the data lie makes no difference, what they are does.
    """
    results = finished(output_dir / run.name)
    if results is None:
        return []
    _, *used = shlex.split(results["command"])
    used = used[2 if used[0] == "-m" else 1 :]
    return sorted(_flags(used) ^ _flags([*run.arguments, *common]))


def _flags(words):
    """Words of a command line as a set of flags with their values, but for folders: `--seed 0` is `--seed=0`."""
    found = []
    for word in words:
        if found and not word.startswith("-"):
            found[-1] += f"={word}"
        else:
            found.append(word)
    return {flag for flag in found if not flag.startswith(("--model_dir=", "--data_dir="))}


def _start(program, run, output_dir, common, job, jobs):
    command = [sys.executable, *program, *run.arguments, *common]
    command.append(f"--model_dir={output_dir / run.name}")
    if jobs == 1:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)
    with _cores(job, jobs), open(output_dir / f"{run.name}.log", "a", encoding="utf-8") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)


@contextlib.contextmanager
def _cores(job, jobs):
    """While open, what this thread starts is kept to the cores of one job."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_cores)[job::jobs] or all_cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_cores)
