"""The project's commands, run as a user would type them."""

import json
import pathlib
import subprocess
import sys

from condconv_keras.utils.errors import UserError, one_line


def call(*arguments):
    """Runs one of the project's commands, shows it, and returns its JSON result."""
    command = [str(argument) for argument in arguments]
    print("$ python", *command, file=sys.stderr, flush=True)
    finished = subprocess.run([sys.executable, *command, "--json"], stdout=subprocess.PIPE, text=True)
    if finished.returncode:
        sys.exit(finished.returncode)
    return json.loads(finished.stdout)


def output_of(*arguments):
    """What a Python process of these arguments prints; raises a `UserError` with its last words if it fails."""
    finished = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if finished.returncode:
        raise UserError(f"python {' '.join(arguments[:2])} failed: {one_line(finished.stderr[-500:])}")
    return finished.stdout


def write_held_out(dataset, folder, count, name):
    """Writes the first held-out images of a data set as PNG files.

    Args:
        dataset: an `ImageDataset`.
        folder: `pathlib.Path` of the folder to make.
        count: number of images.
        name: function of an image's number, from 0, and its label that returns the name of its file.

    Returns:
        The folder.
    """
    import tensorflow as tf

    folder.mkdir()
    for i, (image, label) in enumerate(dataset.examples(dataset.evaluation_split).take(count)):
        (folder / name(i, label)).write_bytes(tf.io.encode_png(image).numpy())
    return folder


def new_folder(stem):
    """Makes the first of `stem`, `stem-2`, `stem-3`, ... that does not exist, and returns it."""
    number = 1
    while True:
        path = pathlib.Path(stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1
