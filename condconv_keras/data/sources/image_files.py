"""Image files by path: what lies in folders, and what of it is passed over."""

import collections
import dataclasses
import os
import pathlib

from absl import logging

from condconv_keras.utils.errors import UserError, one_line

# Of the formats that the decoder reads: BMP, GIF, JPEG, PNG and WebP. Letters may be capital.
EXTENSIONS = (".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp")
# Folders that systems, servers and Python put beside people's own: of copies, thumbnails and parts of files.
_OF_SYSTEMS = frozenset(
    ("#recycle", "#snapshot", "$recycle.bin", "@eadir", "@recycle", "__macosx", "__pycache__", "lost+found")
    + ("system volume information",)
)
# Parts of files that macOS leaves beside them on other disks: they have their endings.
_RESOURCE_FORK = "._"
_ENDINGS_NAMED = 8


@dataclasses.dataclass
class Search:
    """What was found below folders.

    Attributes:
        images: list of the paths of image files.
        ignored: `Counter` of what is passed over, mostly endings.
    """

    images: list = dataclasses.field(default_factory=list)
    ignored: collections.Counter = dataclasses.field(default_factory=collections.Counter)


def find_images(arguments):
    """Lists the image files of files and folders.

    A file is taken whatever its ending, folders are searched as by `search`, in sorted order.

    Args:
        arguments: list of paths; `~` is the home folder.

    Returns:
        A `Search` of `pathlib.Path`.

    Raises:
        UserError: a path is missing, a folder cannot be read or has no image.
    """
    found = Search()
    for argument in map(pathlib.Path, map(os.path.expanduser, arguments)):
        if argument.is_dir():
            inside = search(argument)
            if not inside.images:
                raise no_image("the folder", argument, inside)
            found.images += sorted(map(pathlib.Path, inside.images))
            found.ignored += inside.ignored
        elif argument.is_file():
            found.images.append(argument)
        else:
            raise UserError(f"expected an image file or folder, nothing lies at {str(argument)!r}")
    return found


def search(folder):
    """Returns the `Search` of a folder: sorted paths as strings, found as by `walk` and told by their endings."""
    found = Search()
    for path in walk(folder, found.ignored):
        if is_image(path):
            found.images.append(path)
        else:
            found.ignored[ending(path)] += 1
    found.images.sort()
    return found


def walk(folder, ignored):
    """Yields the path of every file below a folder, in no order.

    Symbolic links are followed, but for those to a folder that they lie in and those to one that is searched anyway.
    Passed over are hidden files and folders, and those that systems make by themselves; a broken link with the ending
    of an image is not, so that it is met as an image that cannot be read.

    Args:
        folder: path.
        ignored: `Counter` that is told of links that are not followed, hidden images and what is no file.

    Raises:
        UserError: a folder cannot be read.
    """
    start = os.path.realpath(folder)
    # A folder, where it really is, the real folders of the links that led there, and what is searched through them.
    pending = [(os.fspath(folder), start, (), (start,))]
    while pending:
        place, real, passed, roots = pending.pop()
        for entry in entries(place):
            if is_hidden(entry.name):
                if is_image(entry.name) and not entry.name.startswith(_RESOURCE_FORK):
                    ignored[f"hidden {ending(entry.name)}"] += 1
            elif entry.is_file(follow_symlinks=False):  # of a million files, mostly: the system need not be asked
                yield entry.path
            elif entry.is_dir(follow_symlinks=False):
                pending.append((entry.path, os.path.join(real, entry.name), passed, roots))
            elif is_folder(entry):
                target = os.path.realpath(entry.path)
                if any(_is_in(other, target) for other in (real, *passed)):
                    ignored["links to a folder around them"] += 1
                elif not any(_is_searched(target, root) for root in roots):
                    pending.append((entry.path, target, (*passed, real), (*roots, target)))
            elif os.path.isfile(entry.path) or (is_image(entry.name) and not os.path.exists(entry.path)):
                yield entry.path
            else:
                ignored["special files" if os.path.exists(entry.path) else "broken links"] += 1


def entries(folder):
    """Returns the list of `os.DirEntry` of a folder; raises a `UserError` if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        raise UserError(f"the folder {os.fspath(folder)!r} cannot be read ({error.strerror})") from error


def sub_folders(folder):
    """Returns the sorted names of the folders in a folder, links to folders among them, without hidden ones."""
    return sorted(entry.name for entry in entries(folder) if is_folder(entry) and not is_hidden(entry.name))


def is_folder(entry):
    """Whether an `os.DirEntry` is a folder or a link to one; without asking the system again where it is no link."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir(follow_symlinks=False)


def is_hidden(name):
    """Whether a file or folder of this name is passed over wherever images are looked for."""
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS


def is_image(name):
    """Whether a file of this name is one that the decoder reads."""
    return name.lower().endswith(EXTENSIONS)


def ending(name):
    """The ending of a file's name in small letters, as `".png"`, or words for none."""
    return os.path.splitext(name)[1].lower() or "without an ending"


def counted(ignored):
    """Returns a `Counter` of what was passed over as text, the most frequent first: `"3 .txt, 1 broken links"`."""
    # Not `most_common`: equal counts are in the order of their names, not in that of the file system.
    items = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
    others = sum(count for _, count in items[_ENDINGS_NAMED:])
    shown = [f"{count} {what}" for what, count in items[:_ENDINGS_NAMED]]
    return one_line(", ".join([*shown, *([f"{others} others"] if others else [])]))


def warn_of_ignored(place, ignored):
    """Says in one line what was passed over, if anything was."""
    if ignored:
        logging.warning("Not used in %s: %s", place, counted(ignored))


def no_image(what, folder, found):
    """Returns the `UserError` for a folder without images.

    Args:
        what: the kind of folder, for the message.
        folder: its path.
        found: its `Search`.
    """
    others = f", only {counted(found.ignored)}" if found.ignored else ""
    return UserError(f"{what} {str(folder)!r} has no image ({', '.join(EXTENSIONS)}){others}")


def _is_searched(path, folder):
    """Whether a search of a folder comes to a real path without following a link."""
    return _is_in(path, folder) and not any(map(is_hidden, os.path.relpath(path, folder).split(os.sep)))


def _is_in(path, folder):
    """Whether a real path is a folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
