"""Times every CondConv classifier against its plain network: inference and a training step.

    [KERAS_BACKEND=jax] python -m benchmarks.models [--models=condconv_mobilenet_v1] [--batch=1,32] \\
      [--work=inference,saved_model,training] [--memory] [--csv=FILE] [--figure=FILE]

Prints ratios: the median time of the twin divided by that of the plain network, from interleaved rounds of one run,
beside the ratio of their multiply-adds. `benchmarks/work.py` says what is timed; images lie in the memory of the device
already. Weights are random: the time does not depend on them. On TensorFlow the same rounds time the mixing alone, and
for SavedModels what Keras's `predict_on_batch` takes: `floor` is the ratio of the plain network with the mixing to the
plain network, `to_predict` that of the twin's SavedModel to its `predict_on_batch`. `--memory` adds the peak memory of
each, of a process of its own. `--figure` draws the ratio of times against the ratio of multiply-adds. The last line
says which of the targets of `benchmarks/verdict.py` are reached.
"""

import collections
import gc
import logging
import pathlib
import statistics
import sys

from absl import flags

from benchmarks.checks import batch_sizes, check_names
from benchmarks.peak_memory import peak_megabytes
from benchmarks.rounds import ratio_of, timed_rounds
from benchmarks.twins import build_pair, chosen_twins, plain_name
from benchmarks.verdict import verdict
from benchmarks.work import make_call
from condconv_keras.commands import cli
from condconv_keras.models import model_entry
from condconv_keras.training.config import PRECISIONS
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import whole_file, write_rows

# `benchmarks.tflite` times the files for LiteRT, in all their modes.
_DEFAULT_WORK = ("inference", "saved_model", "training")
_WORK = (*_DEFAULT_WORK, "unfolded")

FLAGS = flags.FLAGS
flags.DEFINE_list("models", None, "CondConv models; default: all of them.")
flags.DEFINE_list("batch", ["1", "32"], "Batch sizes.")
flags.DEFINE_list("work", list(_DEFAULT_WORK), "Work to time: some of inference, saved_model, training and unfolded.")
flags.DEFINE_integer("rounds", 11, "Interleaved rounds; the median is taken.", lower_bound=3)
flags.DEFINE_integer("input_size", None, "Height and width of the input; default: the model's.", lower_bound=32)
flags.DEFINE_enum("precision", "float32", PRECISIONS, "Precision of the computation.")
flags.DEFINE_bool("jit_compile", False, "Compile with XLA, which the JAX backend always does.")
flags.DEFINE_bool("memory", False, "Also measure the peak memory of a process that does the work.")
flags.DEFINE_string("csv", None, "Also write the rows to this file, anew after every model.")
flags.DEFINE_string("figure", None, "Also draw them to this .png or .svg file.")

Row = collections.namedtuple(
    "Row",
    "model work batch precision plain_ms condconv_ms ratio ratio_low ratio_high madds_ratio floor to_predict plain_mb "
    "condconv_mb",
)


def main(argv):
    cli.expect_flags_only(argv)
    models, batches, chosen = chosen_twins(FLAGS.models), batch_sizes(FLAGS.batch), _checked_work()
    if FLAGS.figure and pathlib.Path(FLAGS.figure).suffix not in (".png", ".svg"):
        raise UserError(f"--figure expects a .png or .svg file, received: {FLAGS.figure}")
    import keras

    # TensorFlow warns that functions are traced anew, which is on purpose.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    keras.config.set_dtype_policy(FLAGS.precision)
    rows = []
    for name in models:
        pair = build_pair(name, FLAGS.input_size)
        madds_ratio = _multiply_adds_ratio(pair)
        for batch in batches:
            for work in chosen:
                times = _times(pair, work, batch)
                rows.append(_row(name, work, batch, madds_ratio, times, *_peaks(name, work, batch)))
                print(_line(rows[-1]), file=sys.__stdout__, flush=True)
        # What the next ones need may not be there beside this one: networks and their graphs refer to each other.
        del pair
        keras.backend.clear_session()
        gc.collect()
        if FLAGS.csv:
            write_rows(FLAGS.csv, Row._fields, [row._asdict() for row in rows])
    if FLAGS.figure:
        with whole_file(FLAGS.figure) as path:
            draw(rows).savefig(path, format=pathlib.Path(FLAGS.figure).suffix[1:])
    return verdict(rows)


