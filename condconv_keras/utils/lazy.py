"""Modules that are imported when they are first used: flags are answered before TensorFlow is there."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from condconv_keras.utils.errors import MissingPackage

DISTRIBUTION = "condconv-keras"
# What `official.vision` imports, whichever of its modules is asked for, as far as it is not TensorFlow's.
OFFICIAL_VISION = ("official", "tf_keras", "pycocotools", "PIL")
# What the distribution brings without an extra.
_CORE = ("keras", "numpy")
# Keras's other backends, which the distribution does not bring.
_BACKENDS = ("jax", "torch")
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
        extra: as in `installs_named`.

    Raises:
        MissingPackage: on first use, if a package is not installed; the message names the `pip install` that brings it.
    """

    def __init__(self, name: str, extra: str | None = None) -> None:
        self._name = name
        self._extra = extra

    def __getattr__(self, attribute: str) -> Any:
        module = self.__dict__.get("_module")
        if module is None:
            module = self._module = import_module(self._name, self._extra)
        return getattr(module, attribute)

    def __repr__(self) -> str:
        return f"<lazy module {self._name!r}>"


def load(*modules: LazyModule) -> None:
    """Imports lazy modules now.

    To be called before they are used in a `tf.function` or `Dataset.map`, which raise another error in the place of
    that for a package that is missing.
    """
    for module in modules:
        _ = module.__name__


def import_module(name: str, extra: str | None = None) -> types.ModuleType:
    """Imports a module by its dotted name; arguments and errors as in `installs_named`."""
    with installs_named(extra):
        return importlib.import_module(name)


def attach(
    package: str, homes: Mapping[str, str], modules: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the `__getattr__` and the `__dir__` of a package that imports what it offers on first use.

    Args:
        package: its `__name__`. Its own modules are attributes of it, too, whether they have been imported or not.
        homes: dict of the names that it offers to the modules that have them.
        modules: names of those of its own modules that `dir` lists before they are imported.
    """

    def get(name: str) -> Any:
        if name in homes:
            return getattr(import_module(homes[name]), name)
        if not name.startswith("_") and importlib.util.find_spec(f"{package}.{name}") is not None:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted({*vars(sys.modules[package]), *homes, *modules})


def require(*packages: str, extra: str | None = None) -> None:
    """Raises a `MissingPackage` for the first of these packages that is not installed; imports none of them.

    Args:
        packages: names of packages that the distribution brings.
        extra: as in `installs_named`.
    """
    for package in packages:
        if not _is_installed(package):
            raise _missing(package, extra)


def _is_installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:  # of a finder that refuses it
        return False


@contextlib.contextmanager
def installs_named(extra: str | None = None) -> Iterator[None]:
    """While open, a package that is missing is a `MissingPackage` with the `pip install` that brings it.

    Without `extra`, what neither the distribution brings nor Keras computes with stays Python's `ModuleNotFoundError`.

    Args:
        extra: the extra of the distribution that brings all that is used here, or None for the smallest that brings the
            package.
    """
    try:
        yield
    except MissingPackage:
        raise
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if not package or (extra is None and package not in (*_CORE, *_BACKENDS, *_EXTRAS)):
            raise
        raise _missing(package, extra) from error


def _missing(package: str, extra: str | None = None) -> MissingPackage:
    """The `MissingPackage` of a package."""
    if package in _BACKENDS:
        asked = f", which KERAS_BACKEND={package} asks for" if os.environ.get("KERAS_BACKEND") == package else ""
        text = f"{asked}: pip install {package}"
    else:
        extras = "" if package in _CORE else f"[{extra or _EXTRAS[package]}]"
        text = f"; it comes with pip install '{DISTRIBUTION}{extras}'"
    return MissingPackage(f"the package {package!r} is not installed{text}", name=package)


# Type checkers see the modules themselves, whose classes annotations name.
if TYPE_CHECKING:
    import keras as keras
    import numpy as numpy
    import tensorflow as tensorflow
else:
    keras = LazyModule("keras")
    numpy = LazyModule("numpy")  # a list of the models' names does without
    tensorflow = LazyModule("tensorflow")
