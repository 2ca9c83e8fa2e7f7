"""What a check has found out about the images of a folder, remembered from one process to the next.

It lies in the library's cache, a file for each folder, and never in the folder itself, which may be read-only. A file
that is damaged, or of another version of the check or of TensorFlow, counts as none.
"""

import contextlib
import dataclasses
import hashlib
import io
import os

import numpy as np

from condconv_keras.data.split_rule import paths_below
from condconv_keras.utils.cache import cache_folder
from condconv_keras.utils.files import whole_file
from condconv_keras.utils.lazy import tensorflow as tf
from condconv_keras.utils.versions import own_version

# To be raised when the decoder, or what is kept of an image, becomes another.
_VERSION = 1
# Of a file its size and when it was last changed, in nanoseconds, by which it is known again, and a hash of its
# content; of its image what is stored: height, width, the EXIF orientation, from 1 to 8, and whether it is JPEG or PNG.
FACTS = np.dtype(
    [
        *(("bytes", np.int64), ("changed", np.int64), ("hash", np.int64)),
        *(("height", np.int32), ("width", np.int32), ("orientation", np.uint8), ("is_common", np.bool_)),
    ]
)
# The folders that are remembered, those that were opened last: copies on the disks of a cluster's jobs come and go.
_MOST_FOLDERS = 64
_SUFFIX = ".images"
_HASH_BYTES = hashlib.sha256().digest_size


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """What is known of image files; row `i` is about file `i`.

    Attributes:
        table: array of `FACTS` [n].
        reasons: dict of the row of an image that cannot be decoded to the reason.
        is_known: booleans [n], whether the row and its reason hold as long as the file does not change.
    """

    table: np.ndarray
    reasons: dict[int, str]
    is_known: np.ndarray


class ImageMemory:
    """The memory of one folder.

    Args:
        root: path of the folder.
        paths: list of the paths of its image files, strings.
    """

    def __init__(self, root, paths):
        self._file = _file_of(root)
        self._paths = paths
        self._names = paths_below(os.fspath(root), paths)
        self._stored_names, self._stored = _read(self._file)

    def recall(self):
        """Returns the `ImageFacts`: of files that are new or have changed nothing but their size and time."""
        count = len(self._paths)
        table = np.zeros(count, FACTS)
        files = np.array(list(map(_size_and_time, self._paths)), np.int64).reshape(count, 2)
        table["bytes"], table["changed"] = files.T
        row_of = {name: row for row, name in enumerate(self._stored_names)}
        rows = np.array([row_of.get(name, -1) for name in self._names], np.int64)
        places = np.flatnonzero(rows >= 0)
        stored = self._stored.table[rows[places]]
        is_same = np.logical_and(*(stored[field] == table[field][places] for field in ("bytes", "changed")))
        places, stored = places[is_same], stored[is_same]
        table[places] = stored
        is_known = np.zeros(count, bool)
        is_known[places] = True
        bad = places[np.isin(rows[places], list(self._stored.reasons))]
        reasons = {i: self._stored.reasons[row] for i, row in zip(bad.tolist(), rows[bad].tolist(), strict=True)}
        return ImageFacts(table, reasons, is_known)

    def keep(self, facts):
        """Remembers what is known by now, and nothing of files that are gone, for the next process.

        Where nothing can be written it is checked again: no reason to say anything.
        """
        known = np.flatnonzero(facts.is_known)
        bad = [i for i in sorted(facts.reasons) if facts.is_known[i]]
        content = io.BytesIO()
        np.savez(
            content,
            names=_packed(self._names[i] for i in known.tolist()),
            table=facts.table[known],
            bad=np.searchsorted(known, bad),
            reasons=_packed(facts.reasons[i].replace("\0", " ") for i in bad),
        )
        _write(self._file, content.getvalue())

    @property
    def size(self):
        """The number of images that are remembered."""
        return len(self._stored.table)


def _size_and_time(path):
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1  # of no file: reading it will fail and say why
    return status.st_size, status.st_mtime_ns


def _file_of(root):
    """The path of the file that remembers a folder, or None where there is no place for any."""
    real = os.fsencode(os.path.realpath(root))
    try:
        return cache_folder() / "checked_images" / f"{hashlib.sha256(real).hexdigest()}{_SUFFIX}"
    except RuntimeError:
        return None


def _read(file):
    """Returns the names of the images in a file and their `ImageFacts`, of none if it cannot be used."""
    try:
        content = b"" if file is None else file.read_bytes()
    except OSError:
        content = b""
    payload = content[_HASH_BYTES:]
    # What is cut off, damaged, or of other versions, has another hash.
    if content[:_HASH_BYTES] != _hash(payload):
        return [], ImageFacts(np.zeros(0, FACTS), {}, np.zeros(0, bool))
    with contextlib.suppress(OSError):
        os.utime(file)
    with np.load(io.BytesIO(payload), allow_pickle=False) as stored:
        table = stored["table"]
        reasons = dict(zip(stored["bad"].tolist(), _unpacked(stored["reasons"]), strict=False))
        return _unpacked(stored["names"]), ImageFacts(table, reasons, np.ones(len(table), bool))


def _write(file, payload):
    if file is None:
        return
    try:
        # Names of files are nobody else's business.
        file.parent.parent.mkdir(parents=True, exist_ok=True)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        with whole_file(file) as partial:
            partial.write_bytes(_hash(payload) + payload)
        files = sorted(file.parent.glob(f"*{_SUFFIX}"), key=os.path.getmtime, reverse=True)
        for old in files[_MOST_FOLDERS:]:
            old.unlink(missing_ok=True)
    except OSError:
        pass


def _hash(payload):
    """The hash by which a file is known to be whole and of these versions."""
    digest = hashlib.sha256(f"{_VERSION} {own_version()} {tf.__version__}".encode())
    digest.update(payload)
    return digest.digest()


def _packed(texts):
    """Texts without zeros as one array of bytes."""
    return np.frombuffer("\0".join(texts).encode("utf-8", "surrogateescape"), np.uint8)


def _unpacked(array):
    return array.tobytes().decode("utf-8", "surrogateescape").split("\0")
