"""The versions that a result depends on."""

import functools
import pathlib

from condconv_keras.utils.lazy import DISTRIBUTION, LazyModule

# Slow to import, and every command imports this module.
metadata = LazyModule("importlib.metadata")
platform = LazyModule("platform")
tomllib = LazyModule("tomllib")

_CHECKOUT = pathlib.Path(__file__).resolve().parents[2] / "pyproject.toml"


@functools.cache
def own_version():
    """Returns the version of this library: as installed, else as its checkout says, else `"unknown"`."""
    return _installed(DISTRIBUTION) or _project_version(_CHECKOUT) or "unknown"


def versions(packages):
    """Returns the version of this library, of Python, and of those of the packages that are installed.

    Args:
        packages: names of distributions, as in `("keras", "numpy")`.

    Returns:
        A dict of name to text.
    """
    installed = {name: _installed(name) for name in packages}
    return {
        DISTRIBUTION: own_version(),
        "python": platform.python_version(),
        **{name: version for name, version in installed.items() if version is not None},
    }


def _installed(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _project_version(pyproject):
    """The version in a `pyproject.toml`, or None if there is none or it is another project's."""
    try:
        project = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return None
    return project.get("version") if project.get("name") == DISTRIBUTION else None
