"""The data sets of the study: each is written by a script of the project's clone, and its test is the last word."""

import importlib.util
import shlex
import subprocess
import sys

from condconv_keras.data.dataset import EVALUATION_SPLITS
from condconv_keras.data.prepared import prepared_splits
from condconv_keras.utils.errors import UserError

TEST, HELD_OUT = "test", "validation"


def make(setting, data_dir, split=TEST):
    """Writes the data set of a setting, if it is not there, by its script.

    Args:
        setting: `Setting`.
        data_dir: folder of prepared TFDS data sets.
        split: `TEST`, or `HELD_OUT` for a set whose test images were left out; that the runs are to be evaluated on.

    Raises:
        UserError: the set would be evaluated on another split; it is missing, and the script is not there or fails.
    """
    if setting.maker is None:
        if split != TEST:
            raise UserError(
                f"`held_out` must be False for the embedded data set {setting.dataset!r}: it has a test only"
            )
        return
    if splits := prepared_splits(data_dir, setting.dataset):
        evaluated = next((known for known in EVALUATION_SPLITS if known in splits), None)
        if evaluated != split:
            hint = "a final comparison needs its test" if split == TEST else "`held_out` needs a set without a test"
            raise UserError(
                f"expected the data set {setting.dataset!r} in `data_dir` {str(data_dir)!r} to be evaluated on its "
                f"{split!r}, it has the splits {', '.join(splits)}: {hint}; give another `data_dir`, where "
                "one is written"
            )
        return
    if importlib.util.find_spec(setting.maker[1].partition(".")[0]) is None:
        raise UserError(
            f"expected the data set {setting.dataset!r} in `data_dir` {str(data_dir)!r}: the script that writes it, "
            f"{' '.join(setting.maker)}, is in a clone of the project"
        )
    command = [sys.executable, *setting.maker, f"--output_dir={data_dir}"]
    if split != TEST:
        command.append(f"--validation_images={setting.held_out_images}")
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise UserError(f"the data set {setting.dataset!r} was not written: {shlex.join(command)} failed")
