"""The peak memory of one network at work, in a process of its own.

    python -m benchmarks.peak_memory --model=condconv_mobilenet_v1 --work=training --batch=32

Prints megabytes (10^6 bytes) of the whole process: Python, TensorFlow, the network, and what the work takes, of
`saved_model` and `tflite` also what writing the file takes. A GPU's own memory is not counted.
"""

import pathlib
import re
import subprocess
import sys

from absl import flags

from benchmarks.work import WORK, make_call
from condconv_keras.commands import cli
from condconv_keras.models import model_entry
from condconv_keras.training.config import PRECISIONS
from condconv_keras.utils.errors import UserError, one_line

_CALLS = 3
_STATUS = pathlib.Path("/proc/self/status")


def peak_megabytes(model, work, batch, input_size, precision="float32", jit_compile=False):
    """Returns the peak memory of a new process that does the work some times, in MB.

    Args:
        model: registry name.
        work: one of `WORK`.
        batch: images.
        input_size: height and width.
        precision, jit_compile: as the flags of `benchmarks.models`.

    Raises:
        UserError: the process failed; its last line says why.
    """
    arguments = (f"--model={model}", f"--work={work}", f"--batch={batch}", f"--input_size={input_size}")
    arguments += (f"--precision={precision}", f"--jit_compile={jit_compile}")
    command = [sys.executable, "-m", "benchmarks.peak_memory", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode != 0:
        raise UserError(f"measuring the memory of {model} failed: {one_line(finished.stderr[-300:])}")
    return int(finished.stdout)


def main(argv):
    cli.expect_flags_only(argv)
    if not _STATUS.exists():
        raise UserError("the peak memory is read from /proc/self/status, which this system does not have")
    size = flags.FLAGS.input_size or model_entry(flags.FLAGS.model).input_size
    import keras

    from condconv_keras.layers import use_fused_batch_norm
    from condconv_keras.models import build_model

    keras.config.set_dtype_policy(flags.FLAGS.precision)
    network = use_fused_batch_norm(build_model(flags.FLAGS.model, input_shape=(size, size, 3)))
    call = make_call(flags.FLAGS.work, network, flags.FLAGS.batch, flags.FLAGS.jit_compile)
    for _ in range(_CALLS):
        call()
    # Not `getrusage`: its peak counts the memory of the parent that this process was forked from.
    return str(round(int(re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())[1]) * 1024 / 1e6))


if __name__ == "__main__":
    flags.DEFINE_string("model", None, "Registry name.", required=True)
    flags.DEFINE_enum("work", "inference", list(WORK), "Work to do.")
    flags.DEFINE_integer("batch", 1, "Images.", lower_bound=1)
    flags.DEFINE_integer("input_size", None, "Height and width of the input; default: the model's.", lower_bound=32)
    flags.DEFINE_enum("precision", "float32", PRECISIONS, "Precision of the computation.")
    flags.DEFINE_bool("jit_compile", False, "Compile with XLA.")
    cli.run(main, backends=("tensorflow", "jax"))
