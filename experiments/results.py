"""What finished runs gave: a row per run, a row per setting, and the figure."""

import dataclasses
import functools
import json
import statistics

from condconv_keras.errors import UserError
from condconv_keras.files import write_rows

_PER_RUN = ("model", "width_multiplier", "num_experts", "flags", "seed", "metric", "multiply_adds", "parameters")
_PER_RUN += ("seconds", "command")
_PER_SETTING = ("model", "width_multiplier", "num_experts", "flags", "runs", "mean", "deviation", "multiply_adds")
_PER_SETTING += ("parameters", "seconds")


def finished(folder):
    """The `results.json` of a run folder as a dict, or None while the run is not finished."""
    try:
        return json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def run_rows(runs, root, metric):
    """Returns a dict for each finished run.

    Args:
        runs: list of `Run`.
        root: folder of the run folders.
        metric: a fraction of `results.json`, such as `"top_1"` or `"AP"`.

    Returns:
        A list of dicts: the columns of the table, `metric`, `multiply_adds` (of one image), `parameters`, `seconds`
        (of training) and `command`.

    Raises:
        UserError: the results lack the metric.
    """
    multiply_adds, rows = {}, []
    for run in runs:
        results = finished(root / run.name)
        if results is None:
            continue
        if not isinstance(results.get(metric), float):
            numbers = ", ".join(name for name, value in results.items() if isinstance(value, float))
            raise UserError(f"--metric is one of {numbers} for {run.name}, received: {metric!r}")
        if run.setting not in multiply_adds:
            multiply_adds[run.setting] = _multiply_adds(root / run.name / "model.keras")
        rows.append(
            {
                **dataclasses.asdict(run.setting),
                "seed": run.seed,
                "metric": results[metric],
                "multiply_adds": multiply_adds[run.setting],
                "parameters": results["parameters"],
                "seconds": results["seconds"],
                "command": results["command"],
            }
        )
    return rows


def setting_rows(rows):
    """Returns a dict for each setting: `mean` and sample standard `deviation` (None of one run) over its `runs`."""
    settings = {}
    for row in rows:
        key = tuple(row[name] for name in ("model", "width_multiplier", "num_experts", "flags"))
        settings.setdefault(key, []).append(row)
    summary = []
    for group in settings.values():
        values = [row["metric"] for row in group]
        summary.append(
            {
                **{name: group[0][name] for name in _PER_SETTING if name in group[0]},
                "runs": len(group),
                "mean": statistics.fmean(values),
                "deviation": statistics.stdev(values) if len(values) > 1 else None,
                "seconds": statistics.fmean(row["seconds"] for row in group),
            }
        )
    return summary


def write_results(rows, path):
    """Writes rows of `run_rows` or of `setting_rows` as a CSV file, anew."""
    write_rows(path, _PER_SETTING if rows and "mean" in rows[0] else _PER_RUN, rows)


def draw_accuracy(summary, metric):
    """Draws the mean of a metric against the multiply-adds, with one standard deviation up and down.

    Args:
        summary: rows of `setting_rows`. Settings that differ in their width alone are one line.
        metric: its name.

    Returns:
        A matplotlib `Figure`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="multiply-adds of one image, millions", ylabel=metric, xscale="log")
    axes.grid(alpha=0.3, which="both")
    lines = {}
    for row in summary:
        lines.setdefault(_label(row), []).append(row)
    for label, points in lines.items():
        points.sort(key=lambda row: row["multiply_adds"])
        axes.errorbar(
            [row["multiply_adds"] / 1e6 for row in points],
            [row["mean"] for row in points],
            yerr=[row["deviation"] or 0 for row in points],
            marker="o",
            capsize=3,
            label=label,
        )
    if lines:
        axes.legend(fontsize="small")
    return figure


def _label(row):
    experts = f", {row['num_experts']} experts" if row["num_experts"] else ""
    return f"{row['model']}{experts} {row['flags']}".strip()


@functools.cache
def _multiply_adds(path):
    import keras

    from condconv_keras.model_card import load_model
    from condconv_keras.profiling import profile

    count = profile(load_model(path)[0]).multiply_adds
    keras.backend.clear_session()
    return count
