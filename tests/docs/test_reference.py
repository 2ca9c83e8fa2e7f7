"""The reference has every public name, once, and nothing that is not there, in sentences that open well."""

import importlib
import pkgutil
import re
import types

import griffe
import pytest

from tests import processes
from tests.docs.openings import bad_openings

PACKAGES = (
    "analysis",
    "convert",
    "data",
    "export",
    "layers",
    "model_card",
    "models",
    "stored",
    "tasks.detection",
    "training",
    "weights",
)
PAGES = {path.name: path.read_text() for path in (processes.ROOT / "docs/reference").glob("*.md")}
SHOWN = [name for text in PAGES.values() for name in re.findall(r"^::: (\S+)$", text, re.MULTILINE)]
# Public functions that no `__all__` has: they lie in modules that are named in the documentation.
NAMED = (
    "condconv_keras.card_of",
    "condconv_keras.create_model",
    "condconv_keras.load_model",
    "condconv_keras.to_condconv",
    "condconv_keras.use_fused_batch_norm",
    "condconv_keras.profiling.profile",
    "condconv_keras.weights.warm_start.warm_start",
    "condconv_keras.utils.errors.UserError",
    "condconv_keras.utils.errors.MissingPackage",
)


def public_names():
    for package in PACKAGES:
        module = importlib.import_module(f"condconv_keras.{package}")
        for name in module.__all__:
            yield f"{module.__name__}.{name}"


def shown_objects():
    """What the pages show, a module with all that it defines."""
    found = [pkgutil.resolve_name(name) for name in SHOWN]
    modules = [module for module in found if isinstance(module, types.ModuleType)]
    values = [(module, value) for module in modules for value in vars(module).values()]
    return found + [value for module, value in values if getattr(value, "__module__", None) == module.__name__]


@pytest.mark.parametrize("name", [*public_names(), *NAMED])
def test_a_public_name_is_shown(name):
    value = pkgutil.resolve_name(name)
    if not isinstance(value, types.ModuleType):
        assert any(value is shown for shown in shown_objects())


def test_no_name_is_shown_twice():
    assert len(set(SHOWN)) == len(SHOWN) > 50


def texts_of(shown):
    """The texts of an object on a page of the reference, and of what is public in it."""
    # The option is that of `zensical.toml`.
    options = {"returns_multiple_items": False, "warnings": False}
    for section in shown.docstring.parse("google", **options) if shown.docstring else ():
        if isinstance(section.value, str):
            yield section.value
        elif section.kind is griffe.DocstringSectionKind.examples:
            yield from (text for kind, text in section.value if kind is griffe.DocstringSectionKind.text)
        else:
            items = section.value if isinstance(section.value, list) else [section.value]
            yield from (item.description for item in items)
    for member in shown.members.values():
        if not member.is_alias and not member.name.startswith("_"):
            yield from texts_of(member)


def test_no_sentence_that_the_pages_take_from_the_code_opens_badly():
    package = griffe.load("condconv_keras", search_paths=[processes.ROOT], allow_inspection=False)
    texts = [(name, text) for name in SHOWN for text in texts_of(package[name.removeprefix("condconv_keras.")])]
    assert len(texts) > 500
    assert [(name, bad) for name, text in texts if (bad := bad_openings(text))] == []


def test_all_texts_of_an_object_count():
    source = '''
class A:
    """Of a class.

    Args:
        one: of an argument.

    Output shape:
        That of another class.
    """

    def method(self):
        """What it does.

        Returns:
            One. Of several the first.
        """

    def _private(self):
        """What nobody sees."""
'''
    with griffe.temporary_visited_module(source) as module:
        assert list(texts_of(module["A"])) == [
            "Of a class.",
            "of an argument.",
            "That of another class.",
            "What it does.",
            "One. Of several the first.",
        ]


def test_the_index_links_every_page():
    linked = set(re.findall(r"\]\((\w+\.md)\)", PAGES["index.md"]))
    assert linked == set(PAGES) - {"index.md"}
