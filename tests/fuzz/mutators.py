"""What may be wrong, or only unusual, with a user's input: each mutator changes a valid one below a folder.

A mutator is a function of the folder and of a `random.Random`. It returns whether it found something to change. Those
of one kind of file are in the modules beside this one.
"""

import os
import pathlib

MUTATORS = []
TEXTS = (".json", ".csv", ".xml", ".txt")
_KEPT = (".tflite",)  # LiteRT does not check what it maps into memory; the hash in the card does, which has its mutator


def register(change, mutator):
    """Adds a mutator under the name of the function that it is made of."""
    MUTATORS.append(named(mutator, change))
    return mutator


def named(function, like):
    function.__name__ = like.__name__
    return function


def _files(folder, endings):
    paths = (pathlib.Path(directory) / name for directory, _, names in os.walk(folder) for name in names)
    return sorted(path for path in paths if path.is_file() and _has(path, endings))


def _has(path, endings):
    ending = path.suffix.lower()
    return ending in endings if endings else ending not in _KEPT


def of_files(*endings):
    """Decorates a function of a file's path and of the random numbers: it is given one of the files."""

    def decorate(change):
        def mutator(folder, rng):
            paths = _files(folder, endings)
            return bool(paths) and change(rng.choice(paths), rng) is not False

        return register(change, mutator)

    return decorate


def of_texts(*endings):
    """Decorates a function of a text and of the random numbers that returns the text changed, or None."""

    def decorate(change):
        def changed_text(path, rng):
            text = change(path.read_text("utf-8", "replace"), rng)
            if text is None:
                return False
            path.write_text(text, "utf-8", newline="")

        return of_files(*endings)(named(changed_text, change))

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
    for _ in range(min(len(content), rng.choice((1, 4)))):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)


@of_files()
def change_the_beginning(path, rng):
    content = bytearray(path.read_bytes())
    if not content:
        return False
    content[rng.randrange(min(len(content), 64))] = rng.randrange(256)
    path.write_bytes(content)


@of_files()
def append_bytes(path, rng):
    path.write_bytes(path.read_bytes() + rng.randbytes(8))


@of_files()
def a_part_is_gone(path, rng):
    content = path.read_bytes()
    begin = rng.randrange(len(content) + 1)
    path.write_bytes(content[:begin] + content[begin + rng.randrange(1, 16) :])


# Texts.
@of_files(*TEXTS)
def byte_order_mark(path, rng):
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


@of_files(*TEXTS)
def line_ends_of_windows(path, rng):
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


@of_files(*TEXTS)
def blank_lines_at_the_end(path, rng):
    path.write_bytes(path.read_bytes() + b"\n\n")


@of_files(*TEXTS)
def a_byte_that_is_not_utf8(path, rng):
    content = path.read_bytes()
    at = rng.randrange(len(content) + 1)
    path.write_bytes(content[:at] + b"\xe9" + content[at:])


@of_files(*TEXTS)
def utf16(path, rng):
    path.write_bytes(path.read_bytes().decode("utf-8", "replace").encode("utf-16"))


@of_files(*TEXTS)
def the_name_of_a_text_in_capitals(path, rng):
    path.rename(path.with_suffix(path.suffix.upper()))
