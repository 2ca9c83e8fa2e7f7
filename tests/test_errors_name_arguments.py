"""The library speaks Python: its errors name arguments, as `seed`, and leave the dashes of --seed to the commands."""

import ast
import re

from tests.test_imports import module_files

_FLAG = re.compile(r"(?<![\w-])--[a-z]\w*")
# Modules that are about command lines: only what they raise has to name arguments.
_GAIN = tuple(f"experiments.gain.{name}" for name in ("__main__", "data", "settings", "study"))
_WEB = ("export.web.litert_js", "export.web.page")
WRITE_COMMANDS = ("experiments.runner", "experiments.table", "models.cards_page", *_GAIN, *_WEB)


def flags_named(text, only_raised=False):
    """Returns the (line, flag) pairs of the strings in a module's text that are no docstrings.

    A flag whose name is filled in, as in f"--{name}", is "--x".

    Args:
        text: of the module.
        only_raised: whether strings outside of `raise` statements may name flags. Otherwise they may not either: they
            may be the tables and variables that an error is made from.
    """
    tree = ast.parse(text)
    roots = [node for node in ast.walk(tree) if isinstance(node, ast.Raise)] if only_raised else [tree]
    nodes = [node for root in roots for node in ast.walk(root)]
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    found = set()
    for node in nodes:
        if id(node) not in parts | docstrings:
            found |= {(node.lineno, flag) for flag in _FLAG.findall(_text(node))}
    return sorted(found)


def _text(node):
    """The text of a string, with an "x" for what is filled in; empty for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _library():
    """The texts of the library's modules but for the commands, a dict by their names."""
    files = {name.removeprefix("condconv_keras."): path for name, path in module_files().items()}
    return {name: path.read_text("utf-8") for name, path in files.items() if name.split(".")[0] != "commands"}


def test_no_module_of_the_library_names_flags():
    found = {name: flags_named(text, only_raised=name in WRITE_COMMANDS) for name, text in _library().items()}
    assert {name: flags for name, flags in found.items() if flags} == {}


def test_the_modules_that_write_commands_do():
    texts = _library()
    assert all(flags_named(texts[name]) for name in WRITE_COMMANDS)


MODULE = '''
"""Of --docstrings."""
_REASON = "is for --strategy=tpu"
_STYLE = ("--", "a--b", "---", "-- x")

def check(seed, name):
    """As of --seed."""
    hint = f"give another --output_dir"
    command = [f"--{name}={seed}"]
    if seed < 0:
        raise ValueError(f"{name}: --seed must be at least 0 "
                         f"for --{name}")
    raise TypeError(hint)
'''


def test_flags_are_found_in_errors_and_in_what_they_are_made_from():
    assert flags_named(MODULE) == [
        (3, "--strategy"),
        (8, "--output_dir"),
        (9, "--x"),
        (11, "--seed"),
        (11, "--x"),
    ]
    assert flags_named(MODULE, only_raised=True) == [(11, "--seed"), (11, "--x")]
