"""Fills the tables of the study's pages from the runs' own: `python -m scripts.gain_page`.

A table stands between `<!-- table of FILE -->` and `<!-- end of table -->`. The file is a `summary.csv` that
`python -m condconv_keras.experiments.gain` wrote, in docs/results/gain, or one beside it: a `tuning.csv` of
`python -m experiments`, an `early.csv` with means of such runs after their first epochs, a `timed.csv`, the `runs.csv`
of runs that were trained for their time; a `replaced.csv`, that of twins in whose place others were trained; or a
`routing-SIDE.csv` of `python -m scripts.gain_routing`.

The table of a `summary.csv` leaves out the sides of which a run lost an expert; `<!-- table of FILE, with dead experts
-->` has these alone. `<!-- table of FOLDER, first epochs -->` has the twins of all settings in a folder.
"""

import csv
import pathlib
import re

from condconv_keras.experiments.gain.results import EARLY_EPOCHS
from condconv_keras.experiments.gain.settings import TWIN
from condconv_keras.experiments.gain.study import SETTINGS
from condconv_keras.utils.files import write_text

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = (ROOT / "docs/when-experts-pay.md", ROOT / "docs/results/gain/README.md")
_DEAD, _EARLY = "with dead experts", "first epochs"
_TABLE = re.compile(rf"(<!-- table of ([^\s,]+)(?:, ({_DEAD}|{_EARLY}))? -->\n).*?(?=<!-- end of table -->)", re.DOTALL)


def filled(text, root=ROOT):
    """Returns the text of a page with its tables as the files have them.

    Args:
        text: of a page.
        root: folder that the files' names are relative to.
    """
    return _TABLE.sub(lambda match: f"{match[1]}\n{_table(root / match[2], match[3])}\n\n", text)


def _table(path, kind):
    """The table of a file, or of a folder that of its twins; of a summary the sides with or without dead experts."""
    if kind == _EARLY:
        return _lines(_FIRST_EPOCHS, _twins(path))
    rows = _rows(path)
    if path.stem == "summary":
        rows = [row for row in rows if (int(row["dead_experts"] or 0) > 0) == (kind == _DEAD)]
    columns = _COLUMNS.get(path.stem.partition("-")[0], _SUMMARY)
    shown = {title: cell for title, cell in columns.items() if any(cell(row) for row in rows)}
    setting = SETTINGS.get(path.parent.name)
    if _finds_boxes(setting):
        shown = {title.replace("accuracy", setting.metric): cell for title, cell in shown.items()}
    return _lines(shown, rows)


def _rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _twins(folder):
    """The rows of the twins in the summaries of a folder's settings, in the order of `SETTINGS`, by their names."""
    paths = {name: folder / name / "summary.csv" for name in SETTINGS}
    twins = [(name, row) for name, path in paths.items() if path.exists() for row in _rows(path) if row["side"] == TWIN]
    return [{**row, "setting": name} for name, row in twins]


def _lines(columns, rows):
    """The lines of a table with a column for each title and its cell."""
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(cell(row) or '-' for cell in columns.values())} |" for row in rows]
    return "\n".join(lines)


def _finds_boxes(setting):
    return setting is not None and setting.metric.startswith("AP")


def _number(name, form, factor=1.0):
    """The cell of a column of numbers; empty where there is none."""
    return lambda row: format(float(row[name]) * factor, form) if row.get(name) else ""


def _with_error(name, error, form, factor=1.0):
    """A number and its standard error."""

    def cell(row):
        if not row.get(name):
            return ""
        value = format(float(row[name]) * factor, form)
        return f"{value} ± {format(float(row[error]) * factor, form.lstrip('+'))}" if row.get(error) else value

    return cell


_SUMMARY = {
    "network": lambda row: row["side"],
    "seeds": lambda row: row["runs"],
    "accuracy, %": _with_error("mean", "error_of_mean", ".2f", 100),
    "gain, points": _with_error("difference", "standard_error", "+.2f", 100),
    "the twin's lead, points": _with_error("twin_lead", "twin_lead_error", "+.2f", 100),
    "in training, %": _number("training", ".2f", 100),
    "million multiply-adds": _number("multiply_adds", ".3f", 1e-6),
    "parameters": lambda row: f"{int(row['parameters']):,}",
    "dead experts": lambda row: row["dead_experts"],
    "ms an image": _number("milliseconds", ".4f"),
    "KB of .tflite": _number("tflite_bytes", ".0f", 1e-3),
}
_FIRST_EPOCHS = {
    "setting": lambda row: f"`{row['setting']}`",
    "seeds": lambda row: row["runs"],
    **{
        f"after epoch {epoch}, points": _with_error(f"epoch_{epoch}_difference", f"epoch_{epoch}_error", "+.2f", 100)
        for epoch in range(1, EARLY_EPOCHS + 1)
    },
}
_TUNING = {
    "network": lambda row: row["model"],
    "width": lambda row: row["width_multiplier"],
    "experts": lambda row: row["num_experts"],
    "flags": lambda row: f"`{row['flags']}`",
    "seed": lambda row: row["seed"],
    "held-out accuracy, %": _number("metric", ".2f", 100),
    "dead experts": lambda row: row.get("dead_experts", ""),
}
_EARLY_TRIALS = {
    "network": lambda row: row["model"],
    "experts": lambda row: row["num_experts"],
    "flags": lambda row: f"`{row['flags']}`",
    "runs": lambda row: row["runs"],
    **{
        f"{title} {epoch}, %": _with_error(f"{name}_{epoch}", f"{name}_{epoch}_error", ".1f", 100)
        for title, name in (("held-out accuracy after epoch", "held_out"), ("in training, epoch", "training"))
        for epoch in range(1, EARLY_EPOCHS + 1)
    },
}
_TIMED = {
    "network": lambda row: row["side"],
    "seed": lambda row: row["seed"],
    "accuracy, %": _number("metric", ".2f", 100),
    "seconds of training": _number("seconds", ".1f"),
}
_REPLACED = {
    "network": lambda row: row["side"],
    "seed": lambda row: row["seed"],
    "accuracy, %": _number("metric", ".2f", 100),
    "dead experts": lambda row: row["dead_experts"],
}
_ROUTING = {
    "layer": lambda row: row["layer"],
    "class-specificity": _with_error("class_specificity", "class_specificity_error", ".3f"),
    "by chance": _number("chance_specificity", ".3f"),
    "spread": _with_error("spread", "spread_error", ".3f"),
    "weights below 0.1, %": _with_error("near_0", "near_0_error", ".1f", 100),
    "weights from 0.9 on, %": _with_error("near_1", "near_1_error", ".1f", 100),
}
_COLUMNS = {"tuning": _TUNING, "early": _EARLY_TRIALS, "timed": _TIMED, "replaced": _REPLACED, "routing": _ROUTING}


def main():
    """Writes the pages anew."""
    for page in PAGES:
        write_text(page, filled(page.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
