"""`python -m condconv_keras.convert` as a user runs it."""

import json

import keras
import numpy as np
import pytest

from condconv_keras import create_model, load_model, to_condconv
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.models.saving import save_model
from tests import processes

COMMAND = ("-m", "condconv_keras.convert")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A plain network with its card, one without, and a text that is no model."""
    folder = tmp_path_factory.mktemp("stored")
    plain = create_model("mobilenet_v1", input_shape=(32, 32, 3), width_multiplier=0.25, classes=3)
    card = ModelCard(
        "mobilenet_v1", ("a", "b", "c"), Preprocessing(input_size=(32, 32), channels=3, mean=10.0, std=50.0)
    )
    save_model(plain, card, folder / "plain.keras")
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv")]).save(folder / "bare.keras")
    (folder / "text.keras").write_text("none")
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 256, (40, 40, 3), "uint8")
        keras.utils.save_img(folder / f"{number}.png", image, scale=False)
    return folder


def test_a_stored_model_gets_experts_and_keeps_its_card(stored, tmp_path):
    arguments = (f"--model={stored / 'plain.keras'}", f"--output={tmp_path / 'twin.keras'}", "--num_experts=4")
    finished = processes.run(*COMMAND, *arguments, "--layers=block_1[23]_*,classifier", f"--images={stored}", "--json")
    result = json.loads(finished.stdout)
    assert result["layers"] == [
        *("block_12_depthwise", "block_12_pointwise", "block_13_depthwise", "block_13_pointwise", "classifier")
    ]
    assert (result["num_experts"], result["images"]) == (4, 3)
    (plain, plain_card), (twin, card) = load_model(stored / "plain.keras"), load_model(tmp_path / "twin.keras")
    assert card == plain_card
    assert result["parameters"] == [plain.count_params(), twin.count_params()]
    assert result["multiply_adds"][1] > result["multiply_adds"][0]
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    expected = np.array(plain(images))
    np.testing.assert_allclose(np.array(twin(images)), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    # A router that is fitted to images has a bias; tests/convert looks at its logits.
    router = twin.get_layer("block_12_depthwise").router
    unfitted = to_condconv(plain, 4, layers="block_12_depthwise", verbose=False).get_layer("block_12_depthwise").router
    assert np.abs(np.array(router.bias)).max() > 0
    assert not np.any(np.array(unfitted.bias))


def test_a_model_without_a_card_and_the_text(stored, tmp_path):
    finished = processes.run(*COMMAND, f"--model={stored / 'bare.keras'}", f"--output={tmp_path / 'twin.keras'}")
    first, second = finished.stdout.splitlines()
    assert first.startswith("sequential")
    # 3 * 3 * 3 * 4 weights and 4 biases; eight of them and a router of 3 * 8 weights and 8 biases.
    counts = "1 of 1 convolutions and dense layers, conv, have 8 experts each: parameters 0.000112 -> 0.000928 million"
    assert counts in first
    assert second == f"written: {tmp_path / 'twin.keras'}"
    assert load_model(tmp_path / "twin.keras")[0].get_layer("conv").num_experts == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model={stored}/plain.keras", "--output={folder}/twin.h5"), "--output is a file that ends in .keras"),
        (("--model={stored}/none.keras", "--output={folder}/twin.keras"), "none.keras"),
        (("--model={stored}/text.keras", "--output={folder}/twin.keras"), "is damaged or none"),
        (
            ("--model={stored}/plain.keras", "--output={folder}/twin.keras", "--layers=blok_*"),
            "--layers, 'blok_*' is that of none",
        ),
        (
            ("--model={stored}/bare.keras", "--output={folder}/twin.keras", "--images={stored}"),
            "--images is for a model with a",
        ),
        (("--model={stored}/bare.keras", "--output={folder}/twin.keras", "--num_experts=0"), "num_experts"),
        (("--model={stored}/plain.keras", "--output={folder}/twin.keras", "--images={stored}/none"), "none"),
        (("--model=mobilenet_v1", "--output={folder}/twin.keras"), "has no weights of its own"),
    ],
)
def test_what_is_refused(stored, tmp_path, arguments, message):
    words = [word.format(stored=stored, folder=tmp_path) for word in arguments]
    processes.assert_refused(*COMMAND, *words, contains=message)
    assert not list(tmp_path.iterdir())
