"""`eval.py` and `predict.py` with SavedModels that this library has not written."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from condconv_keras import CondConv2D
from condconv_keras.data import Preprocessing, evaluation_batches, open_dataset
from condconv_keras.data.input.decoding import read_image
from condconv_keras.stored.foreign import Description, ForeignSavedModel
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.softmax import softmax
from tests import processes
from tests.data.detection_folders import save_image
from tests.seeds import set_seed

NAMES = tuple("0123456789")
SCALE = ("--mean=120", "--std=60")
PREPROCESSING = Preprocessing((16, 16), 1, 120.0, 60.0, "bilinear")


class _Module(tf.Module):
    """Rows of numbers by a linear map of the pixels, in the forms that other programs give their signatures."""

    def __init__(self, scale=1.0):
        super().__init__()
        kernel = np.random.default_rng(0).normal(size=(16 * 16, 10)) * scale
        self.kernel = tf.Variable(kernel, dtype=tf.float32)

    def logits(self, images):
        return tf.reshape(images, (-1, 16 * 16)) @ self.kernel

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 1], tf.uint8, name="pixels")])
    def of_pixels(self, pixels):
        return {"logits": self.logits(tf.cast(pixels, tf.float32) / 255)}

    @tf.function(input_signature=[tf.TensorSpec([2, 16, 16, 1], tf.float32, name="x")])
    def of_two(self, x):
        logits = tf.reshape(x, (2, 16 * 16)) @ self.kernel
        return {"classes": tf.argmax(logits, -1), "p": tf.nn.softmax(logits), "logits": logits}

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 1], tf.float32, name="x")])
    def small(self, x):
        return {"sigmoids": tf.sigmoid(self.logits(x))}

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 1], tf.float32, name="x")])
    def percent(self, x):
        return {"percent": 100 * tf.nn.softmax(self.logits(x))}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 16, 16, 1], tf.float32, name="x"),
            tf.TensorSpec([], tf.float32, name="temperature"),
        ]
    )
    def of_several(self, x, temperature):
        return {"logits": self.logits(x) / temperature}

    @tf.function(input_signature=[tf.TensorSpec([None, 1, None, None], tf.float32, name="x")])
    def of_any_size(self, x):
        return {"logits": x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="files")])
    def of_files(self, files):
        return {"logits": files}

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 1], tf.int8, name="x")])
    def of_int8(self, x):
        return {"logits": self.logits(tf.cast(x, tf.float32))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """SavedModels of TensorFlow and of `keras.Model.export`, and files of names."""
    folder = tmp_path_factory.mktemp("foreign")
    module = _Module()
    signatures = {
        name: getattr(module, name)
        for name in ("of_two", "small", "percent", "of_several", "of_any_size", "of_files", "of_int8")
    }
    tf.saved_model.save(module, str(folder / "module"), signatures={"serving_default": module.of_pixels, **signatures})
    set_seed(0)
    layers = [CondConv2D(4, 3, num_experts=2, strides=2), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential([keras.Input((16, 16, 1)), *layers])
    model.export(folder / "of_keras", verbose=False)
    model.save(folder / "model.keras")
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    (folder / "three.txt").write_text("a\nb\nc\n")
    (folder / "hole.txt").write_text("a\n\nc\n")
    return folder


def _evaluated(folder, name, *flags):
    arguments = (f"--model={folder / name}", f"--class_names={folder / 'names.txt'}", "--dataset=digits", *flags)
    return json.loads(processes.run("eval.py", *arguments, "--interpolation=bilinear", "--json").stdout)


def _expected(predict, preprocessing=PREPROCESSING):
    """Top-1 and the mean cross entropy, by NumPy."""
    batches = evaluation_batches(open_dataset("digits"), "test", preprocessing, 100, scaled=False)
    rows, labels = zip(*((predict(images.numpy()), labels.numpy()) for images, labels in batches), strict=True)
    rows, labels = np.concatenate(rows), np.concatenate(labels)
    rows, labels = rows[labels >= 0], labels[labels >= 0]
    return (rows.argmax(-1) == labels).mean(), -np.log(np.maximum(rows[np.arange(len(labels)), labels], 1e-30)).mean()


def test_a_saved_model_of_keras_is_evaluated(folder):
    model = keras.saving.load_model(folder / "model.keras")
    results = _evaluated(folder, "of_keras", *SCALE)
    top_1, loss = _expected(lambda images: np.asarray(model(PREPROCESSING.scale_images(images))))
    assert (results["kind"], results["examples"]) == ("savedmodel", 360)
    assert results["top_1"] == pytest.approx(top_1, abs=1e-9)
    assert results["loss"] == pytest.approx(loss, rel=1e-4)


def test_one_of_pixels_is_given_pixels(folder):
    kernel = _Module().kernel.numpy()

    def predict(images):
        return softmax(np.rint(images).reshape(-1, 256) / 255 @ kernel)

    results, (top_1, loss) = _evaluated(folder, "module"), _expected(predict)
    assert results["top_1"] == pytest.approx(top_1, abs=1e-9)
    assert results["loss"] == pytest.approx(loss, rel=1e-4)


def test_a_signature_of_two_images_with_named_tensors(folder, tmp_path):
    images = {name: save_image(tmp_path / name, seed=i) for i, name in enumerate(("a.png", "b.png", "c.png"))}
    flags = ["--signature=of_two", "--input_name=x", "--output_name=p", *SCALE, "--interpolation=bilinear", "--json"]
    arguments = (f"--model={folder / 'module'}", f"--class_names={folder / 'names.txt'}", *flags)
    found = json.loads(processes.run("predict.py", *arguments, "--top_k=10", tmp_path).stdout)["predictions"]
    assert len(found) == len(images)
    for prediction in found:
        image = PREPROCESSING.evaluation_image(read_image(prediction["image"])).numpy()
        rows = softmax(PREPROCESSING.scale_images(image[None]).numpy().reshape(1, 256) @ _Module().kernel.numpy())[0]
        received = {entry["name"]: entry["probability"] for entry in prediction["classes"]}
        assert [received[name] for name in NAMES] == pytest.approx(rows.tolist(), abs=1e-5)


def _predictor(folder, name="module", **fields):
    fields = {"class_names": str(folder / "names.txt"), "preprocessing": {"mean": 120.0, "std": 60.0}, **fields}
    return ForeignSavedModel(folder / name, Description(**fields)).predictor()


@pytest.mark.parametrize("output", ["p", "logits"])
def test_what_the_output_is_is_told_by_its_values(folder, output):
    predictor = _predictor(folder, signature="of_two", output_name=output)
    assert predictor.card.returns == {"p": "probabilities", "logits": "logits"}[output]
    images = np.random.default_rng(1).uniform(0, 255, (5, 16, 16, 1)).astype("float32")
    expected = softmax(((images - 120) / 60).reshape(5, 256) @ _Module().kernel.numpy())
    np.testing.assert_allclose(predictor.predict(images), expected, atol=1e-5)
    assert predictor.card.preprocessing == Preprocessing((16, 16), 1, 120.0, 60.0)
    assert (predictor.card.model, predictor.card.class_names) == ("module", NAMES)


def test_the_labels_in_the_folder_are_the_names(folder, tmp_path):
    path = shutil.copytree(folder / "module", tmp_path / "m")
    (path / "assets").mkdir(exist_ok=True)
    (path / "assets/labels.txt").write_text("".join(f"digit {name}\n" for name in NAMES))
    assert _predictor(tmp_path, "m", class_names=None, preprocessing={}).card.class_names[3] == "digit 3"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"class_names": "three.txt"}, r"expected an output \[images, 3\], .*module' is \[images, 10\]"),
        ({"class_names": "hole.txt"}, "the name of a class on every line of .*hole.txt', found an empty line"),
        ({"class_names": "none.txt"}, "none.txt' cannot be read"),
        ({"preprocessing": {"mean": 1.0}}, "`mean` is for a signature that takes floats, that of .* takes pixels"),
        ({"signature": "of_tow"}, "unknown signature 'of_tow'. Did you mean 'of_two'"),
        ({"signature": "of_two"}, "expected `output_name`, one of the outputs of .*: classes, logits, p$"),
        ({"signature": "of_two", "output_name": "q"}, "unknown output 'q'"),
        ({"signature": "of_two", "output_name": "classes"}, "expected floats for each class, 'classes' .* is int64"),
        ({"signature": "of_several"}, "expected `input_name`, one of the inputs of .*: temperature, x"),
        ({"signature": "of_several", "input_name": "x"}, "TensorFlow cannot run .*temperature"),
        ({"signature": "of_any_size"}, r"of a known size, 'x' of .* is float32 \(None, 1, None, None\)"),
        ({"signature": "of_files"}, "takes numbers .*'files' of .* is string"),
        ({"signature": "of_int8"}, "takes int8, which does not say what stands for a pixel of 255"),
        ({"signature": "small", "preprocessing": {"mean": 0.0, "std": 255.0}}, "`returns='logits'` says so"),
        ({"signature": "percent"}, "returns numbers that sum to 100 for every image, as in percent"),
        ({"signature": "small", "returns": "probabilities"}, "expected probabilities of .*`returns='logits'` says so"),
        ({"signature": "small", "preprocessing": {}}, "takes floats: give `mean` and `std`"),
        ({"signature": "small", "preprocessing": {"mean": (1.0, 2.0, 3.0), "std": 1.0}}, "one number for each of 1"),
    ],
)
def test_what_does_not_fit_is_one_line(folder, fields, message):
    fields = {"preprocessing": {"mean": 120.0, "std": 60.0} if "signature" in fields else {}, **fields}
    if "class_names" in fields:
        fields["class_names"] = str(folder / fields["class_names"])
    images = np.random.default_rng(1).uniform(0, 255, (2, 16, 16, 1)).astype("float32")
    with pytest.raises(UserError, match=message) as refusal:
        _predictor(folder, **fields).predict(images)
    assert "\n" not in str(refusal.value)


def test_numbers_that_may_be_either_are_what_the_user_says(folder):
    predictor = _predictor(folder, signature="small", returns="logits")
    images = np.random.default_rng(1).uniform(0, 255, (2, 16, 16, 1)).astype("float32")
    sigmoids = 1 / (1 + np.exp(-((images - 120) / 60).reshape(2, 256) @ _Module().kernel.numpy()))
    np.testing.assert_allclose(predictor.predict(images), softmax(sigmoids), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        (["eval.py", "--model={module}", "--dataset=digits"], ["give --class_names", "--mean and --std"]),
        (["predict.py", "--model={module}", "{image}"], "give --class_names"),
        (["predict.py", "--model={module}", "--std=0", "{image}"], "--std is a finite number other than 0"),
        (["eval.py", "--model={old}", "--dataset=digits", "--mean=1"], "--mean is for SavedModels of other programs"),
        (["predict.py", "--model={old}", "--returns=logits", "{image}"], "--returns is for SavedModels of other"),
        (["-m", "export", "--model={module}", "--output_dir={tmp}/out"], "is a savedmodel export: it has no layers"),
        (["train.py", "--model=mobilenet_v1", "--weights={module}", "--model_dir={tmp}/out"], "network.json"),
    ],
)
def test_wrong_flags_are_one_line_at_once(folder, tmp_path, arguments, contains):
    save_image(tmp_path / "image.png")
    names = {"module": folder / "module", "image": tmp_path / "image.png", "tmp": tmp_path}
    names["old"] = processes.ROOT / "tests/fixtures/v0_1/exported/saved_model"
    arguments = [argument.format(**names) for argument in arguments]
    processes.assert_refused(*arguments, contains=contains, **processes.without_frameworks(tmp_path))
