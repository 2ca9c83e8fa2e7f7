"""The `.tflite` files of CondConv models and of their plain networks: written, measured and compared."""

import concurrent.futures
import csv
import dataclasses
import datetime
import importlib.metadata
import io
import multiprocessing
import os
import pathlib
import platform
import shlex
import statistics
import sys
import time

from benchmarks.rounds import ratio_of
from condconv_keras.export.formats import TFLITE
from condconv_keras.models import list_models, model_entry
from condconv_keras.utils.errors import unknown_name

RUN_TIME, STATIC = "run time", "static"
PLAIN = "plain"
_WARM_UP = 3  # rounds
# More would not change what is measured, and on these few int8 converts quickly.
_CALIBRATION = {"rows": 2, "columns": 2}


@dataclasses.dataclass(frozen=True)
class Row:
    """A CondConv file beside the plain one; times in milliseconds for one image.

    Attributes:
        model: registry name of the CondConv model.
        mode: name of the quantization.
        kernels: `"run time"` or `"static"`, those of the CondConv file.
        threads: number of threads.
        plain_bytes, condconv_bytes: sizes of the files.
        plain_median, plain_min, condconv_median, condconv_min: of the rounds.
        ratio: of the medians, CondConv to plain.
        ratio_low, ratio_high: quartiles of the ratio within a round.
    """

    model: str
    mode: str
    kernels: str
    threads: int
    plain_bytes: int
    condconv_bytes: int
    plain_median: float
    plain_min: float
    condconv_median: float
    condconv_min: float
    ratio: float
    ratio_low: float
    ratio_high: float


def chosen_twins(names):
    """Returns the CondConv classifiers of these names, or all; raises a `UserError` for a name that is none."""
    twins = [name for name in list_models(task="classification") if model_entry(name).placement is not None]
    for name in names or ():
        if name not in twins:
            raise unknown_name("CondConv model", name, twins)
    return names or twins


def plain_name(model):
    """Returns the name of the plain network that a registered CondConv model is the twin of."""
    plain = (entry for entry in map(model_entry, list_models(task="classification")) if entry.placement is None)
    return next(entry.name for entry in plain if _network(entry) == _network(model_entry(model)))


def build_pair(model, size):
    """Returns the plain network of a registered CondConv model and that model, of random weights.

    Args:
        model: registry name.
        size: height and width of the input, or None for the model's own.
    """
    from condconv_keras.layers import use_fused_batch_norm
    from condconv_keras.models import build_model

    size = size or model_entry(model).input_size
    return [use_fused_batch_norm(build_model(name, input_shape=(size, size, 3))) for name in (plain_name(model), model)]


def _network(entry):
    return entry.builder, dict(entry.arguments), entry.input_size


def in_own_process(function, *arguments):
    """Calls a function in a new process: a conversion takes twenty times the file's size, and keeps half of it."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments).result()


def write_files(folder, source, forms, mode):
    """Writes the files of a network in one mode.

    Args:
        folder: path.
        source: its `condconv_keras.stored.registered.Untrained`, or anything with a `name` and a `load`.
        forms: those of `PLAIN`, `RUN_TIME` and `STATIC` to write, or other names of a file as of `RUN_TIME`.
        mode: name of the mode.

    Returns:
        A dict of form to the path of a file.
    """
    from condconv_keras.data.sources.photographs import photographs
    from condconv_keras.export.tflite.conversion import tflite_bytes

    model, card = source.load()
    images = None
    if mode == "int8":
        images = card.preprocessing.evaluation_images(photographs(**_CALIBRATION))
    files = {}
    for form in forms:
        path = pathlib.Path(folder, f"{form.replace(' ', '_')}_{TFLITE[mode].file_name}")
        print(f"{source.name}: writing {path.name}", file=sys.stderr, flush=True)
        path.write_bytes(tflite_bytes(model, card, mode, images, form == STATIC))
        files[form] = path
    return files


def measure(model, mode, files, threads, rounds):
    """Returns a `Row` for each file of a twin, from interleaved rounds of it and the plain file.

    Args:
        model: name of the twin.
        mode: name of the mode.
        files: dict of `PLAIN`, `RUN_TIME` and perhaps `STATIC` to the path of a file.
        threads: number of threads.
        rounds: number of rounds that count.
    """
    print(f"{model}: measuring {mode}, threads: {threads}", file=sys.stderr, flush=True)
    times = interleaved_times({form: invocation(path, threads) for form, path in files.items()}, rounds)
    return [compare(model, mode, form, threads, files, times) for form in files if form != PLAIN]


def invocation(path, threads):
    """A function that runs a file once on pixels of noise."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (images,) = interpreter.get_input_details()
    pixels = np.random.default_rng(0).integers(0, 256, images["shape"])
    interpreter.set_tensor(images["index"], pixels.astype(images["dtype"]))
    return interpreter.invoke


def interleaved_times(calls, rounds):
    """Milliseconds of every call in every round, in turn, after some rounds more that do not count."""
    times = {name: [] for name in calls}
    for _ in range(_WARM_UP + rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: values[_WARM_UP:] for name, values in times.items()}


def compare(model, mode, form, threads, files, times):
    """The `Row` of one of the files; arguments as in `measure`, `times` as `interleaved_times` returns them."""
    plain, condconv = times[PLAIN], times[form]
    ratio, low, high = ratio_of(plain, condconv)
    return Row(
        model=model,
        mode=mode,
        kernels=form,
        threads=threads,
        plain_bytes=os.path.getsize(files[PLAIN]),
        condconv_bytes=os.path.getsize(files[form]),
        plain_median=statistics.median(plain),
        plain_min=min(plain),
        condconv_median=statistics.median(condconv),
        condconv_min=min(condconv),
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
    )


def to_csv(rows):
    """Returns rows as CSV text, times and ratios to four digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(Row))
    for row in rows:
        writer.writerow(f"{x:.4g}" if isinstance(x, float) else x for x in dataclasses.astuple(row))
    return text.getvalue()


def table(rows):
    """Returns rows as a Markdown table, a line for each file of a twin."""
    threads = list(dict.fromkeys(row.threads for row in rows))
    titles = ["model", "mode", "kernels", "MB, plain", "MB"]
    for count in threads:
        titles += [f"ms, plain, {count} thread{'s' * (count > 1)}", "ms", "ratio (quartiles)"]
    lines = [titles, ["---"] * len(titles)]
    for file in dict.fromkeys((row.model, row.mode, row.kernels) for row in rows):
        found = [row for row in rows if (row.model, row.mode, row.kernels) == file]
        cells = [f"`{file[0]}`", *file[1:], f"{found[0].plain_bytes / 1e6:.1f}", f"{found[0].condconv_bytes / 1e6:.1f}"]
        for row in found:
            spread = f"{row.ratio:.2f} ({row.ratio_low:.2f}-{row.ratio_high:.2f})"
            cells += [f"{row.plain_median:.1f}", f"{row.condconv_median:.1f}", spread]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def header(module):
    """Returns the command of a module, the day, the processor and the versions as lines of text."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("ai-edge-litert", "tensorflow"))
    command = shlex.join(["python", "-m", module, *sys.argv[1:]])
    return f"{command}\n{datetime.date.today()}, {processor()}, {len(os.sched_getaffinity(0))} cores, {versions}"


def processor():
    """Returns the name of the processor, as text."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
