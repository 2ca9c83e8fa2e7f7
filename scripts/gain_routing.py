"""Sums up, layer by layer, what routers of a comparison learned: `python -m scripts.gain_routing --runs=FOLDER`.

`--runs` is the folder of a run of `python -m condconv_keras.experiments.gain`. `analyze.py` passes the data set's test
through each finished network of a side, the twin if `--side` names no other. `routing-SIDE.csv` in the folder then has
a row for each layer, in their order: the means over the seeds of the numbers that docs/analysis.md defines, and their
standard errors.
"""

import glob
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.experiments.gain.comparison import error_of_mean
from condconv_keras.experiments.gain.settings import TWIN
from condconv_keras.experiments.results import finished
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import check_writable, write_rows

FLAGS = flags.FLAGS
NUMBERS = ("class_specificity", "near_0", "near_1", "saturation", "spread")
COLUMNS = (
    *("side", "runs", "layer", "experts", "chance_specificity"),
    *(column for number in NUMBERS for column in (number, f"{number}_error")),
)
_ANALYZE = (sys.executable, "-m", "condconv_keras.commands.analyze")


def main(argv):
    cli.expect_flags_only(argv)
    root = pathlib.Path(FLAGS.runs)
    runs = sorted(root.glob(f"{glob.escape(FLAGS.side)}-seed_*"))
    folders = [path for path in runs if path.is_dir() and finished(path) is not None]
    if not folders:
        raise UserError(f"expected finished runs {FLAGS.side}-seed_N in --runs, received: {str(root)!r}")
    check_writable(root, "runs")
    rows = layer_rows(FLAGS.side, [_analysis(folder, FLAGS.data_dir) for folder in folders])
    write_rows(root / f"routing-{FLAGS.side}.csv", COLUMNS, rows)
    return cli.table([(row["layer"], f"{row['class_specificity']:.3f}") for row in rows])


def _analysis(run, data_dir):
    """What `analyze.py --json` says of a run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*_ANALYZE, f"--model={run}", f"--output_dir={folder}", "--json"]
        command += [f"--data_dir={data_dir}"] if data_dir else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"the run {str(run)!r} could not be analyzed")
    return json.loads(done.stdout)


def layer_rows(side, analyses):
    """Returns a dict of `COLUMNS` for each layer.

    Args:
        side: the name of the side.
        analyses: list of what `analyze.py --json` says, of networks with the same layers.

    Raises:
        UserError: the networks have other layers.
    """
    names = [[layer["layer"] for layer in analysis["layers"]] for analysis in analyses]
    if any(others != names[0] for others in names):
        raise UserError(f"expected runs {side}-seed_N of the same layers with routers, received: {names}")
    rows = []
    for layers in zip(*(analysis["layers"] for analysis in analyses), strict=True):
        row = {
            "side": side,
            "runs": len(layers),
            "layer": layers[0]["layer"],
            "experts": layers[0]["experts"],
            "chance_specificity": statistics.fmean(analysis["chance_specificity"] for analysis in analyses),
        }
        for number in NUMBERS:
            values = [layer[number] for layer in layers]
            row |= {number: statistics.fmean(values), f"{number}_error": error_of_mean(values)}
        rows.append(row)
    return rows


if __name__ == "__main__":
    flags.DEFINE_string("runs", None, "Folder of a comparison.", required=True)
    flags.DEFINE_string("side", TWIN, "The side whose networks are analyzed.")
    flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS data sets; None: where the runs found theirs.")
    cli.run(main)
