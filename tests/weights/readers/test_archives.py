"""Archives that try to write elsewhere, or more than they say, and archives that are cut short."""

import io
import pathlib
import random
import tarfile

import pytest

from condconv_keras.utils.errors import UserError
from condconv_keras.weights.readers import archives
from condconv_keras.weights.readers.archives import unpack


def file_member(name, content=b"text", **fields):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    return member, content


def special_member(name, kind, linkname=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, linkname
    return member, b""


def write_archive(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def target(tmp_path):
    """A folder to unpack into, in a folder of its own that must stay as it is."""
    folder = tmp_path / "outside" / "target"
    folder.mkdir(parents=True)
    return folder


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in pathlib.Path(folder).rglob("*") if path.is_file())


def test_unpacks_files_and_folders(tmp_path, target):
    members = [special_member("model", tarfile.DIRTYPE), file_member("model/a.index", b"1"), file_member("b", b"22")]
    unpack(write_archive(tmp_path / "good.tar.gz", members), target)
    assert files_below(target) == ["b", "model/a.index"]
    assert (target / "model/a.index").read_bytes() == b"1" and (target / "b").read_bytes() == b"22"


@pytest.mark.parametrize(
    ("evil", "message"),
    [
        (file_member("../evil"), "relative paths"),
        (file_member("model/../../evil"), "relative paths"),
        (file_member("/tmp/condconv_evil"), "relative paths"),
        (file_member("e\0vil", pax_headers={"path": "e\0vil"}), "relative paths"),
        (special_member("link", tarfile.SYMTYPE, "/etc/passwd"), "link"),
        (special_member("link", tarfile.SYMTYPE, "good"), "link"),
        (special_member("link", tarfile.LNKTYPE, "good"), "link"),
        (special_member("pipe", tarfile.FIFOTYPE), "special"),
        (special_member("disk", tarfile.BLKTYPE), "special"),
        (special_member("tty", tarfile.CHRTYPE), "special"),
    ],
    ids=lambda value: value[0].name if isinstance(value, tuple) else None,
)
def test_refuses_a_member_before_anything_is_written(tmp_path, target, evil, message):
    path = write_archive(tmp_path / "evil.tar.gz", [file_member("good"), evil])
    with pytest.raises(UserError, match=message) as caught:
        unpack(path, target)
    assert repr(evil[0].name) in str(caught.value) and "\n" not in str(caught.value)
    assert files_below(tmp_path) == ["evil.tar.gz"]
    assert not pathlib.Path("/tmp/condconv_evil").exists()


def test_a_link_cannot_lead_a_later_file_outside(tmp_path, target):
    members = [special_member("model", tarfile.SYMTYPE, ".."), file_member("model/evil")]
    with pytest.raises(UserError, match="link"):
        unpack(write_archive(tmp_path / "evil.tar.gz", members), target)
    assert files_below(tmp_path) == ["evil.tar.gz"]


def test_refuses_an_archive_that_unpacks_to_too_much(tmp_path, target, monkeypatch):
    monkeypatch.setattr(archives, "SIZE_LIMIT", 1000)
    path = write_archive(tmp_path / "bomb.tar.gz", [file_member("a", bytes(600)), file_member("b", bytes(600))])
    with pytest.raises(UserError, match="unpacks to more"):
        unpack(path, target)
    assert files_below(target) == []


def test_refuses_a_header_that_claims_more_than_there_is(tmp_path, target):
    header = tarfile.TarInfo("bomb")
    header.size = 2**43
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.fileobj.write(header.tobuf())
    with pytest.raises(UserError, match="damaged"):
        unpack(path, target)
    assert files_below(target) == []


def test_refuses_too_many_members(tmp_path, target, monkeypatch):
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 3)
    path = write_archive(tmp_path / "many.tar.gz", [file_member(f"{i}", b"") for i in range(4)])
    with pytest.raises(UserError, match="at most 3 files"):
        unpack(path, target)
    assert files_below(target) == []


def test_an_archive_cut_short_or_damaged_is_refused_in_one_line(tmp_path, target):
    noise = random.Random(0).randbytes(40_000)
    whole = write_archive(tmp_path / "whole.tar.gz", [file_member("data", noise), file_member("late", noise)])
    content = whole.read_bytes()
    path = tmp_path / "damaged.tar.gz"
    damaged = [content[:size] for size in (0, 5, 40, len(content) // 3, len(content) // 2, len(content) - 9)]
    damaged += [b"not an archive", content[:200] + b"\xff" * 50 + content[250:]]
    for received in damaged:
        path.write_bytes(received)
        with pytest.raises(UserError, match="none or damaged") as caught:
            unpack(path, target)
        assert "\n" not in str(caught.value)


def test_a_missing_archive_is_refused(tmp_path, target):
    for path in (tmp_path / "missing.tar.gz", tmp_path):
        with pytest.raises(UserError, match="no file"):
            unpack(path, target)


@pytest.mark.parametrize("second", ["a/b", "n" * 300])
def test_members_that_cannot_be_written_are_one_line(tmp_path, target, second):
    path = write_archive(tmp_path / "x.tar.gz", [file_member("a"), file_member(second)])
    with pytest.raises(UserError, match=r"archive.*x\.tar\.gz") as error:
        unpack(path, target)
    assert "\n" not in str(error.value)
