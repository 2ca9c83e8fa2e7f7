"""Keras knows the library's classes whichever is imported first; each case is a process of its own.

How Keras is waited for is tested with a small package of its name, `keras`, and one module of classes.
"""

import ast
import pathlib
import textwrap

import numpy as np
import pytest

import condconv_keras
from tests import processes
from tests.layers import saved_models

ROOT = pathlib.Path(condconv_keras.__file__).parent

# The last one is Keras as TensorFlow loads it.
ORDERS = {
    "library_first": "import condconv_keras, sys; assert 'keras' not in sys.modules; import keras",
    "keras_first": "import keras; import condconv_keras",
    "by_tensorflow": "import condconv_keras, sys, tensorflow; tensorflow.keras.Model; keras = sys.modules['keras']",
}
PARTS_FIRST = {
    "layer": "from condconv_keras import CondConv2D; import keras",
    "loss": "from condconv_keras.tasks.detection import losses; import keras",
    "module_of_layers": "import condconv_keras.layers.forms.portable; import keras",
}


def registered_names():
    """The names of all classes of the library that are decorated to be registered, read from its source."""
    names = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if any("register_keras_serializable" in ast.unparse(d) for d in getattr(node, "decorator_list", ())):
                names.add(f"condconv_keras>{node.name}")
    return names


