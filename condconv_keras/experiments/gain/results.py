"""What finished pairs gave: a row for each run, and a row for each side."""

import itertools
import statistics

from condconv_keras.experiments.gain.comparison import error_of_mean, paired_difference
from condconv_keras.experiments.gain.settings import PLAIN, TWIN
from condconv_keras.experiments.results import dead_experts, finished, metric_of, multiply_adds_of, seconds_of
from condconv_keras.tasks.table import all_tasks
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.text_files import read_rows

EARLY_EPOCHS = 3  # whose held-out metric a row has, too
_EARLY = tuple(f"epoch_{epoch}" for epoch in range(1, EARLY_EPOCHS + 1))
_COST = ("multiply_adds", "parameters", "seconds")
COLUMNS = ("side", "seed", "split", "metric", *_EARLY, "training", "dead_experts", *_COST, "command")
_EARLY_DIFFERENCES = tuple(f"{epoch}_{kind}" for epoch in _EARLY for kind in ("difference", "error"))
SUMMARY = (
    *("side", "runs", "mean", "error_of_mean", "difference", "standard_error", "twin_lead", "twin_lead_error"),
    *_EARLY_DIFFERENCES,
    "training",
    "dead_experts",
    *_COST,
)


def gain_rows(runs, root):
    """Returns a dict of `COLUMNS` for each finished run.

    Args:
        runs: list of `PairedRun`, of one setting.
        root: folder of the run folders.

    Raises:
        UserError: the metric of a run is None, as there was nothing to find; or runs were evaluated on different
            splits.
    """
    rows, counted = [], {}
    for run in runs:
        results = finished(root / run.name)
        if results is None:
            continue
        folder = RunFolder(root / run.name)
        _, history = read_rows(folder.history, "the CSV file of a run's epochs")
        if run.side not in counted:
            counted[run.side] = multiply_adds_of(folder.model)
        rows.append(
            {
                "side": run.side,
                "seed": run.seed,
                "split": results["split"],
                "metric": metric_of(results, run, run.setting.metric),
                **_early(history, run.setting.metric),
                "training": _in_training(history, run.setting.metric),
                "dead_experts": dead_experts(folder),
                "multiply_adds": counted[run.side],
                "parameters": results["parameters"],
                "seconds": seconds_of(results),
                "command": results["command"],
            }
        )
    splits = {row["split"]: f"{row['side']}-seed_{row['seed']}" for row in rows}
    if len(splits) > 1:
        raise UserError(
            f"expected runs that were evaluated on one split, those in {str(root)!r} were on several: "
            + ", ".join(f"{name} on {split}" for split, name in splits.items())
        )
    return rows


def summary_rows(rows, sides):
    """Returns a dict of `SUMMARY` for each side: means over its runs and the paired difference to the plain network.

    `twin_lead` is how far the twin is ahead of the side, over the pairs of the two. `epoch_1_difference` and
    `epoch_1_error` are the difference to the plain network and its standard error after the first epoch, and so on;
    None where a run has no such epoch. `training` is the mean metric of the training images in the last epoch, as their
    history has it, of a classifier.

    Args:
        rows: of `gain_rows`, those of the plain network and of the twin among them.
        sides: the names of the sides, in order.
    """
    plain, twin = ({row["seed"]: row for row in rows if row["side"] == side} for side in (PLAIN, TWIN))
    summary = []
    for side in sides:
        own = [row for row in rows if row["side"] == side]
        values = [row["metric"] for row in own]
        # No network is its own partner.
        pairs = [(plain[row["seed"]], row) for row in own if row["seed"] in plain and side != PLAIN]
        leads = [(row, twin[row["seed"]]) for row in own if row["seed"] in twin and side != TWIN]
        summary.append(
            {
                "side": side,
                "runs": len(own),
                "mean": statistics.fmean(values),
                "error_of_mean": error_of_mean(values),
                **_difference(pairs, "metric", "difference", "standard_error"),
                **_difference(leads, "metric", "twin_lead", "twin_lead_error"),
                **_early_differences(pairs),
                "training": _mean_or_none(row["training"] for row in own),
                "dead_experts": None if None in (dead := [row["dead_experts"] for row in own]) else max(dead),
                "multiply_adds": own[0]["multiply_adds"],
                "parameters": own[0]["parameters"],
                "seconds": _mean_or_none(row["seconds"] for row in own),
            }
        )
    return summary


def _mean_or_none(values):
    """The mean of the values that are not None, or None."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _difference(pairs, column, difference, error):
    """The paired difference of a column and its standard error, under these names; None where a value is missing."""
    values = [(baseline[column], row[column]) for baseline, row in pairs]
    if not values or None in itertools.chain(*values):
        return {difference: None, error: None}
    found = paired_difference(*zip(*values, strict=True))
    return {difference: found.mean, error: found.standard_error}


def _early_differences(pairs):
    differences = {}
    for epoch in _EARLY:
        differences |= _difference(pairs, epoch, f"{epoch}_difference", f"{epoch}_error")
    return differences


def _early(history, metric):
    """The held-out metric after each of the first epochs, None where the history has none."""
    cells = [row.get(_column(metric)) for row in history.values()][:EARLY_EPOCHS]
    values = [float(cell) if cell else None for cell in cells]
    return dict(zip(_EARLY, [*values, *[None] * EARLY_EPOCHS], strict=False))


def _in_training(history, metric):
    """The metric of the training images in the last epoch, augmented and while they are learned, or None."""
    *_, last = history.values()
    cell = last.get(_column(metric).removeprefix("val_"))
    return float(cell) if cell else None


def _column(metric):
    """The column of a history with the held-out values of a metric."""
    return {name: column for task in all_tasks() for column, name in task.validation.items()}[metric]
