"""The data sets of the study: each is written by a script of the project's clone."""

import importlib.util
import shlex
import subprocess
import sys

from condconv_keras.utils.errors import UserError


def make(setting, data_dir):
    """Writes the data set of a setting, if it is not there, by its script.

    Args:
        setting: `Setting`.
        data_dir: folder of prepared TFDS data sets.

    Raises:
        UserError: the script is not there or fails.
    """
    if setting.maker is None or (data_dir / setting.dataset).is_dir():
        return
    if importlib.util.find_spec(setting.maker[1].partition(".")[0]) is None:
        raise UserError(
            f"expected the data set {setting.dataset!r} in `data_dir` {str(data_dir)!r}: the script that writes it, "
            f"{' '.join(setting.maker)}, is in a clone of the project"
        )
    command = [sys.executable, *setting.maker, f"--output_dir={data_dir}"]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise UserError(f"the data set {setting.dataset!r} was not written: {shlex.join(command)} failed")
