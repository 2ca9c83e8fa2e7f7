"""Times every CondConv classifier against its plain network: inference and a training step.

    [KERAS_BACKEND=jax] python -m benchmarks.models [--models=condconv_mobilenet_v1] [--batch=1,32] [--csv=FILE]

Prints ratios: the median time of the twin divided by that of the plain network, from interleaved rounds of one run,
beside the ratio of their multiply-adds. Inference is Keras' `predict_on_batch`, a training step its `train_on_batch`
with momentum SGD; images lie in the memory of the device already. Weights are random: the time does not depend on them.
"""

import collections
import csv
import io
import logging
import statistics
import sys

from absl import flags

from benchmarks.rounds import ratio_of, timed_rounds
from benchmarks.twins import chosen_twins, plain_name
from condconv_keras import cli
from condconv_keras.errors import UserError, unknown_name
from condconv_keras.files import write_text
from condconv_keras.training.config import PRECISIONS
from models import model_entry

FLAGS = flags.FLAGS
flags.DEFINE_list("models", None, "CondConv models; default: all of them.")
flags.DEFINE_list("batch", ["1", "32"], "Batch sizes.")
flags.DEFINE_list("work", ["inference", "training"], "What to time: inference, training, or both.")
flags.DEFINE_integer("rounds", 11, "Interleaved rounds; the median is taken.", lower_bound=3)
flags.DEFINE_integer("input_size", None, "Height and width of the input; default: the model's.", lower_bound=32)
flags.DEFINE_enum("precision", "float32", PRECISIONS, "Precision of the computation.")
flags.DEFINE_bool("jit_compile", False, "Compile with XLA, which the JAX backend always does.")
flags.DEFINE_string("csv", None, "Also write the rows to this file, anew after every model.")

_WORK = ("inference", "training")

Row = collections.namedtuple(
    "Row", "model work batch precision plain_ms condconv_ms ratio ratio_low ratio_high madds_ratio"
)


def main(argv):
    if len(argv) > 1:
        raise UserError(f"expected flags only, received: {' '.join(argv[1:])}")
    models, batches = chosen_twins(FLAGS.models), _checked_batches()
    import keras

    # TensorFlow warns that functions are traced anew, which is on purpose.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    keras.config.set_dtype_policy(FLAGS.precision)
    rows = []
    for name in models:
        pair, madds_ratio = _build_pair(name)
        for batch in batches:
            for work in FLAGS.work:
                rows.append(_row(name, work, batch, madds_ratio, *_times(pair, work, batch)))
                print(_line(rows[-1]), file=sys.__stdout__, flush=True)
        keras.backend.clear_session()
        if FLAGS.csv:
            write_text(FLAGS.csv, _to_csv(rows))


def _checked_batches():
    if not FLAGS.batch or not all(batch.isdigit() and int(batch) for batch in FLAGS.batch):
        raise UserError(f"--batch expects batch sizes, received: {','.join(FLAGS.batch)}")
    for work in FLAGS.work:
        if work not in _WORK:
            raise unknown_name("work", work, _WORK)
    return [int(batch) for batch in FLAGS.batch]


def _build_pair(name):
    """The plain network and its twin, compiled, and the ratio of their multiply-adds."""
    import keras

    from condconv_keras.profiling import profile
    from models import create_model

    size = FLAGS.input_size or model_entry(name).input_size
    pair = [create_model(each, input_shape=(size, size, 3)) for each in (plain_name(name), name)]
    for model in pair:
        model.compile(
            keras.optimizers.SGD(1e-3, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=FLAGS.jit_compile or keras.backend.backend() == "jax",
        )
    plain, twin = (profile(model).multiply_adds for model in pair)
    return pair, twin / plain


def _times(pair, work, batch):
    """The seconds of every round, of the plain network and of the twin, measured in turn."""
    import keras
    import numpy as np

    rng = np.random.default_rng(0)
    images = keras.ops.convert_to_tensor(rng.standard_normal((batch, *pair[0].input_shape[1:])), "float32")
    labels = keras.ops.convert_to_tensor(rng.integers(0, 1000, batch), "int32")
    if work == "inference":
        calls = [lambda model=model: model.predict_on_batch(images) for model in pair]
    else:
        calls = [lambda model=model: model.train_on_batch(images, labels) for model in pair]
    # What they return are NumPy values: the device has computed them.
    times = timed_rounds(dict(enumerate(calls)), FLAGS.rounds, seconds=0.2)
    return times[0], times[1]


def _row(name, work, batch, madds_ratio, plain, condconv):
    milliseconds = (round(1e3 * statistics.median(times), 3) for times in (plain, condconv))
    ratios = (round(ratio, 3) for ratio in (*ratio_of(plain, condconv), madds_ratio))
    return Row(name, work, batch, FLAGS.precision, *milliseconds, *ratios)


def _line(row):
    return (
        f"{row.model:32} {row.work:9} b{row.batch:<4} {row.precision:15} plain {row.plain_ms:9.3f} ms  "
        f"CondConv {row.condconv_ms:9.3f} ms  ratio {row.ratio:.2f} ({row.ratio_low:.2f}-{row.ratio_high:.2f})  "
        f"multiply-adds {row.madds_ratio:.2f}"
    )


def _to_csv(rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    cli.run(main, backends=("tensorflow", "jax"))
