import codecs

import pytest

from condconv_keras.utils.errors import UserError
from condconv_keras.utils.text_files import is_unicode, read_rows, read_text

ROWS = {1: {"name": "größe, a", "seed": "1", "flags": ""}, 3: {"name": "b", "seed": "2", "flags": "--x=1"}}


@pytest.mark.parametrize(
    "content",
    [
        "ä\r\nb".encode(),
        codecs.BOM_UTF8 + "ä\r\nb".encode(),
        codecs.BOM_UTF16_LE + "ä\r\nb".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "ä\r\nb".encode("utf-16-be"),
    ],
)
def test_the_encodings_of_a_text(content, tmp_path):
    (tmp_path / "a.txt").write_bytes(content)
    assert read_text(tmp_path / "a.txt", "a text file") == "ä\r\nb"


def test_a_file_that_cannot_be_read(tmp_path):
    for content in (b"a\0b", "ab".encode("utf-16-le")):
        (tmp_path / "a.txt").write_bytes(content)
        with pytest.raises(UserError, match=r"a\.txt' has null characters; save it as UTF-8"):
            read_text(tmp_path / "a.txt", "a list")
    (tmp_path / "a.txt").write_bytes("ä".encode("latin-1"))
    with pytest.raises(UserError, match=r"expected a list in UTF-8, '.*a\.txt' is none \(.*0xe4.*\); save it as UTF-8"):
        read_text(tmp_path / "a.txt", "a list")
    with pytest.raises(
        UserError, match=r"expected a list, '.*none\.txt' cannot be read \(No such file or directory\)$"
    ):
        read_text(tmp_path / "none.txt", "a list")
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)$"):
        read_rows(tmp_path, "a list")


@pytest.mark.parametrize(
    "text",
    [
        'name,seed,flags\n"größe, a",1,\n\nb,2,--x=1\n',
        'name,seed,flags\r\n"größe, a",1\r\n,,\r\nb,2,--x=1\r\n',
        "name;seed;flags\r\ngröße, a;1;\r\n;;\r\nb;2;--x=1",
        "sep=;\r\nname;seed;flags\r\ngröße, a;1;\r\n;;\r\nb;2;--x=1",
        '"sep=|"\nname|seed|flags\ngröße, a|1|\n\nb|2|--x=1\n',
        "name\tseed\tflags\r\ngröße, a\t1\t\r\n\t\t\r\nb\t2\t--x=1\r\n",
        'name,seed,flags,,\n"größe, a",1,,,\n,,,,\nb,2,--x=1,,\n',
        ' name , seed ,flags\n"größe, a", 1 ,\n \nb,2,--x=1\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_spreadsheets_save_them(text, encoding, tmp_path):
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    assert read_rows(tmp_path / "a.csv", "a table") == (["name", "seed", "flags"], ROWS)


def test_a_row_with_too_many_cells_keeps_them_apart(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2,3,4\n")
    assert read_rows(tmp_path / "a.csv", "a table")[1] == {1: {"a": "1", "b": "2", None: ["3", "4"]}}


def test_an_empty_table(tmp_path):
    (tmp_path / "a.csv").write_text("")
    assert read_rows(tmp_path / "a.csv", "a table") == ([], {})


@pytest.mark.parametrize(
    ("text", "message"), [("a,b,a\n1,2,3\n", "'a' is there twice"), ('a,b\n"1,2\n', "cannot be read")]
)
def test_a_damaged_table(text, message, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_rows(tmp_path / "a.csv", "a table")


def test_names_that_utf_8_cannot_write():
    assert is_unicode("größe 大 😀") and not is_unicode("caf\udce9")
