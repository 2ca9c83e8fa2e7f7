"""`weights="imagenet"` from a local server that has what keras.applications publishes, with random weights."""

import http.server
import json
import threading

import keras
import numpy as np
import pytest
from PIL import Image

from condconv_keras.facts.imagenet import class_names
from condconv_keras.models.saving import load_keras_file
from condconv_keras.pretrained import create_model, pretrained_file, starting_file
from condconv_keras.utils.errors import UserError
from condconv_keras.weights.download import MIRROR
from tests import processes
from tests.models.randomize import images, randomize

WIDTHS = {1.0: "1_0", 0.25: "2_5"}


@pytest.fixture(scope="module")
def references():
    """keras.applications' MobileNets by width."""
    models = {}
    for width in WIDTHS:
        models[width] = keras.applications.MobileNet(
            (224, 224, 3), alpha=width, weights=None, classifier_activation=None
        )
        randomize(models[width])
    return models


@pytest.fixture(scope="module")
def published(references, tmp_path_factory):
    """The content of their files by path on the server."""
    file, contents = tmp_path_factory.mktemp("published") / "file.h5", {}
    for width, text in WIDTHS.items():
        references[width].save(file)
        contents[f"/tensorflow/keras-applications/mobilenet/mobilenet_{text}_224_tf.h5"] = file.read_bytes()
    return contents


@pytest.fixture
def server(published, tmp_path, monkeypatch):
    """The list of the paths that were asked for; the Keras cache is empty."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            content = published.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setenv(MIRROR, f"http://127.0.0.1:{running.server_port}")
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
        yield requests
        running.shutdown()


def test_downloads_converts_and_reuses(server, references):
    expected = references[0.25].predict(images(224), verbose=0)
    for _ in range(2):
        model = create_model("mobilenet_v1", width_multiplier=0.25, weights="imagenet")
        assert model.input.shape == (None, 224, 224, 3)
        np.testing.assert_allclose(model.predict(images(224), verbose=0), expected, atol=1e-4 * np.abs(expected).max())
    assert len(server) == 1


def test_other_inputs_and_heads(server, references):
    """Features are the published network's; a classifier of other classes is new."""
    reference = references[0.25]
    expected = keras.Model(reference.input, reference.get_layer("conv_pw_13_relu").output)(images(224))
    features = create_model("mobilenet_v1", width_multiplier=0.25, weights="imagenet", include_top=False)
    np.testing.assert_allclose(features(images(224)), expected, rtol=1e-3, atol=1e-3)
    other = create_model(
        "mobilenet_v1", width_multiplier=0.25, weights="imagenet", classes=7, input_shape=(96, 64, 3), dropout_rate=0.5
    )
    assert other.output.shape == (None, 7)
    np.testing.assert_array_equal(
        other.get_layer("block_13_pointwise").kernel, reference.get_layer("conv_pw_13").kernel
    )
    assert np.ptp(np.asarray(other.get_layer("classifier").kernel)) > 0


def test_a_detector_has_the_features_of_its_backbone(server, references):
    reference = references[0.25]
    arguments = {"width_multiplier": 0.25, "classes": 3, "input_shape": (224, 224, 3)}
    file = starting_file("condconv_ssd300_mobilenet_v1", {"width_multiplier": 0.25, "num_experts": 2})
    assert file == pretrained_file("mobilenet_v1", {"width_multiplier": 0.25})
    model = create_model("ssd300_mobilenet_v1", weights="imagenet", **arguments)
    for name, layer in (("stride_16", "conv_pw_11_relu"), ("stride_32", "conv_pw_13_relu")):
        expected = np.asarray(keras.Model(reference.input, reference.get_layer(layer).output)(images(224)))
        actual = keras.Model(model.input, model.get_layer(name).output)(images(224))
        np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())
    assert len(server) == 1


