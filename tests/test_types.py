"""The annotations of the public names: they are complete, and type checkers see what a user sees."""

import ast
import importlib
import inspect
import pathlib
import re
import subprocess
import sys
import tomllib
import typing

import pytest

from condconv_keras.models import list_models, model_entry
from condconv_keras.models.arguments import ModelArguments
from condconv_keras.models.building import PLACEMENT_FIELDS
from condconv_keras.models.options import NetworkOptions
from tests.docs.blocks import documented
from tests.processes import ROOT

NAME = "condconv_keras"
# The modules that users import names from.
PUBLIC = (
    NAME,
    *(
        f"{NAME}.{name}"
        for name in ("analysis", "convert", "data", "export", "layers", "model_card", "models", "profiling")
    ),
    *(f"{NAME}.{name}" for name in ("stored", "tasks.detection", "training", "utils.errors", "weights")),
    *(f"{NAME}.{name}" for name in ("routing_statistics.examples", "routing_statistics.statistics")),
    *(f"{NAME}.{name}" for name in ("stored.loading", "weights.warm_start")),
)
PROGRAMS = pathlib.Path(__file__).parent / "typed_programs"


def public_objects():
    """Returns a dict of the public classes and functions by the names that they are imported by."""
    found = {}
    for module in map(importlib.import_module, PUBLIC):
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        for name in getattr(module, "__all__", [name for name in own if not name.startswith("_")]):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found[f"{module.__name__}.{name}"] = value
    return found


def functions_of(value):
    """Yields the functions that a user calls of a public function or class, our base classes' among them."""
    if inspect.isfunction(value):
        yield value
        return
    for owner in value.__mro__:
        for name, member in vars(owner).items() if owner.__module__.startswith(NAME) else ():
            function = getattr(member, "__func__", getattr(member, "fget", getattr(member, "func", member)))
            if inspect.isfunction(function) and (not name.startswith("_") or name in ("__init__", "__call__")):
                yield function


def unannotated(function):
    """Returns the names of the parameters without an annotation, and "return"."""
    signature = inspect.signature(function)
    names = [name for name, each in signature.parameters.items() if each.annotation is inspect.Parameter.empty]
    if function.__qualname__ != function.__name__ and names[:1] in (["self"], ["cls"]):
        names = names[1:]
    return names + (["return"] if signature.return_annotation is inspect.Signature.empty else [])


def test_what_is_public_is_found():
    assert {
        *(f"{NAME}.{name}" for name in ("CondConv2D", "create_model", "load_model", "data.Preprocessing")),
        *(f"{NAME}.{name}" for name in ("profiling.profile", "stored.StoredModel", "weights.warm_start.warm_start")),
    } <= public_objects().keys()


def test_every_public_function_is_annotated():
    functions = {function for value in public_objects().values() for function in functions_of(value)}
    missing = {f"{each.__module__}.{each.__qualname__}": unannotated(each) for each in functions}
    assert not {name: names for name, names in missing.items() if names}
    assert len(functions) > 150


def test_a_missing_annotation_is_found():
    class Sample:
        def method(self, number: int, other, *more: int):
            pass

        @property
        def value(self):
            pass

    assert unannotated(Sample.method) == ["other", "return"]
    assert unannotated(Sample.value.fget) == ["return"]
    assert unannotated(test_what_is_public_is_found) == ["return"]


def test_the_modules_of_public_names_are_checked_whole():
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    (checked,) = (set(each["module"]) for each in overrides if each.get("disallow_untyped_defs"))
    functions = [function for value in public_objects().values() for function in functions_of(value)]
    assert {function.__module__ for function in functions} | set(PUBLIC) <= checked
    for name in checked:
        importlib.import_module(name)


