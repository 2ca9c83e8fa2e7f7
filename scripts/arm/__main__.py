"""Verifies the `.tflite` files on an emulated ARM processor: `make verify-arm`, or `python -m scripts.arm`.

Sets the emulated machine up once, in `.venv-arm`. Writes the files of every model in every mode as
`python -m export` does, with run-time and static kernels; has each answer the same images on this processor and on an
emulated Cortex-A76; and compares the answers by the figures and limits of the exporter's check. The three small models
run on a Cortex-A53, too, which lacks the dot product. Models are trained or imported below `runs/arm` if they
are not there.

The log is written when all models were chosen and every file passes. It takes Debian 12's `qemu-user-static`, and
`make pretrained`'s packages for the imported weights.
"""

import collections
import concurrent.futures
import functools
import os
import pathlib
import subprocess
import sys
import tempfile

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.utils.errors import UserError, one_line, unknown_name
from condconv_keras.utils.files import check_file, write_text
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import numpy as np
from scripts.arm.machine import CORTEX_A53, CORTEX_A76, Machine

comparison = LazyModule("scripts.arm.comparison")
files = LazyModule("scripts.arm.files")
models = LazyModule("scripts.arm.models")
page = LazyModule("scripts.arm.page")
pretrained = LazyModule("scripts.pretrained")

RUNNER = pathlib.Path(__file__).with_name("runner.py")
NAMES = ("digits", "scenes", "residual", "lite0", "lite0_converted", "mobilenet_v1")
# Small enough to run on both processors.
ON_BOTH = ("digits", "scenes", "residual")
# Whose code is searched for dot products.
TRACED = "digits"
FLAGS = flags.FLAGS


def main(argv):
    cli.expect_flags_only(argv)
    chosen = checked_names(FLAGS.models)
    check_file(FLAGS.log, "log")
    if set(chosen) - set(ON_BOTH):
        pretrained.find_photographs()  # or its error, before the work
    machine = Machine()
    with tempfile.TemporaryDirectory(prefix="arm-") as folder:
        rows = verify(machine, chosen, pathlib.Path(folder))
    failed = [f"{row.name}: {', '.join(row.comparison.failures)}" for row in rows if row.comparison.failures]
    if chosen == list(NAMES) and not failed:
        write_text(FLAGS.log, page.markdown(rows, machine.contents))
    for failure in failed:
        cli.print_error(failure)
    return page.table(rows), 1 if failed else 0


def checked_names(names):
    """Returns the names of models, in their order, without repetition; raises a `UserError` for another one."""
    for name in names:
        if name not in NAMES:
            raise UserError(unknown_name("models", name, NAMES))
    return [name for name in NAMES if name in names]


def verify(machine, names, folder):
    """Runs the files of models on both processors; returns a list of `page.Row`, in the order of the files.

    Args:
        machine: `Machine`.
        names: of models.
        folder: `pathlib.Path` for the files.
    """
    rows, pending = [], collections.deque()
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            for file in _written(names, folder):
                processors = (CORTEX_A76, CORTEX_A53) if file.model in ON_BOTH else (CORTEX_A76,)
                pending.append(pool.submit(_rows_of, machine, file, processors))
                while pending and pending[0].done():
                    rows += _told(pending.popleft().result())
            while pending:
                rows += _told(pending.popleft().result())
        except BaseException:
            # Else the pool would run every other file before the error is seen.
            pool.shutdown(cancel_futures=True)
            raise
    return rows


def _written(names, folder):
    """Yields the `files.File`s of models when they are there."""
    for name in names:
        (folder / name).mkdir()
        yield from files.write_files(models.load(name), folder / name)


def _told(rows):
    """Returns rows after it has shown them. The threads do not: while it writes a file, the exporter is silent."""
    for row in rows:
        print(f"{row.name}: {row.comparison.snr_db:.1f} dB, {row.seconds:.2f} s", file=sys.stderr, flush=True)
    return rows


def _rows_of(machine, file, processors):
    """The rows of a file, which is removed."""
    expected, _ = answers(here, file)
    rows = []
    for processor in processors:
        received, seconds = answers(functools.partial(machine.run, processor), file)
        found = comparison.compare(file.format, expected, received, file.anchors)
        row = page.Row(
            model=file.model,
            mode=file.format.quantization,
            kernels=file.kernels,
            processor=processor.name,
            megabytes=file.path.stat().st_size / 1e6,
            float_layers=len(file.format.float_layers(file.path)),
            comparison=found,
            seconds=seconds,
            dot_products=dot_products(machine, processor, file) if file.model == TRACED else None,
        )
        rows.append(row)
    file.path.unlink()
    return rows


def dot_products(machine, processor, file):
    """Returns how many dot products the code has that runs a `files.File` on a `Processor`."""
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder, "answers.npz")
        return machine.dot_products(processor, RUNNER, file.path, file.inputs, output)


def here(script, *arguments):
    """Runs a Python script on this processor, as `Machine.run` does on another one."""
    command = [sys.executable, script, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace")


def answers(run, file):
    """Runs a file, and its network where it has one, on its images.

    Args:
        run: function of a script and its arguments that returns a finished process: `here`, or of `Machine.run`.
        file: `files.File`.

    Returns:
        A dict of everything that they return, and the processor's median seconds for an image in the file.

    Raises:
        UserError: LiteRT fails.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(each for each in (file.network, file.path) if each is not None):
            output = pathlib.Path(folder, f"{number}.npz")
            finished = run(RUNNER, path, file.inputs, output)
            if finished.returncode:
                last = finished.stderr.rstrip().splitlines()[-1:]
                raise UserError(f"{file.model} {path.name} failed: {one_line(' '.join(last))}")
            with np.load(output, allow_pickle=False) as stored:
                found |= dict(stored)
    return found, float(np.median(found.pop("seconds")))


if __name__ == "__main__":
    flags.DEFINE_list("models", ",".join(NAMES), f"Models to verify, of {', '.join(NAMES)}.")
    flags.DEFINE_string("log", "docs/results/arm.md", "Page to write.")
    cli.run(main)