def _checked_work():
    if not FLAGS.work:
        raise UserError(f"--work expects some of {', '.join(_WORK)}, received none")
    check_names("work", FLAGS.work, _WORK)
    if "saved_model" in FLAGS.work:
        import keras

        if keras.backend.backend() != "tensorflow" or FLAGS.precision != "float32":
            raise UserError("saved_model is TensorFlow's and in float32; give --work=inference,training")
    return FLAGS.work


def _multiply_adds_ratio(pair):
    from condconv_keras.profiling import profile

    plain, twin = (profile(model).multiply_adds for model in pair)
    return twin / plain


def _times(pair, work, batch):
    """The seconds of every round of each call by name: `plain`, `twin`, and beside them what `Row` compares with."""
    import keras

    plain, twin = pair
    calls = {
        name: make_call(work, model, batch, FLAGS.jit_compile) for name, model in (("plain", plain), ("twin", twin))
    }
    if keras.backend.backend() == "tensorflow" and work in ("inference", "unfolded", "saved_model"):
        calls["mixing"] = make_call("mixing", twin, batch, FLAGS.jit_compile)
        if work == "saved_model":
            calls["predict"] = make_call("inference", twin, batch)
    # What they return are NumPy values: the device has computed them.
    return timed_rounds(calls, FLAGS.rounds, seconds=0.2)


def _peaks(name, work, batch):
    """The peak memory of the plain network and of the twin in MB, or twice None."""
    if not FLAGS.memory:
        return None, None
    size = FLAGS.input_size or model_entry(name).input_size
    return [
        peak_megabytes(each, work, batch, size, FLAGS.precision, FLAGS.jit_compile) for each in (plain_name(name), name)
    ]


def _row(name, work, batch, madds_ratio, times, plain_mb, condconv_mb):
    medians = {call: statistics.median(seconds) for call, seconds in times.items()}
    plain, twin = medians["plain"], medians["twin"]
    floor = (plain + medians["mixing"]) / plain if "mixing" in medians else None
    to_predict = twin / medians["predict"] if "predict" in medians else None
    milliseconds = (round(1e3 * seconds, 3) for seconds in (plain, twin))
    ratios = (*ratio_of(times["plain"], times["twin"]), madds_ratio, floor, to_predict)
    ratios = (None if ratio is None else round(ratio, 3) for ratio in ratios)
    return Row(name, work, batch, FLAGS.precision, *milliseconds, *ratios, plain_mb, condconv_mb)


def _line(row):
    beside = "" if row.floor is None else f"  floor {row.floor:.2f}"
    beside += "" if row.to_predict is None else f"  to predict {row.to_predict:.2f}"
    beside += "" if row.plain_mb is None else f"  memory {row.plain_mb} MB, {row.condconv_mb} MB"
    return (
        f"{row.model:32} {row.work:11} b{row.batch:<4} {row.precision:15} plain {row.plain_ms:9.3f} ms  "
        f"CondConv {row.condconv_ms:9.3f} ms  ratio {row.ratio:.2f} ({row.ratio_low:.2f}-{row.ratio_high:.2f})  "
        f"multiply-adds {row.madds_ratio:.2f}{beside}"
    )


def draw(rows):
    """Draws the ratio of the times against that of the multiply-adds, a series for each work and batch size.

    Args:
        rows: list of `Row`.

    Returns:
        A matplotlib `Figure`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="multiply-adds, CondConv to plain", ylabel="time, CondConv to plain")
    axes.grid(alpha=0.3)
    for work, batch in dict.fromkeys((row.work, row.batch) for row in rows):
        points = [row for row in rows if (row.work, row.batch) == (work, batch)]
        axes.scatter([row.madds_ratio for row in points], [row.ratio for row in points], label=f"{work}, batch {batch}")
    end = max(row.madds_ratio for row in rows)
    axes.plot([1, end], [1, end], color="gray", linestyle="--", label="the multiply-adds alone")
    axes.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    cli.run(main, backends=("tensorflow", "jax"))
