import pytest

from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import check_file, checked_new_folder, whole_file, whole_folder, write_rows, write_text


def test_write_text_replaces_a_file_and_leaves_nothing_else(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "one")
    write_text(tmp_path / "new" / "a.txt", "two")
    assert (tmp_path / "new" / "a.txt").read_text() == "two"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_a_name_that_is_no_text_is_written_with_a_backslash(tmp_path):
    write_text(tmp_path / "a.txt", "Löwe caf\udce9")
    assert (tmp_path / "a.txt").read_bytes() == "Löwe caf".encode() + rb"\udce9"
    write_rows(tmp_path / "a.csv", ["name"], [{"name": "caf\udce9"}])
    assert (tmp_path / "a.csv").read_bytes() == b"name\ncaf\\udce9\n"


def test_an_error_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "out") as partial:
        (partial / "a.txt").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "out") as partial:
        assert not (tmp_path / "out").exists()
        (partial / "a.txt").write_text("whole")
    assert (tmp_path / "out" / "a.txt").read_text() == "whole"


def test_a_folder_does_not_replace_one_with_files(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(OSError), whole_folder(tmp_path / "out") as partial:
        (partial / "a.txt").write_text("new")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_may_be_a_link(exists, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "out", target_is_directory=True)
    if exists:
        (tmp_path / "out").mkdir()
    with whole_folder(checked_new_folder(tmp_path / "link", "output_dir")) as partial:
        (partial / "a.txt").write_text("whole")
    assert (tmp_path / "link" / "a.txt").read_text() == (tmp_path / "out" / "a.txt").read_text() == "whole"


def test_a_file_is_not_written_where_a_folder_lies(tmp_path):
    (tmp_path / "x.csv").mkdir()
    (tmp_path / "y.csv").touch()
    with pytest.raises(UserError, match=rf"`output` takes a file, '{tmp_path}/x\.csv' is a folder"):
        check_file(tmp_path / "x.csv", "output")
    with pytest.raises(UserError, match=rf"`output` '{tmp_path}/y\.csv/z\.csv' cannot be made: '.*y\.csv' is a file"):
        check_file(tmp_path / "y.csv" / "z.csv", "output")
    check_file(tmp_path / "y.csv", "output")
    check_file(tmp_path / "new" / "z.csv", "output")