def test_the_registered_names_are_those_of_earlier_files():
    of_0_1 = {"CondConv2D", "DepthwiseCondConv2D", "Routing", "SigmoidFocalLoss", "SmoothL1Loss", "WarmupSchedule"}
    assert registered_names() == {f"condconv_keras>{name}" for name in {*of_0_1, "BatchNormalization", "MaskedReshape"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with `.keras` files, the names that must be registered, and what the models answer."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "names.txt").write_text("\n".join(registered_names()))
    outputs = {}
    for name in ("sequential", "functional"):
        model = saved_models.MODELS[name]()
        saved_models.randomize(model)
        model.save(folder / f"{name}.keras")
        outputs[name] = model.predict(saved_models.images(), verbose=0)
    np.savez(folder / "outputs.npz", **outputs)
    np.save(folder / "images.npy", saved_models.images())
    return folder


_REGISTERED = """
import sys

folder = sys.argv[1]
for name in open(f"{folder}/names.txt").read().split():
    assert keras.saving.get_registered_object(name) is not None, name
print([finder for finder in sys.meta_path if "condconv_keras" in type(finder).__module__])
"""
_LOADED = """
import copy
import numpy as np

images, outputs = np.load(f"{folder}/images.npy"), np.load(f"{folder}/outputs.npz")
for name in outputs.files:
    model = keras.saving.load_model(f"{folder}/{name}.keras")
    clone = keras.models.clone_model(model)
    of_config = type(model).from_config(model.get_config())
    for each in (clone, of_config):
        each.set_weights(model.get_weights())
    for each in (model, clone, of_config, copy.copy(model)):
        np.testing.assert_allclose(each(images), outputs[name], rtol=1e-4, atol=1e-5)
print("loaded", sorted(outputs.files))
"""


@pytest.mark.parametrize(
    "order", ["library_first", "by_tensorflow", pytest.param("keras_first", marks=pytest.mark.slow)]
)
def test_files_load_in_either_order(order, folder):
    if order == "by_tensorflow":
        pytest.importorskip("tensorflow")
    finished = processes.run("-c", f"{ORDERS[order]}\n{_REGISTERED}\n{_LOADED}", folder)
    assert finished.stdout.splitlines() == ["[]", "loaded ['functional', 'sequential']"]


@pytest.mark.parametrize(
    "part", ["module_of_layers", *(pytest.param(name, marks=pytest.mark.slow) for name in ("layer", "loss"))]
)
def test_a_part_of_the_library_comes_first(part, folder):
    assert processes.run("-c", f"{PARTS_FIRST[part]}\n{_REGISTERED}", folder).stdout.splitlines() == ["[]"]


def test_the_library_imports_nothing_heavy():
    code = """
        import sys
        before = set(sys.modules)
        import condconv_keras
        new = {name.split(".")[0] for name in set(sys.modules) - before}
        print(sorted(new - set(sys.stdlib_module_names)))
    """
    assert _run(code) == ["['condconv_keras']"]


def test_without_keras():
    code = """
        import condconv_keras
        try:
            import keras
        except ModuleNotFoundError as error:
            print(error.name)
    """
    # Without site-packages.
    assert _run(code, "-S") == ["keras"]


KERAS = """
import keras.part
done = True
"""
CLASSES = """
import keras
assert keras.done
print("registered")
"""
IMPORT = "import sys; from condconv_keras import registration; registration._MODULES = ('classes',)"
HOOKS = "print(sum(type(finder).__module__ == 'condconv_keras.registration' for finder in sys.meta_path))"


@pytest.fixture
def fake(tmp_path):
    """A function that runs code in a process where `keras` and `classes` are what it is given."""

    def run(code, init=KERAS, part="", classes=CLASSES):
        (tmp_path / "keras").mkdir()
        (tmp_path / "keras/__init__.py").write_text(init)
        (tmp_path / "keras/part.py").write_text(part)
        (tmp_path / "classes.py").write_text(classes)
        return _run(code, PYTHONPATH=str(tmp_path))

    return run


def _run(code, *options, **environment):
    return processes.run(*options, "-c", textwrap.dedent(code), **environment).stdout.splitlines()


def test_the_classes_are_registered_once_and_the_hook_goes(fake):
    code = f"{IMPORT}; {HOOKS}; import keras; {HOOKS}; registration.register_with_keras(); {HOOKS}"
    assert fake(code) == ["1", "registered", "0", "0"]


def test_keras_keeps_its_own_loader(fake):
    code = f"""{IMPORT}
import importlib.util, importlib.machinery
print(importlib.util.find_spec("keras").loader.get_filename("keras") == importlib.util.find_spec("keras").origin)
import keras
print(type(keras.__loader__) is type(keras.__spec__.loader) is importlib.machinery.SourceFileLoader)
importlib.reload(keras)
"""
    assert fake(code) == ["True", "registered", "True"]


def test_a_namespace_package_of_the_name(tmp_path):
    (tmp_path / "keras").mkdir()
    code = f"{IMPORT}\nimport keras; print(keras.__file__)"
    # Without site-packages; the folder is no regular package.
    assert _run(code, "-S", PYTHONPATH=str(tmp_path)) == ["None"]


def test_the_library_is_imported_while_keras_is(fake):
    assert fake(f"import keras, sys; {HOOKS}; print(type(keras.__spec__))", part=IMPORT) == [
        "registered",
        "0",
        "<class '_frozen_importlib.ModuleSpec'>",
    ]


def test_the_library_is_imported_while_another_thread_imports_keras(fake):
    code = f"""
import threading, types, sys
sys.modules["events"] = events = types.ModuleType("events")
events.begun, events.go_on = threading.Event(), threading.Event()
thread = threading.Thread(target=__import__, args=("keras",))
thread.start()
events.begun.wait()
{IMPORT}
print("imported")
events.go_on.set()
thread.join()
{HOOKS}
"""
    part = "import events; events.begun.set(); assert events.go_on.wait(60)"
    assert fake(code, part=part) == ["imported", "registered", "0"]


@pytest.mark.parametrize("part", ["", IMPORT])
def test_keras_can_be_imported_after_it_failed(fake, part):
    code = f"""
import sys
try:
    {"pass" if part else IMPORT}
    import keras
except ImportError as error:
    print(error)
sys.ready = True
import keras
{HOOKS}
"""
    init = f"{KERAS}\nimport sys; print('executed')\nif not hasattr(sys, 'ready'): raise ImportError('no backend')"
    assert fake(code, init=init, part=part) == ["executed", "no backend", "executed", "registered", "0"]


def test_classes_that_cannot_be_imported_are_an_error_every_time(fake):
    code = f"""{IMPORT}
import traceback
for _ in range(2):
    try:
        import keras
    except ImportError as error:
        print(*traceback.format_exception_only(error), sep="", end="")
"""
    lines = [
        "ImportError: no such activation",
        "This was raised while condconv_keras registered its classes with Keras.",
    ]
    assert fake(code, classes="import keras; raise ImportError('no such activation')") == lines * 2


@pytest.mark.parametrize("run", range(3))
def test_many_threads(fake, run):
    code = f"""{IMPORT}
import threading
barrier, errors = threading.Barrier(8), []

def work(name):
    barrier.wait()
    try:
        module = __import__(name)
        assert module.keras.done if name == "classes" else module.done
    except BaseException as error:
        errors.append(error)

threads = [threading.Thread(target=work, args=(name,)) for name in ("keras", "classes") * 4]
[thread.start() for thread in threads]
[thread.join(60) for thread in threads]
print(errors)
{HOOKS}
"""
    part = "import time; time.sleep(0.05)"
    assert fake(code, part=part) == ["registered", "[]", "0"]
