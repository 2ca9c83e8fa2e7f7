"""What may be wrong, or only unusual, with a user's input: each mutator changes a valid one below a folder.

A mutator is a function of the folder and of a `random.Random`. It returns whether it found something to change.
"""

import json
import os
import pathlib
import zipfile

IMAGES = (".png", ".jpg", ".bmp", ".gif", ".webp")
FLAGS = "flags.txt"
MUTATORS = []


def _register(change, mutator):
    MUTATORS.append(named(mutator, change))
    return mutator


def named(function, like):
    function.__name__ = like.__name__
    return function


def _files(folder, *endings):
    paths = (pathlib.Path(directory) / name for directory, _, names in os.walk(folder) for name in names)
    return sorted(path for path in paths if not endings or path.suffix.lower() in endings)


def of_files(*endings):
    """Decorates a function of a file's path and of the random numbers: it is given one of the files."""

    def decorate(change):
        def mutator(folder, rng):
            paths = _files(folder, *endings)
            if not paths:
                return False
            return change(rng.choice(paths), rng) is not False

        return _register(change, mutator)

    return decorate


# Bytes of any file.
@of_files()
def truncate(path, rng):
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


@of_files()
def empty_file(path, rng):
    path.write_bytes(b"")


@of_files()
def change_bytes(path, rng):
    content = bytearray(path.read_bytes())
    for _ in range(min(len(content), 4)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)


@of_files()
def append_bytes(path, rng):
    path.write_bytes(path.read_bytes() + rng.randbytes(8))


# Texts.
_TEXTS = (".json", ".csv", ".xml", ".txt")


@of_files(*_TEXTS)
def byte_order_mark(path, rng):
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


@of_files(*_TEXTS)
def line_ends_of_windows(path, rng):
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


@of_files(*_TEXTS)
def blank_lines_at_the_end(path, rng):
    path.write_bytes(path.read_bytes() + b"\n\n")


@of_files(*_TEXTS)
def a_byte_that_is_not_utf8(path, rng):
    content = path.read_bytes()
    at = rng.randrange(len(content) + 1)
    path.write_bytes(content[:at] + b"\xe9" + content[at:])


@of_files(*_TEXTS)
def utf16(path, rng):
    path.write_bytes(path.read_bytes().decode("utf-8", "replace").encode("utf-16"))


