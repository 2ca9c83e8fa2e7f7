"""The machine that `benchmarks.gpu` measures on: its GPU, driver and versions."""

import contextlib
import datetime
import importlib.metadata
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys

from benchmarks.twins import processor
from condconv_keras.utils.errors import UserError

_KERNEL_MODULE = pathlib.Path("/proc/driver/nvidia/version")
# As in "Kernel Module  535.104.05" and "Open Kernel Module for x86_64  550.54.15".
_KERNEL_VERSION = r"Module\s+(?:for \S+\s+)?(\d[\d.]*)"
_QUERY = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]


def choose_device(on_cpu):
    """Makes TensorFlow compute on the GPUs that it sees, or on the CPU.

    Args:
        on_cpu: whether the CPU is wanted, with GPUs or without.

    Raises:
        UserError: a GPU is wanted and TensorFlow sees none.
    """
    import tensorflow as tf

    if on_cpu:
        tf.config.set_visible_devices([], "GPU")
    elif not tf.config.list_physical_devices("GPU"):
        raise UserError("TensorFlow sees no GPU here; --cpu tries the script on the CPU")


def machine_facts():
    """Returns what a stored measurement has to say of its machine, a dict of text, numbers, lists and None."""
    import tensorflow as tf

    details = map(tf.config.experimental.get_device_details, tf.config.get_visible_devices("GPU"))
    build = tf.sysconfig.get_build_info()
    return {
        "command": shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]]),
        "date": str(datetime.date.today()),
        "gpus": [each.get("device_name", "unknown") for each in details],
        "driver": _driver(),
        # Those that TensorFlow was built with.
        "cuda": build.get("cuda_version"),
        "cudnn": build.get("cudnn_version"),
        # Whether products of float32 are computed in 19 bits, where the GPU can.
        "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")},
    }


def _driver():
    """The version of NVIDIA's driver as text, or None where neither its kernel module nor its program says one."""
    with contextlib.suppress(OSError):
        if named := re.search(_KERNEL_VERSION, _KERNEL_MODULE.read_text()):
            return named[1]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        finished = subprocess.run(_QUERY, capture_output=True, text=True, timeout=20)
        return finished.stdout.partition("\n")[0].strip() or None
    return None
