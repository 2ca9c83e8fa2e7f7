"""Time and size of the networks of a finished comparison, as `.tflite` files.

    python -m benchmarks.gain --runs=runs/gain/separable_fashion_mnist [--rounds=200]

`--runs` is the folder of a run of `python -m condconv_keras.experiments.gain` that has ended. The network of each
side's first seed is written as a float32 file. LiteRT with XNNPACK runs the files in turn, one image at a time with one
thread, in a process that loads nothing else. The rows of `summary.csv` there get the median as `milliseconds`, and the
size of the file as `tflite_bytes`. The gain command writes `summary.csv` without them; run this one after it.
"""

import dataclasses
import pathlib
import statistics
import tempfile

from absl import flags

from benchmarks.twins import in_own_process, interleaved_times, invocation, write_files
from condconv_keras.commands import cli
from condconv_keras.experiments.results import finished
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import write_rows
from condconv_keras.utils.text_files import read_rows

FLAGS = flags.FLAGS
MILLISECONDS, BYTES = "milliseconds", "tflite_bytes"
_SEED = 0
_MODE = "none"  # float32


@dataclasses.dataclass(frozen=True)
class _Network:
    """The network of a run, loaded in the process that converts it."""

    name: str
    path: pathlib.Path

    def load(self):
        from condconv_keras.models.saving import load_keras_file

        return load_keras_file(self.path)


def main(argv):
    cli.expect_flags_only(argv)
    root = pathlib.Path(FLAGS.runs)
    columns, rows = summary_of(root)
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for side in (row["side"] for row in rows):
            source = _Network(side, RunFolder(run_of(root, side)).model)
            files |= in_own_process(write_files, folder, source, [side], _MODE)
        times = in_own_process(timed, files, FLAGS.rounds)
        measured = with_measurements(rows, files, times)
    write_rows(
        root / "summary.csv", [*(c for c in columns if c not in (MILLISECONDS, BYTES)), MILLISECONDS, BYTES], measured
    )
    return "\n".join(f"{row[MILLISECONDS]:>9} ms{row[BYTES]:>10,} bytes  {row['side']}" for row in measured)


def summary_of(root):
    """Returns the columns of the `summary.csv` in a folder and its rows, a list of dicts.

    Raises:
        UserError: there is none, or a side has no finished run of the first seed.
    """
    path = root / "summary.csv"
    if not path.is_file():
        raise UserError(f"expected --runs to hold the summary.csv of a comparison, received: {str(root)!r}")
    columns, rows = read_rows(path, "the summary of a comparison")
    if "side" not in columns:
        raise UserError(f"expected the column 'side' in {str(path)!r}, received: {', '.join(columns)}")
    for row in rows.values():
        if finished(run_of(root, row["side"])) is None:
            raise UserError(f"expected a finished run {run_of(root, row['side']).name!r} in {str(root)!r}")
    return columns, list(rows.values())


def run_of(root, side):
    """The folder of the first seed's run of a side."""
    return root / f"{side}-seed_{_SEED}"


def timed(files, rounds):
    """Returns the milliseconds of every round, of each of the files, which take turns."""
    return interleaved_times({side: invocation(path, 1) for side, path in files.items()}, rounds)


def with_measurements(rows, files, times):
    """Returns the rows with the median of the rounds, to a tenth of a microsecond, and the size of the file."""
    return [
        {
            **row,
            MILLISECONDS: round(statistics.median(times[row["side"]]), 4),
            BYTES: pathlib.Path(files[row["side"]]).stat().st_size,
        }
        for row in rows
    ]


if __name__ == "__main__":
    flags.DEFINE_string("runs", None, "Folder of a finished comparison.", required=True)
    flags.DEFINE_integer("rounds", 200, "Rounds in which every file runs once; the median is taken.", lower_bound=1)
    cli.run(main)
