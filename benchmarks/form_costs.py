"""Fits the estimates of `condconv_keras/layers/forms/costs.py` to times of the forms, and says how well they choose.

    python -m benchmarks.form_costs [--csv=docs/results/speed/form_costs.csv]
    python -m benchmarks.form_costs --measure [--batch=32,128] --csv=FILE

The first prints for each form the coefficients that fit its times in the file, in nanoseconds, and the spread of the
fit. For the estimates as they are in the library it then prints how much longer the form of the lowest one took than
the fastest form. `--measure` times the forms of the grid of `benchmarks/small_maps.py`, forward and gradient, and
writes such a file.
"""

import csv
import math
import statistics
import sys

from absl import flags

from benchmarks import small_maps
from benchmarks.checks import batch_sizes
from condconv_keras.commands import cli
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import write_rows

FLAGS = flags.FLAGS
_LAYER = ("channels", "filters", "kernel", "stride", "size", "experts", "batch")
# Beyond these a form is too slow to be of interest, or too large.
_MOST_PATCHES, _MOST_MIXTURE, _MOST_PAIRS = 1e8, 6e9, 256


def main(argv):
    cli.expect_flags_only(argv)
    if FLAGS.measure:
        _measure(FLAGS.csv, batch_sizes(FLAGS.batch), FLAGS.rounds)
    rows = _read(FLAGS.csv)
    for pointwise in (True, False):
        of_kind = [row for row in rows if (row["kernel"] == 1) == pointwise]
        if of_kind:
            _fit(of_kind, "1x1" if pointwise else "kxk")
            _judge(of_kind, "1x1" if pointwise else "kxk")


def _measure(path, batches, rounds):
    import keras

    rows = []
    for point in small_maps.grid(batches):
        times = small_maps.measure_forms(point, _forms_of_interest(point), rounds)
        layer = {"filters": point.channels, **point._asdict()}
        rows.append({**{name: layer[name] for name in _LAYER}, **times})
        write_rows(path, (*_LAYER, "plain", *_names()), rows)
        print(point, {form: round(milliseconds, 3) for form, milliseconds in times.items()}, file=sys.__stdout__)
        keras.backend.clear_session()


def _names():
    from condconv_keras.layers.forms import costs

    return tuple(costs.estimates(*_arguments(dict.fromkeys(_LAYER, 3))))


def _forms_of_interest(point):
    multiply_adds = point.batch * point.pixels * point.kernel_size
    wanted = {
        "batched_matmul": multiply_adds / point.channels < _MOST_PATCHES,
        "dense": point.size**2 * point.pixels <= _MOST_PAIRS,
        "grouped_conv": True,
        "mapped_conv": multiply_adds / point.batch > 2e6,
        "mixture_conv": point.experts * multiply_adds < _MOST_MIXTURE,
    }
    return [form for form, is_wanted in wanted.items() if is_wanted]


def _read(path):
    """The rows of a file: integers of the layer, milliseconds of the forms that were timed."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"--csv expects a file of times, received: {path}") from None
    return [{name: int(text) if name in _LAYER else float(text) for name, text in row.items() if text} for row in rows]


def _arguments(row):
    """What `costs.estimates` takes for a row."""
    spec = small_maps.conv_spec(row["channels"], row["filters"], row["kernel"], row["stride"])
    return spec, row["experts"], row["batch"], row["size"], row["size"]


def _fit(rows, kind):
    """Prints the coefficients, none below 0, of the least squares of relative errors."""
    import numpy as np
    import scipy.optimize

    from condconv_keras.layers.forms import costs

    for form in costs.estimates(*_arguments(rows[0])):
        timed = [row for row in rows if form in row]
        if not timed:
            continue
        counted = [costs.amounts(*_arguments(row))[form] for row in timed]
        amounts = np.array([list(each.values()) for each in counted], float)
        nanoseconds = np.array([1e6 * row[form] for row in timed])
        values, _ = scipy.optimize.nnls(amounts / nanoseconds[:, None], np.ones(len(timed)))
        spread = np.sqrt(np.mean(np.log(amounts @ values / nanoseconds) ** 2))
        fitted = {name: float(f"{value:.3g}") for name, value in zip(counted[0], values, strict=True) if value}
        print(f"{kind} {form}: {len(timed)} times, spread {spread:.2f}, {fitted}", file=sys.__stdout__)


def _judge(rows, kind):
    from condconv_keras.layers.forms import costs

    losses = []
    for row in rows:
        estimated = costs.estimates(*_arguments(row))
        times = {form: row[form] for form in estimated if form in row}
        chosen = min(times, key=estimated.get)
        losses.append(times[chosen] / min(times.values()))
    print(
        f"{kind}: the form of the lowest estimate took {100 * (statistics.geometric_mean(losses) - 1):.1f} % longer "
        f"than the fastest on the geometric mean of {len(rows)} layers, at most {max(losses):.2f} times as long; it is "
        f"the fastest or within a tenth of it in {sum(math.log(loss) < 0.1 for loss in losses)}",
        file=sys.__stdout__,
    )


if __name__ == "__main__":
    flags.DEFINE_string("csv", "docs/results/speed/form_costs.csv", "File of times.")
    flags.DEFINE_bool("measure", False, "Time the forms first, and write the file.")
    flags.DEFINE_list("batch", ["32", "128"], "Batch sizes to measure.")
    flags.DEFINE_integer("rounds", 3, "Interleaved rounds; the median is taken.", lower_bound=3)
    cli.run(main)
