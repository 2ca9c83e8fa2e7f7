"""What a program with annotations does with the library; mypy finds nothing wrong here."""

import pathlib

import numpy as np

import condconv_keras
from condconv_keras import CondConv2D, Routing, card_of, create_model, list_models, load_model
from condconv_keras.data import AugmentationOptions, Preprocessing, open_dataset, steps_per_epoch, training_batches
from condconv_keras.model_card import ModelCard
from condconv_keras.models import ModelEntry, model_entry
from condconv_keras.profiling import Profile, profile
from condconv_keras.stored import StoredModel
from condconv_keras.training import Recipe, RunFolder, get_recipe
from condconv_keras.weights.warm_start import warm_start


def train() -> None:
    plain = create_model("mobilenet_v1", classes=10, input_shape=(32, 32, 3), width_multiplier=0.25)
    twin = create_model("condconv_mobilenet_v1", num_experts=4, classes=10, input_shape=(32, 32, 3))
    warm_start(twin, plain, skip_layers=["classifier"])
    digits = open_dataset("digits")
    preprocessing = model_entry("mobilenet_v1").preprocessing(input_size=(32, 32))
    batches = training_batches(digits, digits.train_split, preprocessing, 32, AugmentationOptions("pad_crop"))
    steps: int = steps_per_epoch(digits, digits.train_split, 32)
    twin.fit(batches, steps_per_epoch=steps)
    counts: np.ndarray = digits.class_counts("train")
    print(counts, profile(twin).multiply_adds)


def top(photo: np.ndarray) -> list[tuple[str, float]]:
    model = create_model("condconv_efficientnet_b0", weights="imagenet")
    card = card_of(model)
    (best,) = card.top_classes(model.predict(card.inputs([photo])), k=3)
    return best


def names(pattern: str) -> list[str]:
    entries: list[ModelEntry] = [model_entry(name) for name in list_models(pattern, task="classification")]
    return [entry.name for entry in entries]


def classes(path: pathlib.Path) -> tuple[str, ...]:
    model, card = load_model(path)
    if card is None:
        return ()
    size: tuple[int, int] = card.preprocessing.input_size
    cost: Profile = profile(model, (*size, 3))
    print(cost.parameters, condconv_keras.__version__)
    return card.class_names


def best(path: str, photo: np.ndarray) -> str:
    model, card = load_model(path)
    (answers,) = card.top_classes(model.predict(card.inputs([photo])), k=1)
    return answers[0][0]


def stored_card(name: str) -> ModelCard:
    return StoredModel.open(name, untrained=True, seed=1, num_experts=2).predictor().card


def seconds(folder: pathlib.Path) -> float:
    recipe: Recipe = get_recipe("digits")
    results = RunFolder(folder).read_results() or {}
    return float(results["seconds"]) / recipe.epochs


routing = Routing(num_experts=8)
layer = CondConv2D(64, (3, 3), num_experts=8, padding="same", activation="relu", implementation="mixture")
gray = Preprocessing((28, 28), 1, mean=127.5, std=127.5, interpolation="bilinear")
