import keras
import numpy as np
import pytest

from condconv_keras.data import Preprocessing, evaluation_batches, open_dataset
from condconv_keras.model_card import ModelCard, save_model
from export.check import TOLERANCE, check, check_images
from export.saved_model import write_saved_model
from export.tflite import tflite_bytes
from models import create_model
from tests import commands

PREPROCESSING = Preprocessing((32, 32), 1, 127.5, 127.5)
CARD = ModelCard("condconv_mobilenet_v1", tuple("0123456789"), PREPROCESSING)


@pytest.fixture(scope="module")
def model():
    """A small model whose answers depend on the image."""
    keras.utils.set_random_seed(0)
    model = create_model(
        "condconv_mobilenet_v1", width_multiplier=0.25, num_experts=4, input_shape=(32, 32, 1), classes=10
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if "routing" in layer.name:
            layer.kernel.assign(rng.standard_normal(layer.kernel.shape))
    batches = evaluation_batches(open_dataset("digits"), "train", PREPROCESSING, 64)
    for images, _ in batches:
        model(images, training=True)  # so that batch normalisation keeps the activations' scale
    return model


@pytest.fixture(scope="module")
def images():
    return check_images(open_dataset("digits"), PREPROCESSING)


@pytest.fixture(scope="module")
def tflite_folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tflite")
    (folder / "model.tflite").write_bytes(tflite_bytes(model, CARD))
    (folder / "model.json").write_text(CARD.to_json())
    return folder


def _write_saved_model(model, path):
    write_saved_model(model, CARD, path)
    (path / "assets.extra").mkdir()
    (path / "assets.extra/model.json").write_text(CARD.to_json())


def test_the_exports_pass(model, images, tflite_folder, tmp_path):
    _write_saved_model(model, tmp_path / "saved_model")
    for path in (tmp_path / "saved_model", tflite_folder / "model.tflite"):
        comparison = check(path, model, CARD, images)
        assert comparison.passed, comparison
        assert comparison.images == 16


def test_the_images_tell_the_kernels_apart(model, images):
    """The check is worth something only if kernels of the first image would show on the others."""
    routing = keras.Model(model.input, [layer.output for layer in model.layers if "routing" in layer.name])
    for weights in routing(PREPROCESSING.scale_images(images)):
        assert np.asarray(weights).std(axis=0).max() > 0.05


def test_an_export_of_other_weights_fails(model, images, tflite_folder):
    changed = keras.models.clone_model(model)
    changed.set_weights(model.get_weights())
    bank = changed.get_layer("block_13_pointwise").bank
    bank.assign(np.asarray(bank)[::-1])
    comparison = check(tflite_folder / "model.tflite", changed, CARD, images)
    assert not comparison.passed
    assert comparison.max_difference > 1e-4


def test_one_file_serves_several_threads_and_every_order(model, images, tflite_folder):
    from condconv_keras import predictors

    expected = predictors.keras_predict(model, CARD)(images)
    for threads in (1, 4):
        predict = predictors._tflite(tflite_folder / "model.tflite", threads)
        np.testing.assert_allclose(predict(images), expected, atol=TOLERANCE)
        np.testing.assert_allclose(predict(images[::-1]), expected[::-1], atol=TOLERANCE)


def test_only_builtin_operators(tflite_folder):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(tflite_folder / "model.tflite"))
    names = {operator["op_name"] for operator in interpreter._get_ops_details()}
    assert "DEPTHWISE_CONV_2D" in names
    assert not [name for name in names if name.startswith("Flex") or name == "VAR_HANDLE"]


def test_photographs_serve_where_there_is_no_data_set():
    colour = Preprocessing((48, 32), 3, 127.5, 127.5)
    images = check_images(None, colour)
    assert images.shape == (16, 48, 32, 3)
    assert len({image.tobytes() for image in images}) == 16
    assert images.min() >= 0
    assert 100 < images.max() <= 255


def test_a_failed_check_leaves_no_folder(model, tmp_path):
    """`python -m export` with a converter that swaps the experts of one layer."""
    save_model(model, CARD, tmp_path / "m.keras")
    sabotage = (
        "import sys, export.saved_model as s, export.__main__ as m, numpy as np\n"
        "write = s.write_saved_model\n"
        "def swapped(model, card, path, **kwargs):\n"
        "    bank = model.get_layer('block_13_pointwise').bank\n"
        "    values = np.asarray(bank)\n"
        "    bank.assign(values[::-1]); write(model, card, path, **kwargs)\n"
        "    bank.assign(values)\n"
        "s.write_saved_model = swapped\n"
        "m.cli.run(m.main)\n"
    )
    (tmp_path / "sabotage.py").write_text(sabotage)
    finished = commands.run(
        tmp_path / "sabotage.py",
        f"--model={tmp_path / 'm.keras'}",
        f"--output_dir={tmp_path / 'out'}",
        "--formats=savedmodel",
        "--dataset=digits",
        check=False,
        PYTHONPATH=str(commands.ROOT),
    )
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1].startswith(
        "error: the exported file differs from the Keras model, nothing is written: saved_model"
    )
    assert "Traceback" not in finished.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.keras", "sabotage.py"]