def test_the_keywords_of_models_are_those_that_models_take():
    options = set(NetworkOptions.__dataclass_fields__) - {"name", "placement"}
    families = {keyword for name in list_models() for keyword in model_entry(name).keywords}
    assert set(typing.get_type_hints(ModelArguments)) == {*options, *PLACEMENT_FIELDS, *families}
    for owner in (NetworkOptions, type(model_entry("condconv_resnet50").placement)):
        stated = typing.get_type_hints(owner)
        for name, kind in typing.get_type_hints(ModelArguments).items():
            assert stated.get(name, kind) == kind, name


# Packages that import what they offer on first use say it twice: where it lies, and, for type checkers, as imports.
LAZY = sorted(path for path in (ROOT / NAME).rglob("__init__.py") if "attach(__name__" in path.read_text())


def offered(text):
    """Returns what a package's text says of the names that it offers: of the table and of the imports for checkers."""
    table, imports = {}, {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and node.targets[0].id in ("_HOME", "_HOMES"):
            table |= ast.literal_eval(node.value)
        elif isinstance(node, ast.Assign) and node.targets[0].id == "_MODULES":
            table |= dict.fromkeys(ast.literal_eval(node.value), NAME)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom):
                    imports |= {alias.name: line.module for alias in line.names if alias.asname is None}
    return table, imports


@pytest.mark.parametrize("path", LAZY, ids=lambda path: path.parent.name)
def test_type_checkers_see_what_a_package_offers(path):
    table, imports = offered(path.read_text())
    package = importlib.import_module(".".join(path.parent.relative_to(ROOT).parts))
    assert table and imports == table
    assert set(package.__all__) - {"__version__"} == set(table)


def test_a_name_that_type_checkers_do_not_see_is_found():
    text = """
_HOME = {"a": "condconv_keras.x", "b": "condconv_keras.x", "c": "condconv_keras.y"}
if TYPE_CHECKING:
    from condconv_keras.x import a, c
"""
    table, imports = offered(text)
    assert set(table.items()) ^ set(imports.items()) == {
        ("b", "condconv_keras.x"),
        ("c", "condconv_keras.y"),
        ("c", "condconv_keras.x"),
    }


@pytest.fixture(scope="module")
def found_by_mypy(tmp_path_factory):
    """What mypy says of the typed programs and of the Python of README and docs/: a dict of lines by file names.

    The lines of a block are those of its page.
    """
    folder = tmp_path_factory.mktemp("blocks")
    files = [PROGRAMS / "accepted.py", PROGRAMS / "refused.py"]
    for block in documented():
        if block.language == "python":
            files.append(folder / (re.sub(r"\W", "_", block.place) + ".py"))
            files[-1].write_text("\n" * (block.line - 1) + block.code)
    # Packages without types are what they are.
    options = ["--no-error-summary", "--hide-error-context", "--disable-error-code=import-untyped"]
    command = [sys.executable, "-m", "mypy", *options, *map(str, files)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode in (0, 1), finished.stderr
    found = {path.name: [] for path in files}
    for line in finished.stdout.splitlines():
        if ": error: " in line:
            found[pathlib.Path(line.split(":")[0]).name].append(line)
    return found


def test_mypy_finds_nothing_wrong_in_the_examples_of_the_documentation(found_by_mypy):
    of_pages = {name: lines for name, lines in found_by_mypy.items() if not (PROGRAMS / name).exists()}
    assert len(of_pages) > 15
    assert {name: lines for name, lines in of_pages.items() if lines} == {}


def test_mypy_takes_a_typed_program_and_refuses_what_is_wrong(found_by_mypy):
    assert found_by_mypy["accepted.py"] == []
    reported = {int(line.split(":")[1]): line for line in found_by_mypy["refused.py"]}
    wrong = (PROGRAMS / "refused.py").read_text().splitlines()
    expected = {number: line.split("  # ")[1] for number, line in enumerate(wrong, start=1) if "  # " in line}
    assert reported.keys() == expected.keys(), reported
    for number, text in expected.items():
        assert text in reported[number]
