"""The page in Chromium: what it answers to image files is what Keras answers to them."""

import base64
import contextlib
import dataclasses
import io
import json
import re
import shutil
import urllib.parse

import keras
import numpy as np
import pytest
from PIL import Image, ImageOps

from condconv_keras.data import Preprocessing
from condconv_keras.data.input.decoding import read_image
from condconv_keras.data.sources.photographs import photographs
from condconv_keras.layers.routers import recorded_routing
from condconv_keras.models.saving import save_model
from condconv_keras.stored import StoredModel
from condconv_keras.stored.untrained import untrained_model
from scripts.chromium import Chromium, find_chromium, served
from tests import processes
from tests.images import exif

NEEDED = {"Chromium": find_chromium(), "npm": shutil.which("npm")}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not all(NEEDED.values()), reason=f"needs {' and '.join(NEEDED)}"),
]
DETECTOR = {"width_multiplier": 0.25, "num_experts": 4, "input_size": 96}
SPREAD = 0.8  # of the logits of a classifier
FAR = "far.test"
# JPEG files are larger, as photos are.
LARGER = 4
# Probabilities of lossless files, and of those that a browser decodes in its own way: TensorFlow takes the fast
# transform, whose red and blue are about one level darker.
TOLERANCE = {".png": 1e-3, ".webp": 1e-3, ".jpg": 1e-2}


def write_images(folder):
    """Writes 20 images of many kinds and sizes: gray and color, turned by EXIF, transparent; returns their paths."""
    windows = [Image.fromarray(window) for window in photographs()]
    sizes = [(300, 200), (97, 131), (64, 64), (401, 37), (640, 480), (33, 250)]
    options = [(f"plain_{i}", size, "RGB", {}) for i, size in enumerate(sizes)]
    options += [(f"gray_{i}", size, "L", {}) for i, size in enumerate(sizes[:3])]
    options += [(f"turned_{i}", (150, 100), "RGB", {"exif": exif(i)}) for i in range(2, 9)]
    images = []
    for i, (name, size, mode, saved) in enumerate(options):
        suffix, scale = ((".png", 1), (".jpg", LARGER))[i % 2]
        image = (
            windows[i % len(windows)].resize([scale * side for side in size], Image.Resampling.BICUBIC).convert(mode)
        )
        images.append(folder / f"{name}{suffix}")
        image.save(images[-1], **saved)
    rng = np.random.default_rng(0)
    for name in ("clear.png", "clear.webp"):
        image = windows[1].resize((120, 90))
        alpha = np.kron(rng.choice([0, 1, 128, 255], (9, 12)), np.ones((10, 10))).astype(np.uint8)
        image.putalpha(Image.fromarray(alpha))
        images.append(folder / name)
        image.save(images[-1], lossless=True, exact=True)
    for name, colors in (("palette.png", 64), ("large.jpg", None)):
        image = windows[2].resize((1500, 1000), Image.Resampling.BICUBIC)
        images.append(folder / name)
        (image if colors is None else image.quantize(colors)).save(images[-1])
    return images


