"""The structure of the library: what may import what, and that nothing is imported in a circle.

Imports inside functions count, and so do the names of modules in strings: what a lazy module, `import_module` or a
table of names leads to.
"""

import ast
import pathlib
import re

import pytest

from tests.processes import ROOT

NAME = "condconv_keras"
# A package or module imports only those of rows below its own, and itself. The first row is what a user imports.
ORDER = (
    ("", "model_card", "registration"),
    ("commands",),
    ("experiments",),
    ("export", "analysis"),
    ("stored",),
    ("training",),
    ("routing_statistics",),
    ("tasks",),
    ("serving",),
    ("pretrained",),
    ("convert",),
    ("data", "weights"),
    ("models",),
    ("profiling",),
    ("layers",),
    ("facts",),
    ("utils",),
)
LEVEL = {name: level for level, row in enumerate(ORDER) for name in row}
MAX_LINES = 300
_MODULE_NAME = re.compile(rf"{NAME}(\.\w+)+(:\w+)?")


def module_files(root=ROOT):
    """Returns a dict of the library's module names to their files."""
    files = {}
    for path in sorted((root / NAME).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def imports_of(text, modules, module=""):
    """Returns the set of the library's modules that a module's text names."""
    tree = ast.parse(text)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {_closest(alias.name, modules) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import"
            found |= {_closest(f"{node.module}.{alias.name}", modules) for alias in node.names}
        elif isinstance(node, ast.JoinedStr):
            found |= _completed(node, modules, module)
        elif isinstance(node, ast.Constant) and id(node) not in docstrings and _MODULE_NAME.fullmatch(str(node.value)):
            # As a file may be called, "condconv_keras.json".
            found |= {_closest(node.value.partition(":")[0], modules)} - {NAME}
    return found - {None, module}


def _closest(name, modules):
    """The module that a dotted name is or lies in, or None if it is none of the library."""
    while name not in modules and "." in name:
        name = name.rpartition(".")[0]
    return name if name in modules else None


def _completed(node, modules, module):
    """The modules that a string with holes may name."""
    parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
    if parts[0] is None and ast.unparse(node.values[0].value) == "__name__":
        parts[0] = module
    if parts[0] is None or not parts[0].startswith(NAME):
        return set()
    pattern = "".join(r"\w+" if part is None else re.escape(part) for part in parts)
    return {name for name in modules if re.fullmatch(pattern, name)}


def level_of(module):
    """The row of `ORDER` that a module stands in."""
    return LEVEL[_package(module)]


def _package(module):
    """The name in `ORDER` of a module's package; `__main__` of any package is a command."""
    return "commands" if module.endswith(".__main__") else (module.split(".") + [""])[1]


def is_allowed(importer, imported):
    """Whether one module may import another."""
    packages = [_package(module) for module in (importer, imported)]
    return packages[0] == packages[1] or level_of(importer) < level_of(imported) or level_of(importer) == 0


def circles(graph):
    """Returns the strongly connected components of more than one module, each sorted."""
    reached = {module: _reached(module, graph) for module in graph}
    found = {tuple(sorted(m for m in reached[module] if module in reached[m])) for module in graph}
    return sorted(circle for circle in found if len(circle) > 1)


def _reached(module, graph):
    seen, waiting = set(), [module]
    while waiting:
        for imported in graph[waiting.pop()]:
            if imported not in seen:
                seen.add(imported)
                waiting.append(imported)
    return seen


@pytest.fixture(scope="module")
def graph():
    """A dict of module name to the set of those that it imports."""
    files = module_files()
    return {module: imports_of(path.read_text(encoding="utf-8"), files, module) for module, path in files.items()}


def test_every_package_has_a_place_in_the_order(graph):
    assert {_package(module) for module in graph} <= set(LEVEL)


def test_no_package_imports_one_above_it(graph):
    wrong = [(a, b) for a, imported in graph.items() for b in sorted(imported) if not is_allowed(a, b)]
    assert not wrong, "\n".join(f"{a} imports {b}" for a, b in wrong)


def test_no_circle_of_modules(graph):
    assert not circles(graph), "\n".join(map(" ".join, circles(graph)))


def test_nothing_imports_the_checkout():
    own = {"models", "export", "experiments", "train", "eval", "predict", "analyze", "scripts", "benchmarks", "tests"}
    for module, path in module_files().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not own & {name.split(".")[0] for name in names}, f"{module} imports {names}"


def test_files_are_short():
    lengths = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in module_files().values()}
    assert not {name: length for name, length in lengths.items() if length > MAX_LINES}


_NAMES = ("", ".utils", ".utils.lazy", ".data", ".data.a", ".data.b", ".x")
SAMPLE = {f"{NAME}{name}": pathlib.Path() for name in _NAMES}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import condconv_keras.data.a as q", {"data.a"}),
        ("from condconv_keras.data import a, Thing", {"data.a", "data"}),
        ("def f():\n    from condconv_keras.data.b import g", {"data.b"}),
        ("m = LazyModule('condconv_keras.utils.lazy')", {"utils.lazy"}),
        ("importlib.import_module(f'condconv_keras.data.{name}')", {"data.a", "data.b"}),
        ("builder = 'condconv_keras.data.a:function'", {"data.a"}),
        ('"""condconv_keras.data.a"""', set()),
        ("print('see condconv_keras.data.a')\nimport numpy", set()),
    ],
)
def test_imports_of(text, expected):
    assert imports_of(text, SAMPLE, f"{NAME}.x") == {f"{NAME}.{name}" for name in expected}


def test_a_package_that_names_its_own_modules():
    text = "importlib.import_module(f'{__name__}.{name}')"
    assert imports_of(text, SAMPLE, f"{NAME}.data") == {f"{NAME}.data.a", f"{NAME}.data.b"}


def test_a_circle_is_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert circles(graph) == [("a", "b", "c")]


def test_an_arrow_against_the_order_is_found():
    assert is_allowed(f"{NAME}.training.fit", f"{NAME}.models.registry")
    assert is_allowed(f"{NAME}.training.fit", f"{NAME}.training.loop")
    assert not is_allowed(f"{NAME}.models.registry", f"{NAME}.training.fit")
    assert not is_allowed(f"{NAME}.data.dataset", f"{NAME}.weights.source")
    assert not is_allowed(f"{NAME}.utils.files", f"{NAME}.model_card")
    assert not is_allowed(f"{NAME}.utils.files", NAME)
