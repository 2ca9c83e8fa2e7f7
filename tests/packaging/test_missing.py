"""Without a package a command and a program get one line that names the `pip install`, before any work."""

import os
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

from condconv_keras.data.augment import policies
from condconv_keras.data.augment.augmentation import AugmentationOptions
from condconv_keras.facts.published_weights import PublishedWeights
from condconv_keras.models import saving
from condconv_keras.pretrained import create_model
from condconv_keras.serving import litert
from condconv_keras.stored import StoredModel
from condconv_keras.tasks.detection import boxes
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import MissingPackage, UserError
from condconv_keras.utils.lazy import LazyModule, installs_named, require
from condconv_keras.weights import download
from tests import processes

LINE = "the package 'tensorflow' is not installed; it comes with pip install 'condconv-keras[tensorflow]'"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Of a process in which TensorFlow, and nothing else, is missing."""
    folder = tmp_path_factory.mktemp("without")
    (folder / "tensorflow.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'tensorflow'\", name='tensorflow')"
    )
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The path of a `.keras` file."""
    path = tmp_path_factory.mktemp("stored") / "model.keras"
    create_model("mobilenet_v1", input_shape=(32, 32, 3), width_multiplier=0.25, classes=10).save(path)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--model=mobilenet_v1", "--model_dir={folder}/run"),
        pytest.param(("train", "--model=mobilenet_v1", "--dry_run"), marks=pytest.mark.slow),
        ("eval", "--model={stored}", "--dataset=digits"),
        ("predict", "--model={stored}", "{folder}"),
        ("analyze", "--model={stored}", "--dataset=digits", "--output_dir={folder}/routing"),
        ("export", "--model={stored}", "--output_dir={folder}/exported"),
        ("models", "mobilenet_v1"),
        ("weights", "--source={stored}", "--model=mobilenet_v1", "--output={folder}/out.keras"),
    ],
    ids=lambda command: command[0],
)
def test_a_command_ends_with_one_line(command, environment, stored, tmp_path):
    (tmp_path / "picture.png").write_bytes(b"never read")
    name, *arguments = (word.format(stored=stored, folder=tmp_path) for word in command)
    finished = processes.assert_refused(
        "-m", f"condconv_keras.commands.{name}", *arguments, contains=LINE, **environment
    )
    assert finished.returncode == 2
    assert finished.stderr == f"error: {LINE}\n"


@pytest.mark.parametrize(
    "statement",
    [
        "from condconv_keras import CondConv2D",
        "import condconv_keras; condconv_keras.create_model('mobilenet_v1')",
        "import condconv_keras; condconv_keras.load_model({stored!r})",
        "from condconv_keras.utils.lazy import tensorflow; tensorflow.zeros([])",
    ],
)
def test_a_program_gets_the_same_line(statement, environment, stored):
    program = f"""
try:
    {statement.format(stored=str(stored))}
except ImportError as error:
    print(error)
"""
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=processes.ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert (finished.returncode, finished.stdout) == (0, f"{LINE}\n"), finished.stderr