def write_classifier(path, preprocessing, classes, seed):
    """Saves a classifier with random weights whose answers to photographs differ: its logits vary by about 1.

    By the seed, no two best classes of the images are nearer than the decoders of JPEG files put them.
    """
    arguments = {"width_multiplier": 0.25, "num_experts": 4, "classes": classes, "seed": seed}
    model, card = untrained_model("condconv_mobilenet_v1", input_shape=preprocessing.input_shape, **arguments)
    images = preprocessing.evaluation_images(photographs())
    logits = np.array(model(preprocessing.scale_images(images)))
    scale = SPREAD / logits.std(axis=0).mean()
    head = keras.layers.Dense(classes, name="head")
    told_apart = keras.Model(model.input, head(model.output))
    head.set_weights([np.eye(classes) * scale, -logits.mean(axis=0) * scale])
    save_model(told_apart, dataclasses.replace(card, preprocessing=preprocessing), path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    paths = write_images(tmp_path_factory.mktemp("images"))
    assert len(paths) == 20
    return paths


@pytest.fixture(scope="module")
def color(tmp_path_factory):
    """The file of a classifier of color images, of their center."""
    path = tmp_path_factory.mktemp("color") / "color.keras"
    return write_classifier(path, Preprocessing((96, 80), 3, 127.5, 127.5, "bilinear", 0.875), classes=6, seed=3)


@pytest.fixture(scope="module")
def gray(tmp_path_factory):
    """The file of a classifier of gray images."""
    path = tmp_path_factory.mktemp("gray") / "gray.keras"
    return write_classifier(path, Preprocessing((64, 64), 1, 127.5, 127.5, "bicubic"), classes=4, seed=6)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A function of a model and of flags that returns the folder of its export with a page."""

    def write(model, *flags):
        folder = tmp_path_factory.mktemp("export") / "exported"
        processes.run("-m", "export", f"--model={model}", f"--output_dir={folder}", "--formats=web", *flags)
        return folder

    return write


@pytest.fixture(scope="module")
def browser():
    """A browser with a camera that shows a test picture, and a host that is not this machine by its name."""
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with Chromium(*flags, f"--host-resolver-rules=MAP {FAR} 127.0.0.1") as browser:
        yield browser


class Page:
    """A page that takes files as a user gives them.

    Args:
        browser: `Chromium`.
        address: of the page.
    """

    def __init__(self, browser, address):
        self._browser = browser
        browser.open(address)
        browser.wait("document.getElementById('file') && !document.getElementById('file').disabled")

    def outputs(self, path):
        """Chooses a file; returns what the model returns, a dict of name to a flat array."""
        self._browser.evaluate("document.getElementById('status').textContent = 'chosen'")
        self._browser.choose_file("#file", path)
        self._browser.wait(
            "!['chosen', 'Looking at the photo.'].includes(document.getElementById('status').textContent)"
        )
        assert self.text("#status") == ""
        return self.last()

    def last(self):
        text = self._browser.evaluate("import('./app.js').then(app => JSON.stringify(app.last))")
        return {name: np.array(values) for name, values in json.loads(text).items()}

    def text(self, selector):
        return self._browser.evaluate(f"document.querySelector({selector!r}).innerText")

    def show_from(self, score):
        """Shows the boxes from a score on."""
        self._browser.evaluate(f"Object.assign(document.getElementById('score'), {{step: 'any', value: {score}}})")
        self._browser.evaluate("document.getElementById('score').dispatchEvent(new Event('input'))")

    def drawing(self):
        """The canvas with the photo, uint8 [height, width, 4]."""
        text = self._browser.evaluate("document.getElementById('photo').toDataURL('image/png')")
        return np.array(Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2]))))

    def click(self, selector):
        self._browser.evaluate(f"document.querySelector({selector!r}).click()")


@pytest.fixture
def open_page(browser):
    """A function of an exported folder that opens its page."""
    with contextlib.ExitStack() as stack:
        yield lambda folder: Page(browser, stack.enter_context(served(folder / "web")))


def prepared(path, card):
    image = read_image(path, card.preprocessing.apply_orientation)
    return card.preprocessing.evaluation_image(image).numpy()[np.newaxis]


def as_pillow_decodes(path, card):
    """As `prepared`, with the accurate transform, which Chromium takes as well."""
    image = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    return card.preprocessing.evaluation_image(np.atleast_3d(image)).numpy()[np.newaxis]


def check_classifier(page, stored, paths):
    """Compares the page's answers to files with Keras's, the routing weights too."""
    model, card = stored.load_to_answer()
    predict, classes = stored.predictor().predict, set()
    for path in paths:
        given = prepared(path, card)
        with recorded_routing(model) as routing:
            model(card.preprocessing.scale_images(given), training=False)
        expected = predict(given)[0]
        outputs = page.outputs(path)
        received = outputs.pop("probabilities")
        tolerance = TOLERANCE[path.suffix]
        if path.suffix == ".jpg":
            np.testing.assert_allclose(received, predict(as_pillow_decodes(path, card))[0], atol=1e-3)
        np.testing.assert_allclose(received, expected, atol=tolerance, err_msg=path.name)
        assert received.argmax() == expected.argmax(), path.name
        assert page.text("#bars li span") == card.class_names[expected.argmax()]
        assert outputs.keys() == {f"routing/{name}" for name, _ in routing}
        for name, weights in routing:
            np.testing.assert_allclose(outputs[f"routing/{name}"], np.array(weights)[0], atol=tolerance)
        classes.add(int(expected.argmax()))
    return classes


def test_color_images_are_answered_as_in_keras(color, export, open_page, images):
    page = open_page(export(color, "--quantization=none"))
    assert len(check_classifier(page, StoredModel.open(color), images)) > 2


def test_gray_images_are_answered_as_in_keras(gray, export, open_page, images):
    page = open_page(export(gray, "--quantization=none"))
    assert len(check_classifier(page, StoredModel.open(gray), images)) > 2


def test_the_orientation_is_left_alone_where_evaluation_does(gray, export, open_page, images):
    folder = export(gray, "--quantization=none", "--noapply_orientation")
    stored = StoredModel.open(folder / "web/model.tflite")
    assert not stored.card.preprocessing.apply_orientation
    page, predictor = open_page(folder), stored.predictor()
    turned = [path for path in images if path.name.startswith("turned") and path.suffix == ".jpg"]
    assert len(turned) == 4
    for path in turned:
        expected = predictor.predict(prepared(path, predictor.card))[0]
        np.testing.assert_allclose(page.outputs(path)["probabilities"], expected, atol=1e-2)


@pytest.mark.parametrize("mode", ["float16", "dynamic", "int8"])
def test_rounded_files_lose_little_more_than_in_python(mode, gray, export, open_page, images):
    folder = export(gray, f"--quantization={mode}")
    file, reference = StoredModel.open(folder / "web/model.tflite").predictor(1), StoredModel.open(gray).predictor()
    page, errors = open_page(folder), []
    for path in [path for path in images if path.suffix == ".png"]:
        given = prepared(path, file.card)
        answers = np.array([page.outputs(path)["probabilities"], file.predict(given)[0]])
        errors.append(answers - reference.predict(given))
    in_browser, in_python = np.sqrt(np.square(errors).mean(axis=(0, 2)))
    assert in_python < 0.05
    # XNNPACK rounds in other places with the instructions of WebAssembly.
    assert in_browser < 1.5 * in_python


def test_the_boxes_of_a_detector(export, open_page, images):
    name = "condconv_ssd300_mobilenet_v1"
    folder = export(name, *(f"--{flag}={value}" for flag, value in DETECTOR.items()), "--quantization=none")
    page, predictor = open_page(folder), StoredModel.open(name, untrained=True, **DETECTOR).predictor()
    for path in [path for path in images if path.suffix == ".png"][:6]:
        outputs = page.outputs(path)
        expected = {name: value[0] for name, value in predictor.predict(prepared(path, predictor.card)).items()}
        assert outputs["count"] == expected["count"] == 100
        np.testing.assert_allclose(outputs["scores"], expected["scores"], atol=1e-3)
        best = slice(5)  # of which the scores tell the order
        assert outputs["classes"][best].tolist() == expected["classes"][best].tolist(), path.name
        boxes = np.clip(outputs["boxes"].reshape(-1, 4), 0, 1)
        np.testing.assert_allclose(boxes[best], expected["boxes"][best], atol=1e-3)
    score = float(expected["scores"][2])
    page.show_from(score - 0.01)
    shown = int((expected["scores"] >= score - 0.01).sum())
    assert page.text("#title") == f"{shown} found"
    names = [predictor.card.class_names[i] for i in expected["classes"]]
    assert page.text("#bars li span") == names[0]
    drawn = page.drawing()
    page.show_from(1)
    assert page.text("#title") == f"0 found, the best scores {expected['scores'][0]:.2f}"
    changed = np.argwhere((page.drawing() != drawn).any(axis=-1))
    height, width = drawn.shape[:2]
    for top, left, bottom, right in np.clip(expected["boxes"][:shown], 0, 1) * [height, width, height, width]:
        for y, x in ((top, left), (bottom, right)):
            assert np.abs(changed - [y, x]).max(axis=1).min() <= 3


def test_what_else_is_on_the_page(gray, export, open_page, browser, images):
    folder = export(gray)
    browser.events.clear()
    page = open_page(folder)
    page.outputs(images[0])
    card = json.loads((folder / "web/model.json").read_text())
    assert card["files"][0]["quantization"] == "dynamic"
    assert f"{len(card['class_names'])} classes, dynamic" in page.text("#facts")
    experts = card["files"][0]["routing_outputs"]
    cells = browser.evaluate(
        "[...document.querySelectorAll('.row')].map(row => [row.querySelector('b').innerText, "
        "[...row.querySelectorAll('i')].map(cell => Number(cell.title))])"
    )
    assert {name: len(weights) for name, weights in cells} == experts
    for name, weights in cells:
        np.testing.assert_allclose(weights, page.last()[f"routing/{name}"], atol=6e-4)
    name, weights = cells[-1]
    page.click(".row:last-child i:last-child")
    assert page.text("#touched") == f"{name}, expert {len(weights) - 1}: {weights[-1]:.3f}"
    page.click("#measure")
    browser.wait("!document.getElementById('measure').disabled")
    assert re.match(
        r"[\d.]+ ms for one image, one thread: the median of 50, each the mean of \d+\. ", page.text("#latency")
    )
    assert re.search(r"Chromium \d+, \d+ cores\.$", page.text("#latency"))
    assert "https" not in page.text("#hint")
    page.click("#camera")
    browser.wait("document.querySelector('#photo').width === 640")
    page.click("#camera")
    assert page.text("#camera") == "Use the camera"
    addresses = {urllib.parse.urlsplit(address) for address in browser.requested()}
    served = {address.netloc for address in addresses if address.scheme not in ("blob", "data")}
    assert served == {urllib.parse.urlsplit(browser.evaluate("location.href")).netloc}
    errors = [event["params"]["entry"] for event in browser.events if event["method"] == "Log.entryAdded"]
    assert not [error for error in errors if error["level"] == "error"]


def test_a_second_tap_ends_a_camera_that_has_not_started(gray, export, open_page, browser):
    page = open_page(export(gray))
    browser.evaluate("for (let i = 0; i < 2; i++) document.getElementById('camera').click()")
    assert page.text("#camera") == "Use the camera"
    page.click("#camera")
    browser.wait("document.querySelector('#photo').width === 640")
    browser.evaluate("window.filmed = document.getElementById('video').srcObject.getTracks()")
    page.click("#camera")
    assert page.text("#camera") == "Use the camera"
    assert browser.evaluate("window.filmed.map(track => track.readyState).join()") == "ended"


def test_the_last_photo_stays(gray, export, open_page, browser, images, tmp_path):
    """Whatever takes longer, and though it was chosen before."""
    page = open_page(export(gray))
    expected = page.outputs(images[0])
    large = tmp_path / "large.png"
    Image.open(images[1]).resize((6000, 4000)).save(large)
    browser.choose_file("#file", large)
    again = page.outputs(images[0])
    browser.evaluate("new Promise(resolve => setTimeout(resolve, 3000))")
    for name, values in expected.items():
        np.testing.assert_array_equal(again[name], values)
        np.testing.assert_array_equal(page.last()[name], values)


def test_far_from_localhost_there_is_no_camera(gray, export, browser):
    with served(export(gray) / "web") as address:
        page = Page(browser, address.replace("127.0.0.1", FAR))
        assert "Browsers give the camera to https and localhost only." in page.text("#hint")
        assert browser.evaluate("document.getElementById('camera').disabled")


def test_what_is_no_image_is_said(gray, export, open_page, browser, tmp_path):
    page = open_page(export(gray))
    tmp_path.joinpath("text.png").write_text("no image")
    browser.choose_file("#file", tmp_path / "text.png")
    browser.wait("document.getElementById('status').classList.contains('error')")
    assert page.text("#status").startswith("This file cannot be used: ")
