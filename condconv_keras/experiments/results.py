"""What finished runs gave: a row per run, a row per setting, and the figure."""

import dataclasses
import functools
import itertools
import statistics

from condconv_keras.analysis.figures import MARKERS
from condconv_keras.models import model_entry
from condconv_keras.models.saving import load_keras_file
from condconv_keras.routing_statistics.by_epoch import read_by_epoch
from condconv_keras.tasks.table import get_task
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import UserError, unknown_name
from condconv_keras.utils.files import write_rows
from condconv_keras.utils.lazy import LazyModule, keras
from condconv_keras.utils.lazy import tensorflow as tf
from condconv_keras.utils.text_files import read_rows

profiling = LazyModule("condconv_keras.profiling")
mpl_figure = LazyModule("matplotlib.figure")


_SETTING = ("model", "width_multiplier", "num_experts", "flags")
_PER_RUN = (*_SETTING, "seed", "metric", "dead_experts", "multiply_adds", "parameters", "seconds", "command")
_PER_SETTING = (*_SETTING, "runs", "mean", "deviation", "multiply_adds", "parameters", "seconds")


def check_metric(runs, metric):
    """Raises a `UserError` unless the results of every run will have this metric."""
    for run in runs:
        known = get_task(model_entry(run.setting.model).task).metrics
        if metric not in known:
            raise unknown_name(f"metric of {run.setting.model}", metric, known)


def finished(folder):
    """The `results.json` of a run folder as a dict, or None while the run is not finished.

    Raises:
        UserError: it is damaged.
    """
    return RunFolder(folder).read_results()


def metric_of(results, run, metric):
    """The metric of a run's results; raises a `UserError` if it is None: there was nothing to find."""
    if results[metric] is None:
        raise UserError(f"the run {run.name} has no {metric}: there is nothing of the kind to find")
    return results[metric]


def seconds_of(results):
    """The seconds of a training, or None of one that was interrupted, whose results have those of its last part."""
    return None if results.get("first_step") else results["seconds"]


def dead_experts(folder):
    """The dead experts of all routers after the last epoch of the run in a `RunFolder`, or None where none are known.

    That is so for a plain network, where routers are no sigmoids, and where their weights were not finite.
    """
    rows = read_by_epoch(folder.routing)
    if not rows:
        return None
    _, history = read_rows(folder.history, "the CSV file of a run's epochs")
    last = [row for row in rows if row.epoch == len(history) - 1]
    known = last and all(row.in_use is not None for row in last)
    return sum(row.experts - row.in_use for row in last) if known else None


def run_rows(runs, root, metric):
    """Returns a dict for each finished run.

    Args:
        runs: list of `Run`.
        root: folder of the run folders.
        metric: one of the `Task.metrics` of the models.

    Returns:
        A list of dicts: the columns of the table, `metric`, `dead_experts` (as of that function), `multiply_adds` (of
        one image), `parameters`, `seconds`
        (of training; None for a run that was interrupted, whose results have those of its last part) and `command`.

    Raises:
        UserError: the metric of a run is None: there was nothing to find.
    """
    multiply_adds, rows = {}, []
    for run in runs:
        results = finished(root / run.name)
        if results is None:
            continue
        if run.setting not in multiply_adds:
            multiply_adds[run.setting] = multiply_adds_of(root / run.name / "model.keras")
        rows.append(
            {
                **dataclasses.asdict(run.setting),
                "seed": run.seed,
                "metric": metric_of(results, run, metric),
                "dead_experts": dead_experts(RunFolder(root / run.name)),
                "multiply_adds": multiply_adds[run.setting],
                "parameters": results["parameters"],
                "seconds": seconds_of(results),
                "command": results["command"],
            }
        )
    return rows


def setting_rows(rows):
    """Returns a dict for each setting: `mean` and sample standard `deviation` (None of one run) over its `runs`.

    `seconds` is the mean over the runs that were not interrupted, or None.
    """
    settings = {}
    for row in rows:
        key = tuple(row[name] for name in ("model", "width_multiplier", "num_experts", "flags"))
        settings.setdefault(key, []).append(row)
    summary = []
    for group in settings.values():
        values = [row["metric"] for row in group]
        seconds = [row["seconds"] for row in group if row["seconds"] is not None]
        summary.append(
            {
                **{name: group[0][name] for name in _PER_SETTING if name in group[0]},
                "runs": len(group),
                "mean": statistics.fmean(values),
                "deviation": statistics.stdev(values) if len(values) > 1 else None,
                "seconds": statistics.fmean(seconds) if seconds else None,
            }
        )
    return summary


def write_runs(rows, path):
    """Writes rows of `run_rows` as a CSV file, anew."""
    write_rows(path, _PER_RUN, rows)


def write_summary(rows, path):
    """Writes rows of `setting_rows` as a CSV file, anew."""
    write_rows(path, _PER_SETTING, rows)


def draw_accuracy(summary, metric):
    """Draws the mean of a metric against the multiply-adds, with one standard deviation up and down.

    Args:
        summary: rows of `setting_rows`. Settings that differ in their width alone are one line.
        metric: its name.

    Returns:
        A matplotlib `Figure`.
    """

    figure = mpl_figure.Figure(figsize=(8, 6.5), layout="constrained")
    axes = figure.add_subplot(xlabel="multiply-adds of one image, millions", ylabel=metric, xscale="log")
    axes.grid(alpha=0.3, which="both")
    lines = {}
    for row in summary:
        lines.setdefault(_label(row), []).append(row)
    for (label, points), marker in zip(lines.items(), itertools.cycle(MARKERS)):
        points.sort(key=lambda row: row["multiply_adds"])
        axes.errorbar(
            [row["multiply_adds"] / 1e6 for row in points],
            [row["mean"] for row in points],
            yerr=[row["deviation"] or 0 for row in points],
            marker=marker,
            capsize=3,
            label=label,
        )
    if lines:
        figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _label(row):
    experts = f", {row['num_experts']} experts" if row["num_experts"] else ""
    return f"{row['model']}{experts} {row['flags']}".strip()


@functools.cache
def multiply_adds_of(path):
    tf.config.set_visible_devices([], "GPU")  # its memory is for the runs
    count = profiling.profile(load_keras_file(path)[0]).multiply_adds
    keras.backend.clear_session()
    return count
