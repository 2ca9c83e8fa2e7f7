"""Stored models as a user hands them over: `.keras` files, runs, exports, and archives of checkpoints."""

import functools
import io
import json
import pathlib
import shutil
import tarfile
import tempfile
import zipfile

import keras
import numpy as np

from condconv_keras.facts.model_card import ModelCard
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.models.saving import save_model
from condconv_keras.stored import StoredModel
from condconv_keras.weights.readers.archives import unpack
from tests.fuzz.archive_mutators import CARD
from tests.fuzz.subjects import CLASSES, Subject, save_pixels
from tests.processes import ROOT
from tests.seeds import set_seed

_SIZE = (8, 8)
_EXPORTED = ROOT / "tests/fixtures/v0_1/exported"
_RUN = ROOT / "tests/fixtures/v0_1/run"


def make_aside(folder):
    """Writes what a user has besides the input: a model and a photo."""
    folder.mkdir()
    (folder / "model.keras").write_bytes(_valid_archive()[0])
    save_pixels(folder / "photo.png", 1)


# `.keras` files.
@functools.cache
def _valid_archive():
    """The bytes of a small `.keras` file with a card, and the weights and the bias of its classifier."""
    set_seed(0)
    inputs = keras.Input((*_SIZE, 3))
    dense = keras.layers.Dense(len(CLASSES), name="classifier", bias_initializer="random_normal")
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(inputs)))
    card = ModelCard("mobilenet_v1", CLASSES, Preprocessing(input_size=_SIZE, channels=3, mean=127.5, std=127.5))
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, card, pathlib.Path(folder) / "model.keras")
        content = (pathlib.Path(folder) / "model.keras").read_bytes()
    return content, [np.asarray(weight) for weight in dense.weights]


def _images(channels, size):
    return np.random.default_rng(0).uniform(0, 255, (2, *size, channels)).astype(np.float32)


def _make_archive(folder, number):
    (folder / "model.keras").write_bytes(_valid_archive()[0])


def _read_archive(folder):
    predictor = StoredModel.open(folder / "model.keras").predictor()
    return {"classes": list(predictor.card.class_names), "answers": predictor.predict(_images(3, _SIZE))}


def _see_archive(folder):
    with zipfile.ZipFile(folder / "model.keras") as archive:
        card = json.loads(archive.read(CARD))
    scaling = card["preprocessing"]
    kernel, bias = _valid_archive()[1]
    images = (_images(3, _SIZE) - np.array(scaling["mean"], float)) / np.array(scaling["std"], float)
    logits = images.mean(axis=(1, 2)) @ kernel + bias
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return {"classes": list(map(str, card["class_names"])), "answers": powers / powers.sum(axis=1, keepdims=True)}


def _predict_by_archive(folder, aside, read):
    return "predict.py", f"--model={folder / 'model.keras'}", "--json", aside / "photo.png"


# Runs.
def _make_run(folder, number):
    (folder / "run").mkdir()
    for name in ("config.json", "model.keras"):
        shutil.copyfile(_RUN / name, folder / "run" / name)


_OF_THE_RUN = ("model", "dataset", "data_dir", "seed", "validation_fraction", "model_arguments", "precision")
_OF_ITS_RECIPE = ("epochs", "batch_size", "learning_rate", "augmentation", "optimizer")


def _read_run(folder):
    config = StoredModel.open(folder / "run").config
    return {
        **{name: getattr(config, name) for name in _OF_THE_RUN},
        **{name: getattr(config.recipe, name) for name in _OF_ITS_RECIPE},
    }


def _see_run(folder):
    content = json.loads((folder / "run" / "config.json").read_bytes())
    return {
        **{name: content[name] for name in _OF_THE_RUN},
        **{name: content["recipe"][name] for name in _OF_ITS_RECIPE},
    }


# Exports.
def _make_export(folder, number):
    (folder / "exported").mkdir()
    for name in ("model.json", "labels.txt", "model.tflite"):
        shutil.copyfile(_EXPORTED / name, folder / "exported" / name)


def _read_export(folder):
    predictor = StoredModel.open(folder / "exported" / "model.tflite").predictor()
    return {"classes": list(predictor.card.class_names), "answers": predictor.predict(_images(1, (32, 32)))}


@functools.cache
def _exported_answers():
    return StoredModel.open(_RUN).predictor().predict(_images(1, (32, 32)))


def _see_export(folder):
    card = json.loads((folder / "exported" / "model.json").read_bytes())
    return {"classes": list(map(str, card["class_names"])), "answers": _exported_answers()}


def _predict_by_export(folder, aside, read):
    return "predict.py", f"--model={folder / 'exported' / 'model.tflite'}", "--json", aside / "photo.png"


# Archives of checkpoints.
def _make_tar(folder, number):
    with tarfile.open(folder / "checkpoint.tar.gz", "w:gz") as archive:
        for name in ("model/checkpoint", "model/model.data"):
            content = np.random.default_rng(number).bytes(100)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _read_tar(folder):
    with tempfile.TemporaryDirectory() as target:
        place = pathlib.Path(target, "inside")
        place.mkdir()
        try:
            unpack(folder / "checkpoint.tar.gz", place)
            return {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}
        finally:
            assert [path.name for path in pathlib.Path(target).iterdir()] == ["inside"]


def _see_tar(folder):
    with tarfile.open(folder / "checkpoint.tar.gz") as archive:
        members = [member for member in archive.getmembers() if member.isreg()]
        return {str(pathlib.PurePosixPath(m.name)): archive.extractfile(m).read() for m in members}


def _no_command(folder, aside, read):
    return None


MODEL_SUBJECTS = {
    "archive": Subject(_make_archive, _read_archive, _see_archive, _predict_by_archive),
    "run": Subject(_make_run, _read_run, _see_run, _no_command),
    "export": Subject(_make_export, _read_export, _see_export, _predict_by_export),
    "tar": Subject(_make_tar, _read_tar, _see_tar, _no_command),
}
