"""Modules that are imported when they are first used: flags are answered before TensorFlow is there."""

import importlib

from condconv_keras.utils.errors import UserError

_DISTRIBUTION = "condconv-keras"
# Which extra of the distribution brings a package that not every use of the library needs.
_EXTRAS = {
    "PIL": "tensorflow",
    "absl": "tensorflow",
    "ai_edge_litert": "export",
    "matplotlib": "tensorflow",
    "official": "augmentation",
    "pycocotools": "detection",
    "safetensors": "tensorflow",
    "scipy": "tensorflow",
    "sklearn": "tensorflow",
    "tensorflow": "tensorflow",
    "tensorflow_datasets": "tensorflow",
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
            module = self._module = _imported(self._name)
        return getattr(module, attribute)

    def __repr__(self):
        return f"<lazy module {self._name!r}>"


def _imported(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _EXTRAS:
            raise
        raise UserError(
            f"the package {package!r} is not installed; it comes with pip install '{_DISTRIBUTION}[{_EXTRAS[package]}]'"
        ) from error


keras = LazyModule("keras")
tensorflow = LazyModule("tensorflow")
