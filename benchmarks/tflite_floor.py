"""Latency of a CondConv model's `.tflite` files beside their floor, and beside the files of an earlier commit.

    python -m benchmarks.tflite_floor [--model=condconv_mobilenet_v1] [--modes=none,dynamic,int8] [--earlier=FOLDER]

The floor of a file is the plain network's plus the mixing alone: a file that mixes a kernel for every CondConv layer
and does nothing with it, also for the layers of few pixels whose experts an 8-bit file applies instead. --earlier is a
model's folder of `python -m benchmarks.tflite --output_dir`, run in a checkout of that commit. All files of a mode are
invoked in turn in one process that loads nothing else: LiteRT with XNNPACK, one image, one thread. Prints a Markdown
table of the medians in milliseconds.
"""

import pathlib
import statistics
import tempfile

from absl import flags

from benchmarks.twins import (
    PLAIN,
    RUN_TIME,
    header,
    in_own_process,
    interleaved_times,
    invocation,
    plain_name,
    write_files,
)
from condconv_keras.commands import cli
from condconv_keras.export.formats import TFLITE
from condconv_keras.stored.registered import Untrained
from condconv_keras.utils.errors import unknown_name
from condconv_keras.utils.files import check_parents

FLAGS = flags.FLAGS
flags.DEFINE_string("model", "condconv_mobilenet_v1", "CondConv classifier; its plain network is measured, too.")
flags.DEFINE_list("modes", ",".join(TFLITE), "Files to measure, as --quantization of `python -m export`.")
flags.DEFINE_string("earlier", None, "Folder with the files of another commit.")

_MIXING = "mixing alone"
_EARLIER = " before"


def main(argv):
    cli.expect_flags_only(argv)
    for mode in FLAGS.modes:
        if mode not in TFLITE:
            raise unknown_name("mode", mode, TFLITE)
    if FLAGS.earlier is not None:
        check_parents(pathlib.Path(FLAGS.earlier, "file"), "earlier")
    rows = []
    for mode in FLAGS.modes:
        with tempfile.TemporaryDirectory() as folder:
            files = {}
            for name, form in ((plain_name(FLAGS.model), PLAIN), (FLAGS.model, RUN_TIME)):
                files |= in_own_process(write_files, folder, Untrained(name, 0, None), [form], mode)
            files[_MIXING] = in_own_process(write_mixing, folder, FLAGS.model, mode)
            files |= _earlier_files(files, mode)
            times = in_own_process(_medians, files, 40)
            rows.append((mode, {name: times[name] for name in files}))
    return f"{header('benchmarks.tflite_floor')}\n\n{table(rows)}"


def _earlier_files(files, mode):
    if FLAGS.earlier is None:
        return {}
    found = {
        f"{form}{_EARLIER}": pathlib.Path(FLAGS.earlier, pathlib.Path(files[form]).name) for form in (PLAIN, RUN_TIME)
    }
    return {name: path for name, path in found.items() if path.is_file()}


def _medians(files, rounds):
    calls = {name: invocation(path, 1) for name, path in files.items()}
    return {name: statistics.median(values) for name, values in interleaved_times(calls, rounds).items()}


def write_mixing(folder, model, mode):
    """Writes a file that mixes a kernel for every CondConv layer of a registered model; returns its path."""
    import numpy as np
    import tensorflow as tf

    from condconv_keras.export.tflite import weights
    from condconv_keras.export.tflite.mobile_layers import ROW_GROUPS
    from condconv_keras.export.tflite.mobile_network import conditional_layers
    from condconv_keras.serving.tflite_graph import TFLiteGraph

    network, _ = Untrained(model, 0, None).load()
    groups, banks = ROW_GROUPS[mode], []
    for layer in conditional_layers(network).values():
        bank = np.asarray(layer.bank, np.float32).reshape(layer.num_experts, -1)
        cuts = groups if bank.shape[1] % groups == 0 else 1
        banks.append((layer.num_experts, cuts, bank.reshape(layer.num_experts * cuts, -1)))

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32)])
    def mix(images):
        firsts = []
        for experts, cuts, bank in banks:
            routing = tf.sigmoid(tf.reduce_mean(images) * tf.ones((1, experts)))
            blocks = tf.reshape(routing, (1, experts, 1)) * np.eye(cuts, dtype=np.float32)[:, None, :]
            kernel = tf.matmul(tf.reshape(blocks, (cuts, experts * cuts)), bank)
            firsts.append(kernel[0, :1])
        return tf.concat(firsts, 0)

    content = tf.lite.TFLiteConverter.from_concrete_functions([mix.get_concrete_function()]).convert()
    graph = TFLiteGraph(content)
    operators = weights.weighted(graph, weights.WITH_8_BITS)
    if mode == "float16":
        weights.store_in_float16(graph, operators)
    elif mode != "none":
        weights.quantize(graph, operators)
    path = pathlib.Path(folder, f"mixing_{TFLITE[mode].file_name}")
    path.write_bytes(graph.to_bytes())
    return path


def table(rows):
    """Returns the medians of each mode as a Markdown table, with the floor and how far above it the file is."""
    heads = ("mode", "plain before", "plain", "CondConv before", "CondConv", "mixing alone", "floor", "above the floor")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for mode, times in rows:
        floor = times[PLAIN] + times[_MIXING]
        cells = [times.get(f"{PLAIN}{_EARLIER}"), times[PLAIN], times.get(f"{RUN_TIME}{_EARLIER}"), times[RUN_TIME]]
        cells = ["" if cell is None else f"{cell:.2f}" for cell in (*cells, times[_MIXING], floor)]
        lines.append(f"| `{mode}` | {' | '.join(cells)} | {times[RUN_TIME] / floor:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
