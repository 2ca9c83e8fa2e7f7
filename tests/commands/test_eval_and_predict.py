import contextlib
import csv
import dataclasses
import functools
import http.server
import io
import json
import os
import shutil
import threading

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support, top_k_accuracy_score

from condconv_keras.data import Preprocessing, evaluation_batches, open_dataset
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.models.saving import load_keras_file, save_model
from condconv_keras.stored import StoredModel
from tests import processes
from tests.images import write_digit_folder


@pytest.fixture(scope="module")
def renamed(trained_run, tmp_path_factory):
    """The run's model with other names for its classes."""
    model, card = load_keras_file(trained_run / "model.keras")
    path = tmp_path_factory.mktemp("renamed") / "m.keras"
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    save_model(model, dataclasses.replace(card, class_names=names), path)
    return path


@pytest.fixture(scope="module")
def stored(trained_run, exported, renamed):
    return {
        "run": trained_run,
        "keras": trained_run / "model.keras",
        "savedmodel": exported / "saved_model",
        "tflite": exported / "model.tflite",
        "renamed": renamed,
    }


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Held-out digits as PNG files."""
    folder = tmp_path_factory.mktemp("images")
    dataset = open_dataset("digits")
    for i, (image, _) in enumerate(dataset.examples("test").take(5)):
        Image.fromarray(image.numpy()[..., 0]).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    "kind", ["run", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("keras", "savedmodel")), "tflite"]
)
def test_eval_equals_scikit_learn_for_every_stored_form(stored, tmp_path, kind):
    flags = [] if kind == "run" else ["--dataset=digits"]
    names = ("per_class.csv", "confusion.csv", "confusion.png", "results.csv")
    flags += [f"--{name.replace('.', '_')}={tmp_path / name}" for name in names]
    # One of them by a Python of its own.
    results = json.loads(
        processes.run("eval.py", f"--model={stored[kind]}", "--json", *flags, fresh=kind == "run").stdout
    )
    predictor = StoredModel.open(stored["run"]).predictor()
    dataset = open_dataset("digits")
    batches = list(evaluation_batches(dataset, "test", predictor.card.preprocessing, 100, scaled=False))
    labels = np.concatenate([labels for _, labels in batches])
    probabilities = np.concatenate([predictor.predict(x) for x, _ in batches]).astype(np.float64)
    probabilities /= probabilities.sum(-1, keepdims=True)
    assert results["examples"] == 360
    assert results["top_1"] == pytest.approx(top_k_accuracy_score(labels, probabilities, k=1), abs=1.5 / 360)
    assert results["top_5"] == pytest.approx(top_k_accuracy_score(labels, probabilities, k=5), abs=1.5 / 360)
    assert results["loss"] == pytest.approx(log_loss(labels, probabilities), rel=1e-4)
    assert results["not_finite"] == 0
    _check_files(tmp_path, results, labels, probabilities.argmax(axis=1))
    with open(tmp_path / "results.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["model"] == str(stored[kind])
    assert float(row["top1"]) == pytest.approx(100 * results["top_1"], abs=1e-3)
    assert float(row["top5_err"]) == pytest.approx(100 - 100 * results["top_5"], abs=1e-3)
    parameters = sum(np.size(weight) for weight in load_keras_file(stored["keras"])[0].trainable_weights)
    assert row["param_count"] == (f"{parameters / 1e6:.2f}" if kind in ("run", "keras") else "")
    assert (row["img_size"], row["crop_pct"], row["interpolation"]) == ("64", "1.000", "bicubic")


def _check_files(folder, results, labels, predicted):
    """Checks the confusion matrix against scikit-learn's, to one image, and the other files against the matrix."""
    header, *rows = csv.reader((folder / "confusion.csv").read_text().splitlines())
    assert header[1:] == [row[0] for row in rows] == list("0123456789")
    matrix = np.array([row[1:] for row in rows], int)
    assert np.abs(matrix - confusion_matrix(labels, predicted)).sum() <= 2
    truth, answers = (places.repeat(matrix.ravel()) for places in np.indices(matrix.shape).reshape(2, -1))
    macro = precision_recall_fscore_support(truth, answers, average="macro", zero_division=0)[:3]
    assert [results[f"{name}_macro"] for name in ("precision", "recall", "f1")] == pytest.approx(macro)
    per_class = precision_recall_fscore_support(truth, answers, zero_division=0)
    rows = list(csv.DictReader((folder / "per_class.csv").read_text().splitlines()))
    assert [(row["class"], row["name"]) for row in rows] == [(str(i), str(i)) for i in range(10)]
    for name, values in zip(("precision", "recall", "f1", "support"), per_class, strict=True):
        assert [float(row[name]) for row in rows] == pytest.approx(values, abs=1e-6)
    with Image.open(folder / "confusion.png") as image:
        image.load()