# JSON: of annotations and of cards.
def _places(value):
    """All (container, key) pairs of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _places(inner)


def _of_json(kinds):
    def decorate(change):
        def changed(path, rng):
            text = _card_text(path) if path.suffix == ".keras" else path.read_text("utf-8", "replace")
            try:
                content = json.loads(text)
            except ValueError:
                return False
            places = [(where, key) for where, key in _places(content) if isinstance(where[key], kinds)]
            if not places:
                return False
            change(*rng.choice(places), rng)
            text = json.dumps(content)
            if path.suffix == ".keras":
                _replace_member(path, CARD, text.encode())
            else:
                path.write_text(text, "utf-8")

        return of_files(".json", ".keras")(named(changed, change))

    return decorate


@_of_json(object)
def drop_an_entry(where, key, rng):
    del where[key]


@_of_json(object)
def null(where, key, rng):
    where[key] = None


@_of_json((int, float))
def number_as_text(where, key, rng):
    where[key] = str(where[key])


@_of_json((int, float))
def not_a_number(where, key, rng):
    where[key] = float("nan")


@_of_json((int, float))
def huge(where, key, rng):
    where[key] = 10 ** rng.choice((9, 30, 400))


@_of_json((int, float))
def negative(where, key, rng):
    where[key] = -1


@_of_json((int, float))
def whole_number_as_float(where, key, rng):
    where[key] = float(where[key])


@_of_json(str)
def text_of_other_letters(where, key, rng):
    where[key] += rng.choice((" ", "é", "\U0001f600", "\n", ""))


@_of_json(list)
def twice_in_a_list(where, key, rng):
    where[key] += where[key][:1]


@_of_json(object)
def nested(where, key, rng):
    where[key] = [where[key]]


# Tables.
def _of_lines(change):
    def changed_lines(path, rng):
        lines = path.read_text("utf-8", "replace").splitlines()
        changed = change(lines, rng)
        path.write_text("\n".join(changed) + "\n", "utf-8")

    return of_files(".csv")(named(changed_lines, change))


@_of_lines
def semicolons(lines, rng):
    return [line.replace(",", ";") for line in lines]


@_of_lines
def quoted(lines, rng):
    return [",".join(f'"{cell}"' for cell in line.split(",")) for line in lines]


@_of_lines
def another_column(lines, rng):
    return [f"{line},{'note' if i == 0 else i}" for i, line in enumerate(lines)]


@_of_lines
def a_column_less(lines, rng):
    return [line.rpartition(",")[0] for line in lines]


@_of_lines
def columns_in_another_order(lines, rng):
    return [",".join(reversed(line.split(","))) for line in lines]


@_of_lines
def a_row_twice(lines, rng):
    return [*lines, *lines[-1:]]


@_of_lines
def an_open_quote(lines, rng):
    return [*lines[:-1], '"' + (lines[-1] if lines else "")]


@_of_lines
def no_rows(lines, rng):
    return lines[:1]


# XML.
@of_files(".xml")
def drop_a_line(path, rng):
    lines = path.read_text("utf-8", "replace").splitlines()
    path.write_text("\n".join(line for i, line in enumerate(lines) if i != rng.randrange(len(lines) + 1)), "utf-8")


@of_files(".xml")
def swap_edges(path, rng):
    text = path.read_text("utf-8", "replace")
    path.write_text(text.replace("xmin", "?").replace("xmax", "xmin").replace("?", "xmax"), "utf-8")


@of_files(".xml")
def a_comment(path, rng):
    path.write_text(path.read_text("utf-8", "replace").replace("<object>", "<!-- a --><object>"), "utf-8")


@of_files(".xml")
def fractions(path, rng):
    path.write_text(path.read_text("utf-8", "replace").replace("</xmin>", ".5</xmin>"), "utf-8")


# Archives.
CARD = "condconv_keras.json"


def _card_text(path):
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(CARD).decode("utf-8", "replace")
    except (zipfile.BadZipFile, KeyError, OSError, ValueError, NotImplementedError, RuntimeError):
        return ""


def _replace_member(path, name, content):
    """Writes the archive anew with other content of a member, or without it."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members.pop(name, None)
    if content is not None:
        members[name] = content
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)


def _of_archives(change):
    def changed_archives(path, rng):
        try:
            change(path, rng)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
            return False

    return of_files(".keras")(named(changed_archives, change))


@_of_archives
def drop_a_member(path, rng):
    with zipfile.ZipFile(path) as archive:
        names = sorted(archive.namelist())
    _replace_member(path, rng.choice(names), None)


@_of_archives
def another_member(path, rng):
    _replace_member(path, "notes.txt", b"mine")


@_of_archives
def an_empty_member(path, rng):
    with zipfile.ZipFile(path) as archive:
        names = sorted(archive.namelist())
    _replace_member(path, rng.choice(names), b"")


# Command lines: a flag a line.
def _of_flags(change):
    def changed_flags(path, rng):
        if path.name != FLAGS:
            return False
        arguments = path.read_text("utf-8", "replace").splitlines()
        at = rng.randrange(len(arguments)) if arguments else 0
        path.write_text("\n".join(change(arguments, at, rng)) + "\n", "utf-8")

    return of_files(".txt")(named(changed_flags, change))


@_of_flags
def a_letter_less(arguments, at, rng):
    return [a[:-1] if i == at else a for i, a in enumerate(arguments)]


@_of_flags
def a_flag_twice(arguments, at, rng):
    return [*arguments, *arguments[at : at + 1]]


@_of_flags
def one_dash(arguments, at, rng):
    return [a.replace("--", "-", 1) if i == at else a for i, a in enumerate(arguments)]


@_of_flags
def a_value_of_its_own_word(arguments, at, rng):
    return [word for i, a in enumerate(arguments) for word in (a.split("=", 1) if i == at else [a])]


@_of_flags
def another_value(arguments, at, rng):
    value = rng.choice(("", "0", "-1", "1.5", "1e400", "nan", "yes", "é", "None", "64", "2", "0.5"))
    return [f"{a.partition('=')[0]}={value}" if i == at else a for i, a in enumerate(arguments)]


@_of_flags
def a_flag_less(arguments, at, rng):
    return [a for i, a in enumerate(arguments) if i != at]
