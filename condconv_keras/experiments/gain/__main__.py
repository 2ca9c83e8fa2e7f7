"""Trains a plain network and its CondConv twin with the same seeds and says what the experts gain.

    python -m condconv_keras.experiments.gain --setting=separable_fashion_mnist --seeds=3 --json

Each setting is one of the study of docs/when-experts-pay.md, or `digits`, which `make demo` runs: data, networks and,
for each side, the recipe that was chosen for it on held-out training images. The runs go to `--output_dir`; the same
command goes on where it was interrupted. `runs.csv` there has a row for each run, those of earlier commands among them,
and `summary.csv` one for each side, with the paired difference to the plain network, and of the twin to the side.
`--sides` takes further sides of the setting, such as other numbers of experts; `--sides=all` all.

`--data_dir` is where prepared TFDS data sets lie. A set that is missing there is drawn or read from the packages of
Debian that its script names. The runs are evaluated on its test, the last word, and a set without one is refused:
`--held_out` compares on held-out training images instead, to choose settings by, and needs a `--data_dir` of its own:
the set is written there without a test.
"""

import pathlib

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.experiments.gain import data
from condconv_keras.experiments.gain.results import COLUMNS, SUMMARY, gain_rows, summary_rows
from condconv_keras.experiments.gain.settings import PLAIN, TWIN, PairedRun
from condconv_keras.experiments.gain.study import SETTINGS
from condconv_keras.experiments.results import finished
from condconv_keras.experiments.runner import differing_flags, failure, train_missing
from condconv_keras.utils.errors import unknown_name
from condconv_keras.utils.files import check_writable, write_rows
from condconv_keras.utils.lazy import require

FLAGS = flags.FLAGS

_TRAIN = ("-m", "condconv_keras.commands.train")


def main(argv):
    cli.expect_flags_only(argv)
    if FLAGS.setting not in SETTINGS:
        raise unknown_name("setting", FLAGS.setting, SETTINGS)
    setting = SETTINGS[FLAGS.setting]
    sides = _sides(setting)
    split = data.HELD_OUT if FLAGS.held_out else data.TEST
    root = pathlib.Path(FLAGS.output_dir or f"runs/gain/{FLAGS.setting}{'-held_out' if FLAGS.held_out else ''}")
    check_writable(root, "output_dir")
    require("tensorflow", "tensorflow_datasets", "matplotlib")
    data_dir = pathlib.Path(FLAGS.data_dir)
    data.make(setting, data_dir, split)
    root.mkdir(parents=True, exist_ok=True)
    common = [] if setting.maker is None else [f"--data_dir={data_dir.absolute()}"]
    # A seed at a time: what there is when it is interrupted can be compared.
    runs = [PairedRun(setting, side, seed) for seed in range(FLAGS.seeds) for side in sides]
    # The files have what earlier commands trained, too; the answer has what this one asks for.
    every = [*runs, *_others(setting, root, common, {run.name for run in runs})]
    failed = train_missing(_TRAIN, runs, root, common, FLAGS.jobs, lambda: _gather(every, root))
    if failed:
        raise failure(failed, runs, root, FLAGS.jobs)
    rows = _gather(every, root)
    write_rows(root / "summary.csv", SUMMARY, summary_rows(rows, list(dict.fromkeys(row["side"] for row in rows))))
    asked = [row for row in rows if row["side"] in sides and row["seed"] < FLAGS.seeds]
    summary = summary_rows(asked, sides)
    return cli.to_json(_result(setting, root, asked, summary)) if FLAGS.json else _table(setting, summary)


def _sides(setting):
    """The names of the sides to train, each once: always the plain one and the twin, in this order."""
    if FLAGS.sides == ["all"]:
        return list(setting.sides)
    for side in FLAGS.sides:
        if side not in setting.sides:
            raise unknown_name("side", side, setting.sides)
    return list(dict.fromkeys([PLAIN, TWIN, *FLAGS.sides]))


def _others(setting, root, common, known):
    """The finished runs of a setting in a folder, but for those of known names, with the flags they would have now."""
    named = {path.name: path.name.rpartition("-seed_") for path in root.iterdir()}
    found = [
        PairedRun(setting, side, int(seed))
        for name, (side, _, seed) in sorted(named.items())
        if side in setting.sides and seed.isdecimal() and name not in known
    ]
    return [run for run in found if finished(root / run.name) and not differing_flags(run, root, common)]


def _gather(runs, root):
    rows = gain_rows(runs, root)
    write_rows(root / "runs.csv", COLUMNS, rows)
    return rows


def _result(setting, root, rows, summary):
    (twin,) = (row for row in summary if row["side"] == TWIN)
    return {
        "setting": FLAGS.setting,
        "metric": setting.metric,
        "split": rows[0]["split"],
        "seeds": FLAGS.seeds,
        **{side: [row["metric"] for row in rows if row["side"] == side] for side in (PLAIN, TWIN)},
        "difference": twin["difference"],
        "standard_error": twin["standard_error"],
        "sides": summary,
        "output_dir": str(root),
    }


def _table(setting, summary):
    lines = [f"{setting.metric:>8}{'gain':>9}{'+-':>8}{'runs':>6}{'millions':>10}{'parameters':>12}{'s':>7}  side"]
    for row in summary:
        lines.append(
            f"{row['mean']:>8.4f}{_number(row['difference'], '+.4f'):>9}{_number(row['standard_error'], '.4f'):>8}"
            f"{row['runs']:>6}{row['multiply_adds'] / 1e6:>10.3f}{row['parameters']:>12,}"
            f"{_number(row['seconds'], '.0f'):>7}  {row['side']}"
        )
    return "\n".join(lines)


def _number(value, form):
    return "-" if value is None else format(value, form)


def _define_flags():
    flags.DEFINE_string("setting", None, f"What to compare: {', '.join(SETTINGS)}.", required=True)
    flags.DEFINE_list(
        "sides", [TWIN], "Sides to train beside the plain network and the twin, 'all' for all of the setting."
    )
    flags.DEFINE_integer("seeds", 3, "Seeds of each side: 0, 1 and so on.", lower_bound=1)
    flags.DEFINE_string("data_dir", "data", "Folder of prepared TFDS data sets; what is missing there is made.")
    flags.DEFINE_bool(
        "held_out", False, "Evaluate on held-out training images, of a set without a test, to choose settings by."
    )
    flags.DEFINE_string("output_dir", None, "Folder of the runs; default: runs/gain/SETTING, or SETTING-held_out.")
    flags.DEFINE_integer("jobs", 2, "Runs at a time, each on its share of the cores.", lower_bound=1)
    flags.DEFINE_bool("json", False, "Print one JSON object instead of a table.")


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
