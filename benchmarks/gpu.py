"""Measures on a GPU with TensorFlow what the rules of `implementation="auto"` have to be set by, within some minutes.

    python -m benchmarks.gpu --output_dir=DIR [--minutes=9] [--parts=layers] [--only=3x3] [--networks=...]
    python -m benchmarks.gpu --output_dir=DIR --cpu --parts=layers --only=2x2  # tries the script without a GPU

`layers.csv` has the plain layer and every form of the CondConv layers that `benchmarks.layers` lists, forward and
forward + gradient of input, routing weights and variables: milliseconds of one application, the ratio to the plain
layer with its quartiles, and which form `auto` selects and which is the fastest. `networks.csv` has every CondConv
classifier beside its plain network, a training step and inference, with XLA (`jit_compile`) and without. Both cover
float32 and mixed_bfloat16. `machine.json` says which GPU, driver and versions there were. The files are written anew
after each measurement, so that a run may be stopped at any time.

Layers and networks take turns and get half of the time each, the most informative measurements first. A measurement
that does not fit into `--minutes` any more is left out, and the last line counts them. One that fails, as for lack of
memory, is a row with its error.
"""

import contextlib
import gc
import logging
import pathlib
import sys
import time

from absl import flags

from benchmarks.checks import batch_sizes, check_names
from benchmarks.gpu_cells import Settings, layer_cells, network_cells
from benchmarks.gpu_machine import choose_device, machine_facts
from benchmarks.layers import LAYERS
from benchmarks.rounds import error_line
from benchmarks.time_budget import jobs_in_time
from benchmarks.twins import chosen_twins
from condconv_keras.commands import cli
from condconv_keras.training.config import PRECISIONS
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import checked_new_folder, write_rows, write_text
from condconv_keras.utils.json_text import json_text

FLAGS = flags.FLAGS

_PARTS = ("layers", "networks")
_MACHINE = "machine.json"


def main(argv):
    started = time.monotonic()
    cli.expect_flags_only(argv)
    queues = _checked_queues()
    folder = checked_new_folder(FLAGS.output_dir, "output_dir")
    choose_device(FLAGS.cpu)
    # TensorFlow warns that every layer is traced, which is on purpose.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    facts = machine_facts()
    _write_machine(folder, facts)
    print(json_text(facts, indent=None), file=sys.__stdout__, flush=True)
    settings = Settings(FLAGS.rounds, FLAGS.input_size)
    seconds = 60 * FLAGS.minutes - (time.monotonic() - started)
    counts = run(queues, seconds, folder, settings)
    _write_machine(folder, facts | counts)
    minutes = (time.monotonic() - started) / 60
    return f"{_said(counts)}, after {minutes:.1f} minutes, in {folder}"


def _checked_queues():
    """The lists of cells that the flags ask for."""
    if not FLAGS.parts:
        raise UserError(f"--parts expects some of {', '.join(_PARTS)}, received none")
    check_names("part", FLAGS.parts, _PARTS)
    if not FLAGS.precision:
        raise UserError(f"--precision expects some of {', '.join(PRECISIONS)}, received none")
    check_names("precision", FLAGS.precision, PRECISIONS)
    layers = [layer for layer in LAYERS if FLAGS.only in layer[0]]
    if not layers:
        raise UserError(f"--only expects a part of a layer's name, received: {FLAGS.only}")
    of_layers = layer_cells(layers, batch_sizes(FLAGS.batch), FLAGS.precision)
    batches = batch_sizes(FLAGS.network_batch, "network_batch")
    of_networks = network_cells(chosen_twins(FLAGS.networks), batches, FLAGS.precision)
    return [cells for part, cells in zip(_PARTS, (of_layers, of_networks), strict=True) if part in FLAGS.parts]


def run(queues, seconds, folder, settings):
    """Measures the cells of queues in turn while there is time, and writes each table anew with every cell.

    Args:
        queues: lists of cells as of `benchmarks.gpu_cells`.
        seconds: how long.
        folder: path of the tables.
        settings: `Settings`.

    Returns:
        How many cells there are: `{"measured": ..., "with_errors": ..., "left": ...}`, the second a part of the first.
    """
    tables, measured, with_errors = {}, 0, 0
    for cell in jobs_in_time(queues, seconds, lambda cell: cell.kind):
        rows = measured_rows(cell, settings)
        table = tables.setdefault(cell.table, [])
        table += rows
        write_rows(pathlib.Path(folder, cell.table), cell.columns, table)
        print(cell.describe(rows), file=sys.__stdout__, flush=True)
        measured += 1
        with_errors += any(row[name] for row in rows for name in row if name.endswith("error"))
    left = sum(map(len, queues)) - measured
    return {"measured": measured, "with_errors": with_errors, "left": left}


def measured_rows(cell, settings):
    """Returns the rows of a cell; of one that fails as a whole a row that says why."""
    try:
        with _precision(cell.precision):
            return cell.measure(settings)
    except Exception as error:  # the next one may be smaller
        return [cell.failed(error_line(error))]
    finally:
        # Graphs and what they hold on the device refer to each other.
        gc.collect()


@contextlib.contextmanager
def _precision(name):
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _write_machine(folder, facts):
    write_text(pathlib.Path(folder, _MACHINE), json_text(facts) + "\n")


def _said(counts):
    errors = f" ({counts['with_errors']} with errors)" if counts["with_errors"] else ""
    return f"gpu: {counts['measured']} cells measured{errors}, {counts['left']} left"


if __name__ == "__main__":
    flags.DEFINE_string("output_dir", None, "Folder for the tables, new or empty.", required=True)
    flags.DEFINE_float("minutes", 9.0, "Time to take at most, imports included.", lower_bound=0)
    flags.DEFINE_bool("cpu", False, "Try the script on the CPU, where its figures mean nothing.")
    flags.DEFINE_list("parts", list(_PARTS), "Tables to fill: some of layers and networks.")
    flags.DEFINE_string("only", "", "Measure only the layers whose name contains this text.")
    flags.DEFINE_list("batch", ["32", "1", "128"], "Batch sizes of the layers, the most important one first.")
    flags.DEFINE_list("networks", None, "CondConv models; default: all classifiers.")
    flags.DEFINE_list("network_batch", ["64", "1"], "Batch sizes of the networks, the most important one first.")
    flags.DEFINE_integer("input_size", None, "Height and width of the networks' input.", lower_bound=32)
    flags.DEFINE_list("precision", ["float32", "mixed_bfloat16"], "Precisions of layers and networks.")
    flags.DEFINE_integer("rounds", 5, "Interleaved rounds; the median is taken.", lower_bound=3)
    cli.run(main)
