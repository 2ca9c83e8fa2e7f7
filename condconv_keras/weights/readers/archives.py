"""Archives that came from elsewhere, unpacked so that nothing is written outside the folder given."""

import gzip
import pathlib
import tarfile
import zlib

from condconv_keras.utils.errors import UserError, one_line

# The largest of the authors' checkpoints, 39.7 million parameters with two slots and an average each, takes 0.64 GB.
SIZE_LIMIT = 4 * 2**30
MEMBER_LIMIT = 10_000
_NAME_LIMIT = 255  # of the usual file systems
_CHUNK = 2**20
# The last three: two members of which one would have to be a file and a folder.
_DAMAGE = (
    *(tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError),
    *(NotADirectoryError, IsADirectoryError, FileExistsError),
)


def unpack(path, folder):
    """Unpacks a `.tar.gz` archive of plain files and folders.

    All of it is checked before the first file is written.

    Args:
        path: the archive.
        folder: an existing folder.

    Raises:
        UserError: the archive is missing, damaged or cut short, holds anything but plain files and folders at relative
            paths without `..`, or would take more than `SIZE_LIMIT` bytes or `MEMBER_LIMIT` files.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"expected an archive, {str(path)!r} is no file")
    try:
        _check_stream(path)
        with tarfile.open(path, "r:gz") as archive:
            archive.extractall(folder, members=_checked_members(archive, path), filter="data")
    except _DAMAGE as error:
        reason = one_line(error)
        raise UserError(f"expected a .tar.gz archive, {str(path)!r} is none or damaged ({reason})") from error


def _check_stream(path):
    """Decompresses an archive once, to its end and its checksum: tarfile stops before them, and knows no limit."""
    with gzip.open(path) as stream:
        size = 0
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > SIZE_LIMIT:
                raise UserError(
                    f"expected an archive of at most {SIZE_LIMIT / 2**30:g} GiB, {str(path)!r} unpacks to more"
                )


def _checked_members(archive, path):
    """Returns the members of an archive; raises a `UserError` if one may not be unpacked or there are too many."""
    members = []
    for member in archive:
        _check_member(member, path)
        members.append(member)
        if len(members) > MEMBER_LIMIT:
            raise UserError(f"expected an archive of at most {MEMBER_LIMIT} files, {str(path)!r} has more")
    return members


def _check_member(member, path):
    name = pathlib.PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\0" in member.name:
        raise UserError(f"expected relative paths in the archive {str(path)!r}, received {member.name!r}")
    if any(len(part.encode()) > _NAME_LIMIT for part in name.parts):
        raise UserError(f"expected file names of at most {_NAME_LIMIT} bytes in the archive {str(path)!r}")
    if member.issparse() or not (member.isreg() or member.isdir()):
        kind = "a link" if member.issym() or member.islnk() else "a device or another special file"
        raise UserError(f"expected plain files and folders in the archive {str(path)!r}, {member.name!r} is {kind}")