FIXTURES = processes.ROOT / "tests" / "fixtures" / "v0_1"
# What `python` runs first: the packages that BLOCKED names cannot be found.
BLOCKER = """
import os, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in os.environ["BLOCKED"].split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""


def line(package, extra):
    """What is said of a package that is missing; `extra` is None for one that the library always needs."""
    brackets = "" if extra is None else f"[{extra}]"
    return f"the package {package!r} is not installed; it comes with pip install 'condconv-keras{brackets}'"


@pytest.fixture
def without(tmp_path_factory):
    """Returns a function of packages that returns the environment of a process in which they are missing."""

    def environment(*packages):
        folder = tmp_path_factory.mktemp("blocked")
        (folder / "sitecustomize.py").write_text(BLOCKER)
        return {"PYTHONPATH": str(folder), "BLOCKED": " ".join(packages)}

    return environment


def refused(command, text, environment, folder):
    """Runs a command, which must end with one line and exit code 2, and write nothing in a folder."""
    before = sorted(folder.rglob("*"))
    name, *arguments = (word.format(fixtures=FIXTURES, folder=folder) for word in command)
    finished = processes.assert_refused(
        "-m", f"condconv_keras.commands.{name}", *arguments, contains=text, **environment
    )
    assert finished.returncode == 2
    assert finished.stderr == f"error: {text}\n"
    assert sorted(folder.rglob("*")) == before


DETECTOR, CLASSIFIER = "--model={fixtures}/detector.keras", "--model={fixtures}/run"
SCENES, DIGITS = "--dataset=digit_scenes", "--dataset=digits"
EXPORTED = "--output_dir={folder}/exported"
TRAIN = ("train", "--model=mobilenet_v1", "--model_dir={folder}/run")
TRAIN_DETECTOR = ("train", "--model=ssd300_mobilenet_v1", "--model_dir={folder}/run")
ANALYZE = ("analyze", CLASSIFIER, DIGITS, "--output_dir={folder}/routing")


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("official", "detection", ("predict", DETECTOR, "{fixtures}/digits/0.png")),
        ("official", "detection", ("eval", DETECTOR, SCENES)),
        ("official", "detection", ("export", DETECTOR, EXPORTED)),
        ("official", "detection", TRAIN_DETECTOR),
        ("official", "augmentation", (*TRAIN, "--policy=randaugment")),
        ("official", "augmentation", ("train", "--model=mobilenet_v1", "--policy=autoaugment", "--dry_run")),
        ("PIL", "detection", ("predict", DETECTOR, "{fixtures}/digits/0.png")),
        ("PIL", "detection", ("eval", DETECTOR, SCENES)),
        ("PIL", "tensorflow", ANALYZE),
        ("pycocotools", "detection", ("eval", DETECTOR, SCENES)),
        ("pycocotools", "detection", ("eval", "--model={fixtures}/detector_exported/model.tflite", SCENES)),
        ("ai_edge_litert", "export", ("export", CLASSIFIER, EXPORTED)),
        ("ai_edge_litert", "export", ("eval", "--model={fixtures}/exported/model.tflite", DIGITS)),
        ("flatbuffers", "export", ("export", DETECTOR, EXPORTED)),
        ("matplotlib", "tensorflow", TRAIN),
        ("matplotlib", "tensorflow", TRAIN_DETECTOR),
        ("matplotlib", "tensorflow", ("experiments", "--table={folder}/runs.csv", "--output_dir={folder}/study")),
        ("matplotlib", "tensorflow", ("eval", CLASSIFIER, "--confusion_png={folder}/confusion.png")),
        ("matplotlib", "tensorflow", ANALYZE),
        ("scipy", "tensorflow", ANALYZE),
        ("safetensors", "tensorflow", TRAIN),
        ("tqdm", "tensorflow", TRAIN),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value,
)
def test_a_package_is_missed_before_the_work(package, extra, command, without, tmp_path):
    environment = without(package)
    # Nothing is loaded, trained or converted: TensorFlow and Keras are there and must not be imported.
    frameworks = tmp_path / "frameworks"
    frameworks.mkdir()
    environment["PYTHONPATH"] += os.pathsep + processes.without_frameworks(frameworks)["PYTHONPATH"]
    (tmp_path / "runs.csv").write_text("model,width_multiplier,num_experts,seed,flags\nmobilenet_v1,0.25,,0,\n")
    refused(command, line(package, extra), {**environment, "PYTHONDONTWRITEBYTECODE": "1"}, tmp_path)


def test_a_wrong_flag_is_answered_before_a_missing_package(without, tmp_path):
    refused(
        ("eval", CLASSIFIER, "--confusion_png={folder}/confusion.txt"),
        f"--confusion_png takes a file that ends in .png, received: '{tmp_path}/confusion.txt'",
        without("matplotlib", "tensorflow"),
        tmp_path,
    )


def test_what_a_command_has_no_use_for_may_be_missing(without):
    finished = processes.run(
        "-m", "condconv_keras.commands.train", "--model=mobilenet_v1", "--help", **without("matplotlib", "official")
    )
    assert finished.stderr == ""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_backend_that_is_missing(backend, without, tmp_path):
    text = f"the package {backend!r} is not installed, which KERAS_BACKEND={backend} asks for: pip install {backend}"
    refused(("models", "mobilenet_v1"), text, {**without(backend), "KERAS_BACKEND": backend}, tmp_path)


@pytest.mark.parametrize("package", ["keras", "numpy"])
def test_what_the_library_always_needs(package, without, tmp_path):
    refused(("models", "mobilenet_v1"), line(package, None), without(package), tmp_path)


@pytest.mark.slow
def test_a_package_that_is_found_and_cannot_be_imported(tmp_path):
    """As one that lacks a package of its own; AutoGraph would raise another error for it."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "official.py").write_text("import gin_that_is_missing")
    environment = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = ("predict", DETECTOR, "{fixtures}/digits/0.png")
    refused(command, line("gin_that_is_missing", "detection"), environment, tmp_path)


def block(monkeypatch, *modules):
    """Makes modules unimportable in this process."""
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)


def test_a_policy_misses_its_package_outside_the_pipeline(monkeypatch):
    block(monkeypatch, "official.vision.ops.augment")
    monkeypatch.setattr(policies, "augment", LazyModule("official.vision.ops.augment", extra="augmentation"))
    with pytest.raises(MissingPackage, match=r"'official' .*\[augmentation\]"):
        policies.make_policy(AugmentationOptions(policy="randaugment"))


