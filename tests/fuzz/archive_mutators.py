"""Mutators of archives: `.keras` files, which are zip archives with a card, and `.tar.gz` files of checkpoints."""

import io
import lzma
import struct
import tarfile
import zipfile
import zlib

from tests.fuzz.mutators import named, of_files

CARD = "condconv_keras.json"
# What reading an archive raises that another mutator has damaged, or JSON in it.
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error)
DAMAGED += (OSError, ValueError, LookupError, RuntimeError, EOFError)


def replace_member(path, name, content):
    """Writes a zip archive anew with other content of a member, or by None without it."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members.pop(name, None)
    if content is not None:
        members[name] = content
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)


def _member_of(path, name):
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def _of_archives(change):
    """Decorates a function of an archive's path, of its members' names, and of the random numbers."""

    def changed_archive(path, rng):
        try:
            with zipfile.ZipFile(path) as archive:
                names = sorted(archive.namelist())
            change(path, names, rng)
        except DAMAGED:
            return False

    return of_files(".keras")(named(changed_archive, change))


@_of_archives
def drop_a_member(path, names, rng):
    replace_member(path, rng.choice(names), None)


@_of_archives
def another_member(path, names, rng):
    replace_member(path, "notes.txt", b"mine")


@_of_archives
def an_empty_member(path, names, rng):
    replace_member(path, rng.choice(names), b"")


@_of_archives
def compressed_members(path, names, rng):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@_of_archives
def a_comment_of_the_archive(path, names, rng):
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"mine"


@_of_archives
def members_in_another_order(path, names, rng):
    replace_member(path, names[0], _member_of(path, names[0]))


@_of_archives
def a_flipped_bit_in_a_member(path, names, rng):
    """As of a disk or a download: the sizes are right, and a sum that the archive keeps is not."""
    content = _member_of(path, rng.choice(names))
    whole = path.read_bytes()
    begin = whole.find(content) if content else -1
    if begin < 0:
        raise ValueError("compressed")
    at = begin + rng.randrange(len(content))
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])


@of_files(".tflite")
def a_byte_behind_the_file(path, rng):
    path.write_bytes(path.read_bytes() + b"\0")


# Archives of checkpoints.
def _of_tars(change):
    """Decorates a function of the members of a `.tar.gz` file, pairs of `TarInfo` and bytes, that returns others."""

    def changed_tar(path, rng):
        try:
            with tarfile.open(path) as archive:
                members = [(m, archive.extractfile(m).read() if m.isreg() else b"") for m in archive.getmembers()]
            members = change(members, rng)
        except DAMAGED:
            return False
        with tarfile.open(path, "w:gz") as archive:
            for member, content in members:
                archive.addfile(member, io.BytesIO(content))

    return of_files(".gz")(named(changed_tar, change))


def _member(name, content=b"", kind=tarfile.REGTYPE, target=""):
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(content), kind, target
    return member, content


@_of_tars
def another_file(members, rng):
    return [*members, _member(rng.choice(("more.txt", "a b", "été", "deep/er/file", "./dot")), b"more")]


@_of_tars
def files_in_another_order(members, rng):
    return members[::-1]


@_of_tars
def rights_and_owners(members, rng):
    for member, _ in members:
        member.mode, member.uid, member.uname, member.mtime = rng.choice((0o600, 0o777)), 1000, "someone", 1e9
    return members


@_of_tars
def a_folder(members, rng):
    return [*members, _member("folder", kind=tarfile.DIRTYPE)]


@_of_tars
def a_file_outside(members, rng):
    return [*members, _member(rng.choice(("../outside", "/outside", "a/../../outside", "..")), b"mine")]


@_of_tars
def a_link(members, rng):
    return [*members, _member("link", kind=rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE)), target=rng.choice("/.x"))]


@_of_tars
def a_device(members, rng):
    return [*members, _member("device", kind=rng.choice((tarfile.CHRTYPE, tarfile.FIFOTYPE)))]


@_of_tars
def a_file_twice(members, rng):
    return [*members, *members[:1]]


@_of_tars
def a_file_that_is_a_folder_too(members, rng):
    return [*members, _member("same", b"1"), _member("same/inner", b"2")]


@_of_tars
def a_name_that_is_too_long(members, rng):
    return [*members, _member("x" * 300, b"1")]