def test_commands_take_a_name_and_the_weights(server, references, tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    result = processes.run(
        "predict.py", "--model=mobilenet_v1", "--weights=imagenet", "--top_k=1", "--json", str(tmp_path / "photo.png")
    )
    # The preprocessing of the published weights: crop 0.875 of the photo, resized back to 224, scaled to [-1, 1].
    from condconv_keras.models import model_entry

    x = model_entry("mobilenet_v1").preprocessing().evaluation_image(photo)
    logits = references[1.0].predict(np.asarray(x)[None] / 127.5 - 1, verbose=0)[0]
    top = json.loads(result.stdout)["predictions"][0]["classes"][0]
    assert (top["index"], top["name"]) == (logits.argmax(), class_names()[logits.argmax()])
    probabilities = np.exp(logits - logits.max())
    assert top["probability"] == pytest.approx(probabilities.max() / probabilities.sum(), rel=1e-3)


@pytest.mark.slow
def test_the_published_file_can_be_imported_by_name(server, tmp_path):
    output = tmp_path / "plain.keras"
    arguments = ["--source=imagenet", "--model=mobilenet_v1", "--width_multiplier=0.25", f"--output={output}", "--json"]
    result = json.loads(processes.run("-m", "condconv_keras.weights", *arguments).stdout)
    assert "mobilenet_2_5_224_tf.h5" in result["source"]
    assert output.is_file()


@pytest.mark.slow
def test_training_starts_from_them(server, references, tmp_path):
    """A twin without published weights starts from its plain network's; gray digits become what the network takes."""
    run = tmp_path / "run"
    # One CondConv block, for the time that tracing takes.
    arguments = ["--width_multiplier=0.25", "--num_experts=2", "--start_block=13", "--input_size=32"]
    arguments += ["--epochs=1", "--learning_rate=0"]
    finished = processes.run(
        "train.py", "--model=condconv_mobilenet_v1", "--weights=imagenet", *arguments, f"--model_dir={run}"
    )
    assert "the classifier starts anew" in finished.stderr
    assert json.loads((run / "config.json").read_text())["weights"] == "imagenet"
    model, card = load_keras_file(run / "model.keras")
    assert card.preprocessing.channels == 3
    # Nothing was learned at a rate of 0: every expert is the published kernel, for 2 of them with the factor 2 / 2.
    bank = np.asarray(model.get_layer("block_13_pointwise").condconv_kernel)
    kernel = np.asarray(references[0.25].get_layer("conv_pw_13").kernel)
    np.testing.assert_allclose(bank, np.tile(kernel.reshape(1, -1), (2, 1)), rtol=1e-5)


@pytest.mark.parametrize(
    ("flags", "contains"),
    [
        (["--weights=imagenet", "--initial_weights=x.keras"], "--weights and --initial_weights, its old name, exclude"),
        (
            ["--weights=x.h5"],
            "--weights is 'imagenet', a .keras or a .weights.h5 file, or the folder of a SavedModel. Received: 'x.h5'",
        ),
        (["--weights=x.keras"], "--weights is 'imagenet', an existing file or a SavedModel"),
    ],
)
def test_wrong_flags_of_training(flags, contains, tmp_path):
    arguments = ["train.py", "--model=mobilenet_v1", f"--model_dir={tmp_path}/run", *flags]
    processes.assert_refused(*arguments, contains=contains, **processes.without_frameworks(tmp_path))


def test_settings_that_contradict_the_weights(server):
    with pytest.raises(UserError, match=r"need padding='same'. Received: padding='symmetric'"):
        create_model("mobilenet_v1", width_multiplier=0.25, weights="imagenet", padding="symmetric")


def test_nothing_is_published(server):
    with pytest.raises(UserError, match="no ImageNet weights are published for the model 'condconv_mobilenet_v1'"):
        create_model("condconv_mobilenet_v1", weights="imagenet")
    assert server == []


def test_offline_says_what_to_do_in_one_line(tmp_path):
    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photo)
    processes.assert_refused(
        *("predict.py", "--model=mobilenet_v1", "--weights=imagenet", str(photo)),
        contains=["fetch https://storage.googleapis.com", f"'{tmp_path}/condconv_keras/mobilenet_1_0_224_tf.h5'"],
        **{MIRROR: "http://127.0.0.1:9", "KERAS_HOME": str(tmp_path)},
    )


def test_by_hand(server, tmp_path, published):
    """A file that was put into the cache is used; nothing is downloaded."""
    folder = tmp_path / "home" / "condconv_keras"
    folder.mkdir(parents=True)
    (content,) = (content for path, content in published.items() if "_2_5_" in path)
    (folder / "mobilenet_2_5_224_tf.h5").write_bytes(content)
    assert pretrained_file("mobilenet_v1", {"width_multiplier": 0.25}).parent == folder
    assert server == []