def test_a_detector_misses_its_package_outside_the_graph(monkeypatch):
    block(monkeypatch, "official.vision.ops.box_ops")
    monkeypatch.setattr(boxes, "box_ops", LazyModule("official.vision.ops.box_ops", extra="detection"))
    task = get_task("detection")
    for function, count in ((task.keras_predict, 2), (task.make_validation, 5), (task.training_batches, 6)):
        with pytest.raises(MissingPackage, match=r"'official' .*\[detection\]"):
            function(*[None] * count)


def raising(name):
    """Returns a function that raises what the import of a missing package does."""

    def function(*arguments, **options):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    return function


class TestAHandlerOfOtherErrors:
    """Does not take a missing package for a damaged file, a wrong argument or a network that is down."""

    def test_of_a_keras_file(self, monkeypatch):
        monkeypatch.setattr(keras.saving, "load_model", raising("h5py"))
        with pytest.raises(MissingPackage, match="'h5py' is not installed"):
            saving.load_keras_file(FIXTURES / "detector.keras")

    def test_of_a_saved_model(self, monkeypatch):
        error = MissingPackage("the package 'tensorflow' is not installed")
        monkeypatch.setattr(tf.saved_model, "load", lambda path: (_ for _ in ()).throw(error))
        with pytest.raises(MissingPackage, match=r"^the package 'tensorflow' is not installed$"):
            StoredModel.open(FIXTURES / "exported" / "saved_model").load()

    def test_of_a_tflite_file(self, monkeypatch):
        block(monkeypatch, "ai_edge_litert.interpreter")
        monkeypatch.setattr(litert, "litert", LazyModule("ai_edge_litert.interpreter"))
        with pytest.raises(MissingPackage, match=r"'ai_edge_litert' .*\[export\]"):
            litert.LiteRTFile(FIXTURES / "exported" / "model.tflite")

    def test_of_a_download(self, monkeypatch, tmp_path):
        monkeypatch.setattr(download, "cache_folder", lambda: tmp_path)
        block(monkeypatch, "keras.no_such_module")
        monkeypatch.setattr(download, "keras", LazyModule("keras.no_such_module"))
        published = PublishedWeights(url="https://example.org/w.h5", file_name="w.h5", kind="weights", origin="nobody")
        with pytest.raises(MissingPackage, match="'keras' is not installed"):
            download.fetch(published)
        assert list(tmp_path.iterdir()) == []


def test_a_package_is_missed_before_a_download(monkeypatch, tmp_path):
    monkeypatch.setattr(download, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(download, "_download", lambda url, path: pytest.fail("downloads"))
    block(monkeypatch, "safetensors")
    address = "https://example.org/w.safetensors"
    published = PublishedWeights(url=address, file_name="w.safetensors", kind="weights", origin="nobody")
    with pytest.raises(MissingPackage, match=r"'safetensors' .*\[tensorflow\]"):
        download.fetch(published)


class TestRequire:
    def test_imports_nothing(self):
        program = "import sys; from condconv_keras.utils.lazy import require; require('official', 'keras'); "
        program += "print([name for name in ('official', 'keras', 'numpy') if name in sys.modules])"
        assert processes.run("-c", program).stdout == "[]\n"

    def test_a_module_that_is_blocked(self, monkeypatch):
        block(monkeypatch, "pycocotools")
        with pytest.raises(
            MissingPackage, match=r"'pycocotools' .* pip install 'condconv-keras\[detection\]'$"
        ) as caught:
            require("tqdm", "pycocotools")
        assert caught.value.name == "pycocotools"

    def test_a_finder_that_raises(self, monkeypatch):
        finder = type("Finder", (), {"find_spec": staticmethod(raising("tf_keras"))})
        monkeypatch.setattr(sys, "meta_path", [finder])
        monkeypatch.delitem(sys.modules, "tf_keras", raising=False)
        with pytest.raises(MissingPackage, match=r"'tf_keras' .*\[augmentation\]"):
            require("tf_keras")


def test_a_missing_package_is_an_import_error_and_no_user_error():
    assert issubclass(MissingPackage, ModuleNotFoundError)
    assert not issubclass(MissingPackage, ValueError)
    assert not issubclass(MissingPackage, UserError)


def test_a_package_of_another_extra_is_named_with_it():
    with (
        pytest.raises(MissingPackage, match=r"'pycocotools' .* pip install 'condconv-keras\[detection\]'$"),
        installs_named(),
    ):
        raise ModuleNotFoundError("No module named 'pycocotools.mask'", name="pycocotools.mask")


def test_what_no_extra_brings_stays_pythons_error():
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        _ = LazyModule("no_such_package").attribute
