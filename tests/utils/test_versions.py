import importlib.metadata
import platform
import tomllib

import keras
import pytest

from condconv_keras.utils import versions
from tests import processes


def uninstalled(monkeypatch, checkout):
    """Makes the library look as if it were not installed, beside the file `checkout`."""
    found = importlib.metadata.version

    def version(name):
        if name == versions.DISTRIBUTION:
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(versions, "_CHECKOUT", checkout)


@pytest.fixture(autouse=True)
def _forget():
    versions.own_version.cache_clear()
    yield
    versions.own_version.cache_clear()


def test_the_version_is_that_of_the_installation(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", {versions.DISTRIBUTION: "7.8.9"}.__getitem__)
    assert versions.own_version() == "7.8.9"


def test_a_checkout_that_is_not_installed_has_the_version_in_its_pyproject(monkeypatch):
    uninstalled(monkeypatch, processes.ROOT / "pyproject.toml")
    project = tomllib.loads((processes.ROOT / "pyproject.toml").read_text())["project"]
    assert versions.own_version() == project["version"]


@pytest.mark.parametrize("text", [None, "[project]\nname = 'another'\nversion = '1.0'\n", "[tool]\n", "no TOML"])
def test_a_copy_of_the_package_elsewhere_has_no_version(monkeypatch, tmp_path, text):
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    uninstalled(monkeypatch, tmp_path / "pyproject.toml")
    assert versions.own_version() == "unknown"


def test_versions_are_those_of_what_is_installed():
    found = versions.versions(("keras", "no-such-package"))
    assert found == {
        "condconv-keras": versions.own_version(),
        "python": platform.python_version(),
        "keras": keras.__version__,
    }
