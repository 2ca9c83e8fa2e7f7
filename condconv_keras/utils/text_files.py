"""Text and tables as other programs save them: with a byte order mark, in UTF-16, with semicolons."""

import codecs
import csv
import io
import pathlib
import re

from condconv_keras.utils.errors import UserError, one_line

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_DELIMITERS = ",;\t"
# What spreadsheets may write above a table to say what separates its cells.
_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


def read_text(path, kind):
    """Returns the text of a file in UTF-8 or, where it begins with a byte order mark that says so, UTF-16.

    Args:
        path: of the file.
        kind: what the file has to be, for messages, as in `"a text file"`.

    Raises:
        UserError: it cannot be read, is in another encoding, or has null characters.
    """
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"expected {kind}, {str(path)!r} cannot be read ({error.strerror})") from error
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"expected {kind} in UTF-8, {str(path)!r} is none ({one_line(error)}); save it as UTF-8"
        ) from error
    if "\0" in text:  # as in UTF-16 without its mark; no argument of a command and no name can have it
        raise UserError(f"expected {kind} in UTF-8, {str(path)!r} has null characters; save it as UTF-8")
    return text


def read_rows(path, kind):
    """Reads a table with a line of column names, as CSV with commas, semicolons or tabs.

    Cells are stripped of spaces. Rows without a value are left out, and columns that have neither name nor values:
    spreadsheets write them.

    Args:
        path, kind: as in `read_text`.

    Returns:
        The list of the column names, and a dict of the number of a row, from 1, to a dict of column name to cell. A
        cell that a row lacks is empty; those that it has too many are a list at the key None.

    Raises:
        UserError: as `read_text`; it is no CSV, or two columns have one name.
    """
    text = read_text(path, kind)
    delimiter, text = _delimiter(text)
    try:
        header, *rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)) or [[]]
    except csv.Error as error:
        raise UserError(f"expected {kind}, {str(path)!r} cannot be read ({one_line(error)})") from error
    columns = _stripped(header)
    repeated = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    if repeated is not None:
        raise UserError(f"expected different columns in {str(path)!r}, {repeated!r} is there twice")
    cells = {number: _stripped(row) for number, row in enumerate(rows, start=1)}
    return columns, {number: _row(columns, row) for number, row in cells.items() if row}


def is_unicode(text):
    """Whether a text can be written as UTF-8; the name of a file whose bytes are in another encoding cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _delimiter(text):
    """Returns what separates the cells of a table, and the table without the line that says so."""
    first, *others = text.splitlines(keepends=True) or [""]
    stated = _SEPARATOR.fullmatch(first.strip("\r\n"))
    if stated is not None:
        return stated[1], "".join(others)
    return max(_DELIMITERS, key=first.count), text


def _stripped(row):
    """The cells of a row without the spaces around them, and without the empty ones at its end."""
    cells = [cell.strip() for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _row(columns, cells):
    row = dict(zip(columns, [*cells, *[""] * len(columns)], strict=False))
    return row | ({None: cells[len(columns) :]} if len(cells) > len(columns) else {})
