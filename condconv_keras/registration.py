"""The library's classes are known to Keras as soon as both are imported, whichever comes first.

`import condconv_keras` imports no Keras: the commands answer a flag before Keras is there. So where Keras is not
imported yet, a finder waits for it: it lets the other finders find Keras, has the classes registered when Keras has
been executed, and takes itself off `sys.meta_path`.
"""

import sys
from importlib.machinery import ModuleSpec

# Those with classes that files name. They need nothing but Keras, on any of its backends.
_MODULES = (
    "condconv_keras.layers",
    "condconv_keras.tasks.detection.losses",
    "condconv_keras.training.schedules",
)


def register_with_keras():
    """Registers the library's classes with Keras: now if Keras is imported, else as soon as it is.

    Raises:
        ImportError: Keras is imported and the classes cannot be, as those of a Keras that is too old. Where Keras comes
            later, its import raises it.
    """
    keras = sys.modules.get("keras")
    spec = getattr(keras, "__spec__", None)
    if keras is None or _is_executing(spec):
        _wait_for_keras()
    if _is_executing(spec):
        spec.__class__ = _WatchedSpec
    if keras is not None and not _is_executing(spec):
        _register()


def _is_executing(spec):
    """Whether a module is being executed, by this thread or another; Python has no public way to ask."""
    return getattr(spec, "_initializing", False)


def _register():
    try:
        for name in _MODULES:
            # Not `importlib.import_module`: where another thread is importing the module and waits for Keras, which
            # this one holds, that ends in an error, and here the other thread goes on to register the classes.
            __import__(name)
    except Exception as error:
        error.add_note("This was raised while condconv_keras registered its classes with Keras.")
        raise
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]


def _wait_for_keras():
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds Keras where the other finders find it, with a loader that registers the classes."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        others = [other for other in sys.meta_path if other is not self and hasattr(other, "find_spec")]
        spec = next(filter(None, (other.find_spec(name, path, target) for other in others)), None)
        # A folder that is only called so, a namespace package, has no loader.
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader:
    """Executes Keras with its own loader, then registers the classes."""

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _register()


class _WatchedSpec(ModuleSpec):
    """Of Keras that is being executed, too late for a loader: registers the classes when that has ended."""

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "_initializing" and not value:
            super().__setattr__("__class__", ModuleSpec)
            # It is not there where its execution has failed.
            if "keras" in sys.modules:
                _register()
