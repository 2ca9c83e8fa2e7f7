"""The models whose files are verified, with the images that they answer."""

import dataclasses
import functools
import pathlib
import sys

import numpy as np

from condconv_keras.data.input.decoding import read_image
from condconv_keras.export.check.representative import DatasetImages, Photographs, check_images
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.stored import StoredModel
from condconv_keras.training.run_data import open_run_dataset
from condconv_keras.training.run_folder import RunFolder
from scripts import pretrained
from scripts.commands import call

FOLDER = pathlib.Path("runs/arm")
_SMALL = ("--width_multiplier=0.25", "--num_experts=4")
# The first two have the recipes of the guide and of `make demo-detection`; the scenes take a minute and a half an
# epoch, the recipe eight epochs.
RUNS = {
    "digits": ("train.py", "--model=condconv_mobilenet_v1", *_SMALL),
    "scenes": ("train.py", "--model=condconv_ssd300_mobilenet_v1", *_SMALL, "--epochs=2"),
    # Few filters and strides, whose layers have forms of their own.
    "residual": ("train.py", "--model=condconv_small_resnet", "--width_multiplier=0.5", "--input_size=32"),
}
# Emulated, a float file of a network of full size takes 5 to 20 seconds an image.
MOST_FLOAT_PHOTOGRAPHS = 4
RUN_TIME, STATIC, PLAIN = "run time", "static", "-"


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A model whose files are verified.

    Attributes:
        name: of `SUBJECTS`.
        model, card: Keras model and its `ModelCard`.
        calibration: float32 [count, height, width, channels] in 0..255, what int8 is calibrated on.
        images: float32 images likewise that the files answer.
        float_images: how many of them the files that compute in float32 answer, the first ones.
        trained: whether its answers mean something, so that layers are kept out of 8 bits as by the exporter.
        kernels: kinds of files, of `RUN_TIME`, `STATIC` and, of a network without experts, `PLAIN`.
    """

    name: str
    model: object
    card: ModelCard
    calibration: np.ndarray
    images: np.ndarray
    float_images: int
    trained: bool
    kernels: tuple[str, ...] = (RUN_TIME, STATIC)


def _of_run(name):
    """A run of `RUNS`, which is trained if it is not there; the images are those of the exporter's check."""
    run = FOLDER / name
    if not (RunFolder.is_run(run) and RunFolder(run).read_results()):
        call(*RUNS[name], f"--model_dir={run}")
    stored = StoredModel.open(run)
    model, card = stored.load_to_answer()
    dataset, _ = open_run_dataset(stored.config, None, None, None, False, stored.task)
    source = DatasetImages(dataset)
    images = check_images(source, card.preprocessing)
    return Subject(name, model, card, _evaluated(card, source.calibration()), images, len(images), stored.is_trained)


def _of_photographs(name, stored, kernels=(RUN_TIME, STATIC)):
    """A stored model of full size, which answers the photographs of `make pretrained`."""
    model, card = stored.load_to_answer()
    photographs = (read_image(path, card.preprocessing.apply_orientation) for path in pretrained.find_photographs())
    calibration = _evaluated(card, Photographs(stored.is_trained).calibration())
    images = _evaluated(card, photographs)
    return Subject(name, model, card, calibration, images, MOST_FLOAT_PHOTOGRAPHS, stored.is_trained, kernels)


def _evaluated(card, images):
    return np.asarray(card.preprocessing.evaluation_images(images), np.float32)


def _of_import(name, number, **options):
    """One of the models of `make pretrained`, which are made if one of them is not there."""
    paths = pretrained.paths_of_models(FOLDER)
    if not all(path.exists() for path in paths):
        pretrained.write_models(FOLDER)
    return _of_photographs(name, StoredModel.open(paths[number]), **options)


def _untrained(name):
    return _of_photographs(name, StoredModel.open("condconv_mobilenet_v1", untrained=True, seed=0, num_experts=8))


def _command(name):
    return f"`python {' '.join(RUNS[name])}`, seed 0"


# What each is, in words, and what loads it.
SUBJECTS = {
    "digits": (f"CondConv-MobileNetV1 at 64x64, trained on digits by {_command('digits')}", _of_run),
    "scenes": (f"a CondConv detector at 160x160, trained on scenes of digits by {_command('scenes')}", _of_run),
    "residual": (f"a small residual CondConv network at 32x32, trained on digits by {_command('residual')}", _of_run),
    "lite0": (
        "EfficientNet-Lite0 at 224x224 with imported weights, as in `make pretrained`",
        functools.partial(_of_import, number=0, kernels=(PLAIN,)),
    ),
    "lite0_converted": (
        "the same network with 4 experts by `to_condconv`, as in `make pretrained`",
        functools.partial(_of_import, number=2),
    ),
    "mobilenet_v1": ("CondConv-MobileNetV1 with 8 experts at 224x224, random weights of seed 0", _untrained),
}


def load(name):
    """Returns the `Subject` of a name of `SUBJECTS`; trains or imports it first if that takes it."""
    print(f"{name}: {SUBJECTS[name][0]}", file=sys.stderr, flush=True)
    return SUBJECTS[name][1](name)
