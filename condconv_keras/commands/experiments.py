"""Trains the runs of a table that are missing and gathers the results of all: accuracy against multiply-adds.

    python -m experiments --table=runs.csv --output_dir=runs/study -- --dataset=fashion_mnist --data_dir=data

The table is a CSV file with the columns model, width_multiplier, num_experts, seed and flags (further flags of
`train.py`); every run gets the flags that follow `--`. Give each flag in one place: a flag that a row sets and that
follows `--`, or that a row sets twice, is an error. Each run is a `train.py` with a folder of its own in
`--output_dir`. The same command goes on after an interruption: it keeps finished runs and continues an interrupted one
from its last checkpoint; a run that was trained with other flags is an error. Beside the folders lie `results.csv` (a
row per run, written anew after each), `summary.csv` (mean and standard deviation over the seeds), `accuracy.png` and
`accuracy.svg`.

Small networks use two cores badly: `--jobs=2` trains two runs at a time, each on cores of its own.
"""

import pathlib

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.commands.study_flags import check_flags
from condconv_keras.experiments.results import (
    check_metric,
    draw_accuracy,
    run_rows,
    setting_rows,
    write_runs,
    write_summary,
)
from condconv_keras.experiments.runner import failure, train_missing
from condconv_keras.experiments.table import read_table
from condconv_keras.tasks.table import all_tasks
from condconv_keras.utils.files import check_writable, whole_file
from condconv_keras.utils.lazy import require

FLAGS = flags.FLAGS

_TRAIN = ("-m", "condconv_keras.commands.train")


def main(argv):
    runs = read_table(FLAGS.table)
    check_flags(runs, argv[1:])
    check_metric(runs, FLAGS.metric)
    root = pathlib.Path(FLAGS.output_dir)
    check_writable(root, "output_dir")
    require("tensorflow", "matplotlib")
    root.mkdir(parents=True, exist_ok=True)
    failed = train_missing(_TRAIN, runs, root, argv[1:], FLAGS.jobs, lambda: _gather(runs, root))
    summary = setting_rows(_gather(runs, root))
    write_summary(summary, root / "summary.csv")
    figure = draw_accuracy(summary, FLAGS.metric)
    for kind in ("png", "svg"):
        with whole_file(root / f"accuracy.{kind}") as path:
            figure.savefig(path, format=kind)
    if failed:
        raise failure(failed, runs, root, FLAGS.jobs)
    return _report(summary)


def _gather(runs, root):
    rows = run_rows(runs, root, FLAGS.metric)
    write_runs(rows, root / "results.csv")
    return rows


def _report(summary):
    lines = [f"{FLAGS.metric:>8}{'+-':>8}{'runs':>6}{'millions':>10}  setting"]
    for row in summary:
        deviation = "-" if row["deviation"] is None else f"{row['deviation']:.4f}"
        setting = " ".join(str(row[name]) for name in ("model", "width_multiplier", "num_experts", "flags"))
        millions = row["multiply_adds"] / 1e6
        lines.append(f"{row['mean']:>8.4f}{deviation:>8}{row['runs']:>6}{millions:>10.2f}  {setting}")
    return "\n".join(lines)


def _define_flags():
    flags.DEFINE_string("table", None, "CSV file of the runs.", required=True)
    flags.DEFINE_string("output_dir", None, "Folder of the run folders and of the results.", required=True)
    flags.DEFINE_integer(
        "jobs", 1, "Runs at a time, each on its share of the cores; their output goes to NAME.log.", lower_bound=1
    )
    metrics = "; ".join(f"{task.noun}s have {', '.join(task.metrics)}" for task in all_tasks())
    flags.DEFINE_string("metric", "top_1", f"Entry of results.json to compare; {metrics}.")


def run():
    """Runs the command."""
    _define_flags()
    cli.run(main)


if __name__ == "__main__":
    run()
