"""Folders in which the classes lie deeper than a folder of images by class has them."""

from absl import logging

from condconv_keras.data.sources.image_files import entries, is_image, sub_folders
from condconv_keras.utils.errors import UserError, some_of

_DEPTH = 8  # folders; links may go round


def check_depth(folder, class_names):
    """Looks for classes that lie deeper.

    Args:
        folder: `pathlib.Path`.
        class_names: the names of the folders in it, which are taken for the classes.

    Raises:
        UserError: the only folder holds them, as archives are unpacked. Several that do are said to be the classes.
    """
    if len(class_names) == 1:
        inner = _first_with_several(folder / class_names[0])
        if inner is not None:
            raise UserError(
                f"expected one folder of images per class in {str(folder)!r}, received one folder in which others "
                f"lie, {some_of(sub_folders(inner))}: give {str(inner)!r} as the data set"
            )
        return
    deeper = []
    for name in class_names:
        inner = _inner_folders(folder / name)
        if len(inner) < 2:
            return
        deeper.append(f"{name}/{inner[0]}")
    logging.warning(
        "The classes are the %d folders in %s; folders in them, such as %s, are none",
        *(len(deeper), folder, some_of(deeper)),
    )


def _first_with_several(folder):
    """The first folder that has two or more, of a folder and those that lie alone in it; None if images come before."""
    for _ in range(_DEPTH):
        names = _inner_folders(folder)
        if len(names) != 1:
            return folder if names else None
        folder /= names[0]
    return None


def _inner_folders(folder):
    """The names of the folders in one that has no image beside them, else none."""
    return [] if any(is_image(entry.name) for entry in entries(folder)) else sub_folders(folder)