@pytest.fixture(scope="module")
def averaged(trained_run, tmp_path_factory):
    """The run as one with averaged weights: its last ones are `model_raw.keras`, the average is another model."""
    folder = tmp_path_factory.mktemp("averaged") / "run"
    shutil.copytree(trained_run, folder)
    (folder / "model.keras").rename(folder / "model_raw.keras")
    model, card = load_keras_file(folder / "model_raw.keras")
    model.set_weights([0.5 * weight for weight in model.get_weights()])
    save_model(model, card, folder / "model.keras")
    return folder


def test_a_run_has_raw_weights_beside_the_averaged_ones(stored, averaged):
    images = np.random.default_rng(0).uniform(0, 255, (4, *_input_size(stored), 1)).astype(np.float32)
    expected = StoredModel.open(stored["run"]).predictor().predict(images)
    np.testing.assert_array_equal(StoredModel.open(averaged, raw=True).predictor().predict(images), expected)
    assert np.abs(StoredModel.open(averaged).predictor().predict(images) - expected).max() > 0.01


def test_eval_of_the_training_split_with_raw_weights(averaged):
    flags = ("--split=train", "--raw_weights", "--json")
    results = json.loads(processes.run("eval.py", f"--model={averaged}", *flags).stdout)
    assert (results["examples"], results["model"]) == (1437, str(averaged / "model_raw.keras"))


@pytest.mark.parametrize(
    "kind", ["run", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("keras", "savedmodel")), "tflite"]
)
def test_predict_gives_the_same_classes_for_every_stored_form(stored, images, kind):
    finished = processes.run("predict.py", f"--model={stored[kind]}", "--top_k=3", "--json", images)
    predictions = json.loads(finished.stdout)["predictions"]
    dataset = open_dataset("digits")
    predictor = StoredModel.open(stored["run"]).predictor()
    expected = predictor.predict(
        np.stack([predictor.card.preprocessing.evaluation_image(x) for x, _ in dataset.examples("test").take(5)])
    )
    assert len(predictions) == 5
    for prediction, probabilities in zip(predictions, expected, strict=True):
        order = np.argsort(-probabilities, kind="stable")[:3]
        assert [c["name"] for c in prediction["classes"]] == [str(i) for i in order]
        np.testing.assert_allclose([c["probability"] for c in prediction["classes"]], probabilities[order], atol=1e-5)


@pytest.mark.parametrize("model", ["renamed", pytest.param("keras", marks=pytest.mark.slow)])
def test_eval_refuses_classes_of_another_meaning(stored, tmp_path, model):
    write_digit_folder(tmp_path / "images", per_class=2, classes=range(10))
    theirs = "'zero', 'one'" if model == "renamed" else "'0', '1'"
    contains = ["only in the data: 'digit_0', 'digit_1', 'digit_2', 'digit_3', 'digit_4' and 5 more", theirs]
    processes.assert_refused(
        "eval.py", f"--model={stored[model]}", f"--dataset={tmp_path / 'images'}", contains=contains
    )


def test_eval_of_a_folder_of_some_classes_in_another_order(gray_model, tmp_path):
    """As text, 10 comes before 2; class 4 is seen as 5 unless that is not asked for."""
    for k in (2, 4, 10):
        (tmp_path / f"images/test/{k}").mkdir(parents=True)
        for i in range(2):
            gray = 20 * k + 11 * (k == 4)
            Image.fromarray(np.full((8, 8, 3), gray, np.uint8)).save(tmp_path / f"images/test/{k}/{i}.png")
    finished = processes.run("eval.py", f"--model={gray_model}", f"--dataset={tmp_path / 'images'}", "--json")
    results = json.loads(finished.stdout)
    assert results["examples"] == 6
    assert results["top_1"] == pytest.approx(2 / 3)
    assert (results["top_1_subset"], results["subset_classes"]) == (1, 3)
    assert "3 of the model's 12 classes" in finished.stderr and "in another order" in finished.stderr


@pytest.fixture(scope="module")
def gray_model(tmp_path_factory):
    """A `.keras` file of the classes 0 to 11, each of a gray of 20 times its number."""
    dense = keras.layers.Dense(12)
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(inputs)))
    gray = np.arange(12) * 20.0  # the nearest of these has the largest 2 x gray - gray^2
    dense.set_weights([np.tile(2 * gray / 3, (3, 1)) / 200, -(gray**2) / 200])
    path = tmp_path_factory.mktemp("gray") / "m.keras"
    save_model(model, ModelCard("mine", tuple(map(str, range(12))), Preprocessing((8, 8), 3, 0.0, 1.0)), path)
    return path


