"""Published weights: fetched once into the Keras cache, converted once, used again.

The cache is `<Keras home>/condconv_keras/`; the Keras home is `$KERAS_HOME` or `~/.keras`, as for
`keras.utils.get_file`. It holds the published files as they are and the `.keras` files that were made of them. A file
put there by hand is used like a downloaded one.
"""

import contextlib
import hashlib
import os
import pathlib
import socket
import sys
import urllib.parse

from condconv_keras.utils.errors import MissingPackage, UserError
from condconv_keras.utils.files import file_hash, whole_file
from condconv_keras.utils.json_text import json_text
from condconv_keras.utils.lazy import keras, require

# Replaces scheme and host of every address, as in http://mirror.example:8080/weights: the path stays.
MIRROR = "CONDCONV_KERAS_WEIGHTS_MIRROR"
# Part of the key of a converted file: raise it when an importer or a network changes what such a file holds.
_CONVERSION = 1
# What a published file is read with, by its ending; the others take what Keras brings.
_PACKAGES = {".safetensors": ("safetensors",)}
# A server that falls silent for so long, in seconds, has failed.
_TIMEOUT = 60


def cache_folder():
    """Returns the path of the cache, which may not exist yet."""
    return pathlib.Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "condconv_keras"


def fetch(published):
    """Returns the path of a published file in the cache, after a download if it is not there.

    A download comes from the host in the environment variable `CONDCONV_KERAS_WEIGHTS_MIRROR`, if that is set. It
    appears in the cache when it is complete and its hash, if known, is right. Progress goes to standard error.

    Args:
        published: `PublishedWeights`.

    Raises:
        UserError: the download failed, or the file in the cache or the downloaded one has another hash.
        MissingPackage: a package that reads the file is not installed; nothing is downloaded.
    """
    path = cache_folder() / published.file_name
    if path.is_file():
        _check_hash(path, published, f"{str(path)!r} is damaged; remove it to download it again")
        return path
    require(*_PACKAGES.get(path.suffix, ()))
    url = _address(published.url)
    with whole_file(path) as partial:
        try:
            _download(url, partial)
        except MissingPackage:
            raise
        except Exception as error:
            # `get_file` raises bare exceptions, in the context of the one that says why.
            reason = " ".join(str(error.__context__ or error).split())
            raise UserError(
                f"cannot download {url} ({reason}); without a network fetch {published.url} by hand and save it as "
                f"{str(path)!r}"
            ) from error
        _check_hash(partial, published, f"the download of {url} is damaged; try again")
    return path


def converted(published, name, convert):
    """Returns the path of the `.keras` file of published weights in the cache, made of the fetched file if need be.

    Args:
        published: `PublishedWeights`.
        name: registry name of the model. The same weights serve several models, each with a file of its own.
        convert: function of the fetched file's path and the path of a `.keras` file, which it writes; it raises a
            `UserError` for a file that does not hold the weights.

    Raises:
        UserError: as in `fetch`, or from `convert`. A file of no known hash that `convert` refuses is moved aside, so
            that the next call downloads it again.
    """
    source = fetch(published)
    path = cache_folder() / f"{name}-{_conversion_key(source, published)}.keras"
    if path.is_file():
        return path
    with moved_aside_if_refused(source, published), whole_file(path) as partial:
        convert(source, partial)
    return path


@contextlib.contextmanager
def moved_aside_if_refused(path, published):
    """Moves a fetched file of no known hash aside when the block, which reads it, raises a `UserError`."""
    try:
        yield
    except UserError as error:
        if published.file_hash is not None:
            raise
        aside = path.with_name(f"{path.name}.damaged")
        os.replace(path, aside)
        raise UserError(f"{error}; it was moved to {str(aside)!r}, the next call downloads it again") from error


def _address(url):
    mirror = os.environ.get(MIRROR)
    if not mirror:
        return url
    parts = urllib.parse.urlsplit(mirror)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UserError(f"{MIRROR} is the address of a server, as in http://localhost:8080. Received: {mirror!r}")
    return mirror.rstrip("/") + urllib.parse.urlsplit(url).path


def _download(url, path):
    with contextlib.redirect_stdout(_ProgressBar()), _socket_timeout(_TIMEOUT):
        keras.utils.get_file(path.name, url, cache_dir=str(path.parent), cache_subdir="")


class _ProgressBar:
    """Standard output of Keras's downloader, on standard error: the other is for results alone.

    The announcement waits for the first progress: a download that never starts ends in one line, the error.
    """

    def __init__(self):
        self._held = ""

    def write(self, text):
        if text.startswith("Downloading data from"):
            self._held = text
            return
        sys.stderr.write(self._held + text)
        self._held = ""

    def flush(self):
        sys.stderr.flush()

    def isatty(self):
        return sys.stderr.isatty()


@contextlib.contextmanager
def _socket_timeout(seconds):
    """Sets the timeout of new sockets, for a downloader that takes none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _check_hash(path, published, message):
    expected = published.file_hash
    if expected is None:
        return
    algorithm = "md5" if len(expected) == 32 else "sha256"
    received = file_hash(path, algorithm)
    if received != expected:
        raise UserError(f"{message} (expected {algorithm} {expected}, received {received})")


def _conversion_key(source, published):
    """What a converted file depends on besides the model's name, as text for its file name."""
    made_of = [_CONVERSION, file_hash(source), dict(published.arguments)]
    return hashlib.sha256(json_text(made_of, indent=None, sort_keys=True).encode()).hexdigest()[:16]
