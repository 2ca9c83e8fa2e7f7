"""Size and latency of the `.tflite` files of CondConv models, beside those of their plain networks.

    python -m benchmarks.tflite [--models=condconv_mobilenet_v1] [--modes=none,dynamic] [--threads=1,2] [--csv=FILE]

Writes the files of untrained networks, as `python -m export` does but without its check, and runs them in LiteRT with
XNNPACK. The files that are compared, a plain network's and its twin's in one mode, are invoked in turn in one process,
which loads nothing else: prints their median milliseconds for one image, and the ratio of the medians with the
quartiles of the rounds' own ratios. As they take turns, each finds the processor's caches full of another's weights.
"""

import contextlib
import pathlib
import tempfile

from absl import flags

from benchmarks.twins import (
    PLAIN,
    RUN_TIME,
    STATIC,
    chosen_twins,
    header,
    in_own_process,
    measure,
    plain_name,
    table,
    to_csv,
    write_files,
)
from condconv_keras.commands import cli
from condconv_keras.commands.model_flags import WIDTHS
from condconv_keras.export.formats import TFLITE
from condconv_keras.stored.registered import Untrained
from condconv_keras.utils.errors import UserError, unknown_name
from condconv_keras.utils.files import check_parents, check_writable, write_text

FLAGS = flags.FLAGS
flags.DEFINE_list("models", None, "CondConv models; each is compared with its plain network. Default: all of them.")
flags.DEFINE_list("modes", ",".join(TFLITE), "Files to measure, as --quantization of `python -m export`.")
flags.DEFINE_list("threads", "1,2", "Numbers of threads.")
flags.DEFINE_integer("rounds", 40, "Interleaved rounds; the median is taken.", lower_bound=4)
flags.DEFINE_bool("static_kernels", False, "Also measure the CondConv models with --static_kernels.")
flags.DEFINE_integer("input_size", None, "Height and width of the input; default: the model's.", lower_bound=1)
flags.DEFINE_integer("num_experts", None, "Experts of the CondConv models; default: the paper's.", lower_bound=1)
flags.DEFINE_float("width_multiplier", None, "Scales the channels of models that have this argument.", *WIDTHS)
flags.DEFINE_integer("seed", 0, "Seed of the weights.", 0, 2**32 - 1)
flags.DEFINE_string("csv", None, "Also write the rows to this file, anew after every model.")
flags.DEFINE_string("output_dir", None, "Keep the files in sub-folders of this one.")


def main(argv):
    cli.expect_flags_only(argv)
    models, threads = chosen_twins(FLAGS.models), _checked_threads()
    _check_modes()
    _check_outputs()
    rows = []
    for model in models:
        with _folder(model) as folder:
            for mode in FLAGS.modes:
                files = {}
                for source, forms in _sources(model):
                    files |= in_own_process(write_files, folder, source, forms, mode)
                for count in threads:
                    rows += in_own_process(measure, model, mode, files, count, FLAGS.rounds)
        if FLAGS.csv:
            write_text(FLAGS.csv, to_csv(rows))
    return f"{header('benchmarks.tflite')}\n\n{table(rows)}"


def _check_modes():
    for mode in FLAGS.modes:
        if mode not in TFLITE:
            raise unknown_name("mode", mode, TFLITE)


def _checked_threads():
    if not FLAGS.threads or not all(count.isdigit() and int(count) for count in FLAGS.threads):
        raise UserError(f"--threads expects numbers of threads, received: {','.join(FLAGS.threads)}")
    return [int(count) for count in FLAGS.threads]


def _check_outputs():
    for name in ("csv", "output_dir"):
        if FLAGS[name].value:
            check_parents(FLAGS[name].value, name)
            check_writable(pathlib.Path(FLAGS[name].value).absolute().parent, name)


def _folder(model):
    """A context with the folder of a model's files, removed with them unless --output_dir keeps it."""
    if not FLAGS.output_dir:
        return tempfile.TemporaryDirectory()
    folder = pathlib.Path(FLAGS.output_dir, model)
    folder.mkdir(parents=True, exist_ok=True)
    return contextlib.nullcontext(folder)


def _sources(model):
    """The `Untrained` models of a twin's plain network and of the twin, each with the forms of its files."""
    arguments = {} if FLAGS.width_multiplier is None else {"width_multiplier": FLAGS.width_multiplier}
    experts = {} if FLAGS.num_experts is None else {"num_experts": FLAGS.num_experts}

    def source(name, arguments):
        return Untrained(name, FLAGS.seed, FLAGS.input_size, **arguments)

    return (
        (source(plain_name(model), arguments), [PLAIN]),
        (source(model, {**arguments, **experts}), [RUN_TIME, STATIC] if FLAGS.static_kernels else [RUN_TIME]),
    )


if __name__ == "__main__":
    cli.run(main)