def test_predict_answers_for_every_path_it_was_given(stored, images):
    image = images / "0.png"
    finished = processes.run("predict.py", f"--model={stored['tflite']}", "--top_k=1", "--csv", image, image)
    _, first, second = finished.stdout.splitlines()
    assert first == second


def test_predict_formats(stored, images):
    text = processes.run("predict.py", f"--model={stored['tflite']}", "--top_k=2", images / "0.png").stdout
    assert "0.png" in text
    rows = list(
        csv.DictReader(
            io.StringIO(
                processes.run("predict.py", f"--model={stored['tflite']}", "--top_k=20", "--csv", images).stdout
            )
        )
    )
    assert len(rows) == 50  # ten classes for each of five images
    assert sum(float(row["probability"]) for row in rows[:10]) == pytest.approx(1, abs=1e-4)


def test_predict_takes_addresses_patterns_pipes_and_standard_input(stored, images, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(
        target=lambda: (tmp_path / "pipe").write_bytes((images / "3.png").read_bytes()), daemon=True
    ).start()
    output = tmp_path / "found.csv"
    arguments = ("predict.py", f"--model={stored['tflite']}", "--top_k=10", f"--output={output}")
    with _served(images) as address:
        words = (f"{address}/1.png", images / "[02].png", "-", tmp_path / "pipe", f"{address}/9.png")
        finished = processes.run(*arguments, *words, stdin=images / "4.png", check=False)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert f"error: cannot download '{address}/9.png' (HTTP Error 404: " in finished.stderr
    shown = {words[0]: 1, str(images / "0.png"): 0, str(images / "2.png"): 2, "-": 4, str(words[3]): 3}
    with open(output, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows[::10]] == list(shown)
    expected = json.loads(
        processes.run("predict.py", f"--model={stored['tflite']}", "--top_k=10", "--json", images).stdout
    )
    for row in rows:
        classes = expected["predictions"][shown[row["image"]]]["classes"]
        assert row["class"] == classes[int(row["rank"]) - 1]["name"]
        assert float(row["probability"]) == pytest.approx(classes[int(row["rank"]) - 1]["probability"], abs=1e-5)


@contextlib.contextmanager
def _served(folder):
    """Serves the files of a folder on this machine; yields the address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_file_that_is_no_image_is_named_and_the_others_are_classified(stored, images, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    finished = processes.run("predict.py", f"--model={stored['tflite']}", "--json", bad, images / "0.png", check=False)
    assert finished.returncode == 1
    assert len(json.loads(finished.stdout)["predictions"]) == 1
    assert [line for line in finished.stderr.splitlines() if str(bad) in line and line.startswith("error: ")]
    assert "Traceback" not in finished.stderr
    # Where none is an image, the input is refused.
    finished = processes.run("predict.py", f"--model={stored['tflite']}", "--json", bad, check=False)
    assert (finished.returncode, json.loads(finished.stdout)) == (2, {"predictions": []})


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        (["eval.py", "--model=/nowhere"], "nothing lies at '/nowhere'"),
        (["eval.py", "--model={text}"], "is none of them"),
        (["eval.py", "--model={tflite}"], "--dataset is needed"),
        (["eval.py", "--model={run}", "--raw_weights"], "does not average"),
        (["eval.py", "--model={keras}", "--raw_weights"], "only a run folder"),
        (
            ["eval.py", "--model=mobilenet_v1", "--weights=imagenet", "--raw_weights"],
            "--raw_weights is for run folders",
        ),
        (
            ["eval.py", "--model={run}", "--per_class_csv={tmp}/x.keras"],
            "--per_class_csv takes a file that ends in .csv",
        ),
        (["eval.py", "--model={run}", "--confusion_png={text}/x.png"], "is a file"),
        (["eval.py", "--model={run}", "--confusion_csv={tmp}/folder.csv"], "--confusion_csv takes a file"),
        (["eval.py", "--model={run}", "--per_class_csv={tmp}/x.csv", "--confusion_csv={tmp}/x.csv"], "the same file"),
        (["eval.py", "--model={run}", "--results_csv={tmp}/other.csv"], "expected a file with the columns model,"),
        (["predict.py", "--model={run}"], "received none"),
        (["predict.py", "--model={run}", "/nowhere.png"], "/nowhere.png"),
        (["predict.py", "--model={run}", "{tmp}/empty"], "has no image"),
        (["predict.py", "--model={run}", "--json", "--csv", "{text}"], "exclude each other"),
        (["predict.py", "--model={run}", "--top_k=0", "{text}"], "--top_k=0"),
        (["predict.py", "--model={run}", "--output={tmp}/x.txt", "{text}"], "ends in .csv or .json"),
        (["predict.py", "--model={run}", "--output={tmp}/folder.csv", "{text}"], "--output takes a file"),
        (["predict.py", "--model={run}", "--output={tmp}/x.csv", "--json", "{text}"], "has the format of its ending"),
        (["predict.py", "--model={run}", "{tmp}/*.gif"], "there are none"),
        (["-m", "export", "--model={tflite}", "--output_dir={tmp}/out"], "is a tflite export"),
        (["-m", "export", "--model={run}", "--output_dir={tmp}/out", "--formats=onnx"], "unknown format 'onnx'"),
        (["-m", "export", "--model={run}", "--output_dir={run}"], "is not an empty folder"),
        (["-m", "export", "--model={run}", "--output_dir={text}/x"], "is a file"),
        (["-m", "export", "--model={run}", "--output_dir={tmp}/out", "--formats="], "at least one of"),
        (["-m", "export", "--model={corrupt}", "--output_dir={tmp}/out"], "expected a model saved as .keras"),
        (["eval.py", "--model={corrupt}", "--dataset=digits"], "expected a model saved as .keras"),
        (["predict.py", "--model={corrupt}", "{corrupt}"], "expected a model saved as .keras"),
        (["predict.py", "--model={exported}", "{text}"], "give one of them: "),
        (["-m", "models", "--cvs"], "--cvs"),
        (["-m", "benchmarks.layers", "--batch=abc"], "abc"),
    ],
)
def test_wrong_input_is_one_line_at_once(stored, tmp_path, arguments, contains):
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "corrupt.keras").write_bytes(stored["keras"].read_bytes()[:1000])
    names = {**stored, "tmp": tmp_path, "text": tmp_path / "text.txt", "corrupt": tmp_path / "corrupt.keras"}
    names["exported"] = stored["tflite"].parent
    arguments = [argument.format(**names) for argument in arguments]
    processes.assert_refused(*arguments, contains=contains, **processes.without_frameworks(tmp_path))
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        (["eval.py", "--model={run}", "--split=tset"], "train, test"),
        (["predict.py", "--model={run}", "--output={tmp}/found.csv", "{corrupt}"], "expected an image"),
    ],
)
def test_damaged_files_are_one_line(stored, tmp_path, arguments, contains):
    (tmp_path / "corrupt.keras").write_bytes(stored["keras"].read_bytes()[:1000])
    (tmp_path / "found.csv").write_text("mine")
    names = {**stored, "tmp": tmp_path, "corrupt": tmp_path / "corrupt.keras"}
    processes.assert_refused(*(argument.format(**names) for argument in arguments), contains=contains)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "found.csv").read_text() == "mine"


def test_the_exported_folder(exported):
    names = {path.name for path in exported.iterdir()}
    assert names >= {"labels.txt", "model.json", "model.tflite", "saved_model"}
    assert names - {"labels.txt", "model.json", "saved_model"} == {path.name for path in exported.glob("*.tflite")}
    assert (exported / "labels.txt").read_text().split() == list("0123456789")
    assert (exported / "saved_model/assets.extra/labels.txt").read_text() == (exported / "labels.txt").read_text()


def test_every_exported_file_gives_the_classes_of_the_run(stored, exported):
    run = StoredModel.open(stored["run"]).predictor()
    batches = evaluation_batches(open_dataset("digits"), "test", run.card.preprocessing, 100, scaled=False)
    images, _ = next(iter(batches))
    expected = run.predict(images)
    for path in (exported / "saved_model", *exported.glob("*.tflite")):
        received = StoredModel.open(path).predictor().predict(images.numpy())
        exact = path.name in ("saved_model", "model.tflite")
        np.testing.assert_allclose(received, expected, atol=1e-4 if exact else 0.2, err_msg=path.name)
        same = (received.argmax(-1) == expected.argmax(-1)).mean()
        assert same >= (1 if exact else 0.95), path.name


def test_the_saved_model_takes_any_batch(stored):
    predict = StoredModel.open(stored["savedmodel"]).predictor().predict
    images = np.random.default_rng(0).uniform(0, 255, (17, *_input_size(stored), 1)).astype(np.float32)
    together = predict(images)
    assert together.shape == (17, 10)
    for start, stop in ((0, 1), (1, 3), (3, 17)):
        np.testing.assert_allclose(predict(images[start:stop]), together[start:stop], atol=1e-5)


def _input_size(stored):
    return StoredModel.open(stored["savedmodel"]).predictor().card.preprocessing.input_size
