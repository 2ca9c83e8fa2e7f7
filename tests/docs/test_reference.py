"""The reference has every public name, once, and nothing that is not there."""

import importlib
import pkgutil
import re
import types

import pytest

from tests import processes

PACKAGES = (
    "analysis",
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


def test_the_index_links_every_page():
    linked = set(re.findall(r"\]\((\w+\.md)\)", PAGES["index.md"]))
    assert linked == set(PAGES) - {"index.md"}
