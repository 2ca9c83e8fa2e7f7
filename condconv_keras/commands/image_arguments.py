"""The images that the words of a command line mean: files, folders, patterns, addresses, standard input."""

import collections
import dataclasses
import functools
import glob
import os
import pathlib
import sys
from collections.abc import Callable

from condconv_keras.data.input.decoding import image_of, read_image
from condconv_keras.data.sources.image_files import find_images
from condconv_keras.data.sources.web_images import MAX_BYTES, download, image_name, is_address
from condconv_keras.utils.errors import UserError

STANDARD_INPUT = "-"


@dataclasses.dataclass(frozen=True)
class ImageArgument:
    """An image that is read when it is needed; as text it is what the user called it.

    Attributes:
        shown: what it is called in what is printed: a path, an address, or `-`.
        name: the name of its file.
        read: function of `apply_orientation`, as in `condconv_keras.data.open_dataset`, that returns the image, uint8
            `[height, width, 1 or 3]`; it raises a `UserError` where there is none.
    """

    shown: str
    name: str
    read: Callable

    @property
    def stem(self):
        """The file's name without its ending."""
        return os.path.splitext(self.name)[0]

    def __str__(self):
        return self.shown


def image_arguments(words):
    """Finds the images that are meant; nothing is downloaded or decoded yet.

    Args:
        words: of a command line: files, folders, patterns such as `'photos/**/*.jpg'`, addresses of http and https, and
            `-` for an image on standard input. Named pipes are read like files.

    Returns:
        A list of `ImageArgument`, and the `Counter` of what was passed over in folders.

    Raises:
        UserError: a path is missing, a folder or a pattern has no image.
    """
    images, ignored = [], collections.Counter()
    for word in words:
        if word == STANDARD_INPUT:
            images.append(ImageArgument(word, "stdin", _of_standard_input))
        elif is_address(word):
            images.append(ImageArgument(word, image_name(word), functools.partial(_of_web, word)))
        else:
            for path in _paths(word):
                found = find_images([path]) if os.path.isdir(path) or not os.path.exists(path) else None
                ignored += collections.Counter() if found is None else found.ignored
                images += map(_of_path, [path] if found is None else found.images)
    return images, ignored


def _paths(word):
    """The paths that a word means: itself, or what a pattern matches that the shell has left as it is."""
    path = os.path.expanduser(word)
    if os.path.lexists(path) or not glob.has_magic(path):
        return [path]
    # A folder that is there may have brackets in its name.
    folder = next((place for place in pathlib.Path(path).parents if place.is_dir()), pathlib.Path())
    pattern = pathlib.Path(glob.escape(str(folder)), pathlib.Path(path).relative_to(folder))
    found = sorted(glob.glob(str(pattern), recursive=True))
    if "**" in path:  # which matches what is in a folder, too
        found = [match for match in found if not os.path.isdir(match)]
    if not found:
        raise UserError(f"expected files that match {word!r}, there are none")
    return found


def _of_path(path):
    if os.path.isfile(path):
        return ImageArgument(str(path), os.path.basename(path), functools.partial(read_image, path))
    return ImageArgument(str(path), os.path.basename(path), functools.partial(_of_pipe, path))


def _of_pipe(path, apply_orientation):
    try:
        with open(path, "rb") as pipe:
            return _of_stream(pipe, path, apply_orientation)
    except OSError as error:
        raise UserError(f"expected an image, {str(path)!r} cannot be read ({error.strerror})") from error


def _of_standard_input(apply_orientation):
    return _of_stream(sys.stdin.buffer, "standard input", apply_orientation)


def _of_stream(stream, name, apply_orientation):
    content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UserError(f"expected an image, {str(name)!r} has more than {MAX_BYTES / 2**20:g} MiB")
    return image_of(content, name, apply_orientation)


def _of_web(address, apply_orientation):
    return image_of(download(address), address, apply_orientation)
