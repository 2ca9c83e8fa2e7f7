"""Measures what exporting costs in accuracy: `python -m scripts.export_results --output_dir=OUT runs/digits`.

Every run is exported in all modes to `OUT/<data set>/<run>/`; the run and each exported file are evaluated on the whole
held-out split of the run's data set. `OUT/results.md` has a table for each data set, `OUT/results.json` every figure
with its command.
"""

import datetime
import json
import os
import pathlib
import platform

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.data.dataset import VALIDATION_FRACTION
from condconv_keras.export.formats import SAVED_MODEL, TFLITE
from condconv_keras.facts.model_card import FILE_NAME
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import check_parents, check_writable, write_text
from condconv_keras.utils.json_text import json_text
from scripts.commands import call

MODES = {"SavedModel": SAVED_MODEL, **{f"TFLite {name}": mode for name, mode in TFLITE.items()}}

FLAGS = flags.FLAGS


def main(argv):
    return measure_all(argv[1:], pathlib.Path(FLAGS.output_dir), FLAGS.data_dir)


def measure_all(paths, output, data_dir=None):
    """Measures runs and writes the results.

    Args:
        paths: of run folders.
        output: path of the folder for everything that is written.
        data_dir: folder of prepared TFDS data sets, or None for each run's.

    Returns:
        The tables, as in `results.md`.

    Raises:
        UserError: there is no run, a path is none, or a place for exports is taken; nothing is measured then.
    """
    runs = _checked_runs(paths, output)
    results = [measure(run, folder, data_dir) for run, folder in runs.items()]
    write_text(output / "results.json", json_text(results) + "\n")
    tables = markdown(results)
    write_text(output / "results.md", tables)
    return tables.rstrip("\n")


def _checked_runs(paths, output):
    """The folder of every run's exports; raises a `UserError` before anything is measured."""
    if not paths:
        raise UserError("expected run folders after the flags, received none")
    check_parents(output, "output_dir")
    check_writable(output, "output_dir")
    folders = {}
    for path in paths:
        if not RunFolder.is_run(path):
            raise UserError(f"expected run folders, {path!r} is none")
        if RunFolder(path).read_results() is None:
            raise UserError(f"expected complete runs, {path!r} has no results yet")
        folder = output / RunFolder(path).read_config().dataset / pathlib.Path(path).resolve().name
        if folder in folders.values() or folder.exists():
            raise UserError(f"the exports of {path!r} belong in {str(folder)!r}, which is taken already")
        folders[path] = folder
    return folders


def measure(run, folder, data_dir=None):
    """Exports a run and evaluates it and its files.

    Args:
        run: path of a run folder.
        folder: to export to; must not exist.
        data_dir: as in `measure_all`.

    Returns:
        A dict that JSON can hold: the run, and below `"stored"` a dict for each form that it is stored in.
    """
    config = RunFolder(run).read_config()
    # The embedded digits and folders have no such place.
    data = [f"--data_dir={data_dir}"] if data_dir and config.data_dir else []
    export = ["-m", "export", f"--model={run}", f"--output_dir={folder}", f"--quantization={','.join(TFLITE)}"]
    checked = {file["file"]: file for file in call(*export, *data)["files"]}
    stored = [{"as": "Keras", "bytes": RunFolder(run).model.stat().st_size, **_evaluate([f"--model={run}", *data])}]
    for name, mode in MODES.items():
        file = checked[mode.file_name]
        compared = {key: file[key] for key in ("bytes", "images", "same_class", "relative_error", "snr_db")}
        evaluated = _evaluate(
            [f"--model={folder / mode.file_name}", f"--dataset={config.dataset}", *_place(config, data_dir)]
        )
        stored.append({"as": name, **compared, **evaluated})
    return {
        "run": pathlib.Path(run).resolve().name,
        "model": config.model,
        "dataset": config.dataset,
        "seed": config.seed,
        "training": RunFolder(run).read_results()["command"],
        "export": " ".join(["python", *export, *data]),
        "stored": stored,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "hardware": f"{os.cpu_count()} {platform.machine()} cores",
        "versions": json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))["versions"],
    }


def _place(config, data_dir):
    """What tells `eval.py` of an exported file where the run's held-out images are."""
    place = [f"--data_dir={data_dir or config.data_dir}"] if config.data_dir else []
    # Data with a split of their own refuse the flag.
    if config.validation_fraction != VALIDATION_FRACTION:
        place.append(f"--validation_fraction={config.validation_fraction}")
    return place


def _evaluate(arguments):
    result = call("eval.py", *arguments)
    figures = {name: result[name] for name in ("top_1", "top_5", "loss", "examples", "split")}
    return {**figures, "command": " ".join(["python", "eval.py", *arguments])}


def markdown(results):
    """Returns a table for each data set: a row for each form, a column for each run, of top-1 and the check's figure.

    Args:
        results: list of dicts as `measure` returns them.
    """
    tables = []
    for dataset in dict.fromkeys(result["dataset"] for result in results):
        runs = [result for result in results if result["dataset"] == dataset]
        examples = runs[0]["stored"][0]["examples"]
        names = (f"`{run['run']}`" for run in runs)
        lines = [
            f"top-1 on {examples} held-out images of `{dataset}` (size; nearness to Keras):",
            "",
            f"| stored as | {' | '.join(names)} |",
            f"|---{'|---' * len(runs)}|",
        ]
        for forms in zip(*(run["stored"] for run in runs), strict=True):
            lines.append(f"| {forms[0]['as']} | {' | '.join(map(_cell, forms))} |")
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def _cell(form):
    figures = [f"{form['bytes'] / 1e6:.2f} MB"]
    mode = MODES.get(form["as"])
    if mode is not None:
        by_error = mode.max_relative_error is not None
        figures.append(f"error {form['relative_error']:.0e}" if by_error else f"{form['snr_db']:.0f} dB")
    return f"{form['top_1']:.4f} ({'; '.join(figures)})"


if __name__ == "__main__":
    # Not on import: a process may import several scripts, and absl wants every flag defined once.
    flags.DEFINE_string("output_dir", None, "Folder for the exported files and the results.", required=True)
    flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS data sets; default: each run's.")
    cli.run(main)
