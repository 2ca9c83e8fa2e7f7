"""Files that are written whole or not at all, and their hashes."""

import contextlib
import csv
import hashlib
import io
import os
import pathlib
import re
import shutil
import tempfile

from condconv_keras.utils.errors import UserError

_PREFIX = ".partial-"


@contextlib.contextmanager
def whole_file(path):
    """Yields a temporary path with the name's endings; moves it to `path` when the block ends without an error.

    Args:
        path: the final path. Its folder is made if there is none; a file that lies there is replaced only at the end.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=path.parent) as folder:
        partial = pathlib.Path(folder) / path.name
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        # Some writers give the owner's rights only; a result is as readable as any other new file.
        partial.chmod(0o644)
        os.replace(partial, path)


def is_partial(path):
    """Whether a path is what `whole_file` or `whole_folder` is working on, or left behind when it was killed."""
    return pathlib.Path(path).name.startswith(_PREFIX)


def remove_partials(folder):
    """Removes what processes that were killed have left behind in a folder that no other process writes to."""
    for path in pathlib.Path(folder).glob(f"{_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def check_parents(path, argument):
    """Raises a `UserError` when a file stands where a folder of the path would have to be.

    Args:
        path: of a file or folder to write.
        argument: name of the argument that the path is, for the message.
    """
    for parent in pathlib.Path(path).absolute().parents:
        if parent.exists() and not parent.is_dir():
            raise UserError(f"`{argument}` {str(path)!r} cannot be made: {str(parent)!r} is a file")


def check_writable(path, argument):
    """Raises a `UserError` unless a file or folder can be made at the path, or files in the folder that it is.

    Arguments are those of `check_parents`.
    """
    path = pathlib.Path(path).absolute()
    folder = next(place for place in (path, *path.parents) if place.is_dir())
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"`{argument}` {str(path)!r} cannot be made: no right to write in {str(folder)!r}")


def check_file(path, argument):
    """Raises a `UserError` where no file can be written, as of the functions above, or a folder lies at the path."""
    check_parents(path, argument)
    if os.path.isdir(path):
        raise UserError(f"`{argument}` takes a file, {os.fspath(path)!r} is a folder")
    check_writable(path, argument)


def checked_new_folder(path, argument):
    """Returns the `pathlib.Path` of a folder for `whole_folder`; raises a `UserError` if it cannot be made there.

    Of a symbolic link it is the path that the link leads to. Arguments are those of `check_parents`.
    """
    path = pathlib.Path(path)
    if path.is_symlink():
        path = path.resolve()
    check_parents(path, argument)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"`{argument}` {str(path)!r} exists and is not an empty folder; give another one")
    check_writable(path.absolute().parent, argument)
    return path


def write_text(path, text):
    """Writes a text file as of `put_text`, whole or not at all."""
    with whole_file(path) as partial:
        put_text(partial, text)


def put_text(path, text):
    """Writes a text file as UTF-8; what that lacks, as a folder's name of other bytes, is written with a backslash.

    For a place that nobody reads yet, as one in a `whole_folder`.

    Args:
        path: `pathlib.Path`.
        text: string.
    """
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def absolute_path(path):
    """Returns a path, which may begin with ~, as text that means the same from every folder."""
    return os.path.abspath(os.path.expanduser(path))


def write_rows(path, columns, rows):
    """Writes dicts as the rows of a CSV file, whole or not at all; what is no column is left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


@contextlib.contextmanager
def whole_folder(path):
    """Yields a temporary folder; moves it to `path`, which must not exist or be empty, when the block ends well."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = pathlib.Path(tempfile.mkdtemp(prefix=_PREFIX, dir=path.parent))
    try:
        # `mkdtemp` gives the owner's rights only; a result is as readable as any other new folder.
        partial.chmod(0o755)
        yield partial
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def literal_path(path):
    """Yields a path of a folder that TensorFlow takes for what it is.

    TensorFlow takes the path of variables for a pattern, and finds none in "run [2]": there it is given a link.

    Args:
        path: `pathlib.Path` of a folder.
    """
    if not re.search(r"[\[\\]", path.as_posix()):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = pathlib.Path(folder, "folder")
        link.symlink_to(path.absolute(), target_is_directory=True)
        yield link


def content_hash(path, left_out=None):
    """Returns the SHA-256 of a file; of a folder as a SavedModel is, what it prints itself for

        find . -type f -not -path './LEFT_OUT/*' | LC_ALL=C sort | xargs sha256sum | sha256sum

    Args:
        path: of a file or folder.
        left_out: name of a sub-folder that does not count, or None.
    """
    path = pathlib.Path(path)
    if path.is_file():
        return file_hash(path)
    names = sorted(f"./{file.relative_to(path).as_posix()}" for file in counted_files(path, left_out))
    return hashlib.sha256("".join(f"{file_hash(path / name)}  {name}\n" for name in names).encode()).hexdigest()


def counted_files(path, left_out=None):
    """Returns the list of the files that count of a file or folder; arguments as of `content_hash`."""
    path = pathlib.Path(path)
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file() and file.relative_to(path).parts[0] != left_out]


def file_hash(path, algorithm="sha256"):
    """Returns the hash of a file's content in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
