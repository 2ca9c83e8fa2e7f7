"""Modules that are imported when they are first used: flags are answered before TensorFlow is there."""

import contextlib
import importlib
import importlib.util
import sys

from condconv_keras.utils.errors import UserError

DISTRIBUTION = "condconv-keras"
# Which extra of the distribution brings a package that not every use of the library needs.
_EXTRAS = {
    "PIL": "tensorflow",
    "absl": "tensorflow",
    "ai_edge_litert": "export",
    "flatbuffers": "export",
    "h5py": "tensorflow",
    "importlib_resources": "tensorflow",
    "matplotlib": "tensorflow",
    "ml_dtypes": "tensorflow",
    "official": "augmentation",
    "pkg_resources": "tensorflow",
    "pycocotools": "detection",
    "safetensors": "tensorflow",
    "scipy": "tensorflow",
    "sklearn": "tensorflow",
    "tensorflow": "tensorflow",
    "tensorflow_datasets": "tensorflow",
    "tf_keras": "augmentation",
    "tqdm": "tensorflow",
}


class LazyModule:
    """A module that is imported when an attribute of it is first asked for.

    Args:
        name: dotted name of the module.

    Raises:
        UserError: on first use, if the package is not installed; the message names the `pip install` that brings it.
    """

    def __init__(self, name):
        self._name = name

    def __getattr__(self, attribute):
        module = self.__dict__.get("_module")
        if module is None:
            module = self._module = import_module(self._name)
        return getattr(module, attribute)

    def __repr__(self):
        return f"<lazy module {self._name!r}>"


def import_module(name):
    """Imports a module by its dotted name; errors as in `installs_named`."""
    with installs_named():
        return importlib.import_module(name)


def attach(package, homes, modules=()):
    """Returns the `__getattr__` and the `__dir__` of a package that imports what it offers on first use.

    Args:
        package: its `__name__`. Its own modules are attributes of it, too, whether they have been imported or not.
        homes: dict of the names that it offers to the modules that have them.
        modules: names of those of its own modules that `dir` lists before they are imported.
    """

    def get(name):
        if name in homes:
            return getattr(import_module(homes[name]), name)
        if not name.startswith("_") and importlib.util.find_spec(f"{package}.{name}") is not None:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted({*vars(sys.modules[package]), *homes, *modules})


@contextlib.contextmanager
def installs_named():
    """While open, a package that is missing is a `UserError` with the `pip install` that brings it.

    What no extra of the library brings stays a `ModuleNotFoundError`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _EXTRAS:
            raise
        command = f"pip install '{DISTRIBUTION}[{_EXTRAS[package]}]'"
        raise UserError(f"the package {package!r} is not installed; it comes with {command}") from error


keras = LazyModule("keras")
tensorflow = LazyModule("tensorflow")
