"""Image files by path."""

import os
import pathlib

from condconv_keras.utils.errors import UserError

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


def find_images(arguments):
    """Lists the image files of files and folders.

    Folders are searched recursively for JPEG, PNG, BMP and GIF files, in sorted order; hidden files and folders are
    passed over.

    Args:
        arguments: list of paths.

    Returns:
        A list of `pathlib.Path`.

    Raises:
        UserError: a path is missing, or a folder has no image.
    """
    paths = []
    for argument in map(pathlib.Path, arguments):
        if argument.is_dir():
            found = sorted(map(pathlib.Path, image_paths(argument)))
            if not found:
                raise UserError(f"the folder {str(argument)!r} has no image ({', '.join(EXTENSIONS)})")
            paths += found
        elif argument.is_file():
            paths.append(argument)
        else:
            raise UserError(f"expected an image file or folder, nothing lies at {str(argument)!r}")
    return paths


def image_paths(folder):
    """Yields the paths of the image files below a folder as strings, in no order; hidden ones are passed over."""
    for directory, sub_folders, files in os.walk(folder):
        sub_folders[:] = [name for name in sub_folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and name.lower().endswith(EXTENSIONS):
                yield os.path.join(directory, name)
