import dataclasses
import types

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, Routing
from condconv_keras.data import Preprocessing, open_dataset
from condconv_keras.export.check.export_check import ExportCheck
from condconv_keras.export.check.representative import DatasetImages, check_images
from condconv_keras.export.formats import SAVED_MODEL, TFLITE
from condconv_keras.export.manifest import write_cards
from condconv_keras.export.saved_model.writing import write_saved_model
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.tasks.classification import predictor
from condconv_keras.tasks.classification.answers import Comparison, centered_log_probabilities
from condconv_keras.tasks.classification.predictor import keras_predict
from condconv_keras.tasks.error_figures import EQUAL_DB
from condconv_keras.utils.errors import UserError
from tests.heads import CARD as OF_HEADS
from tests.heads import HEADS, IMAGES, model_with
from tests.seeds import set_seed

PREPROCESSING = Preprocessing((8, 8), 1, 127.5, 127.5)
CARD = ModelCard("small", tuple("0123456789"), PREPROCESSING)
FLOAT32, DYNAMIC, INT8 = (TFLITE[name] for name in ("none", "dynamic", "int8"))


@pytest.fixture(scope="module")
def model():
    """A small CondConv network with very different kernels, trained to be sure of its answers on some digits."""
    set_seed(0)
    inputs = keras.Input((8, 8, 1))
    features = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
    routing = Routing(4, kernel_initializer=keras.initializers.RandomNormal(stddev=3.0), name="routing")(features)
    mixed = CondConv2D(32, 3, num_experts=4, activation="relu", name="mixed")(features, routing)
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(mixed))
    model = keras.Model(inputs, outputs)
    dataset = open_dataset("digits")
    images, labels = next(iter(dataset.examples("train").batch(2000)))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.fit(PREPROCESSING.scale_images(images), labels, batch_size=32, epochs=3, verbose=0)
    return model


@pytest.fixture(scope="module")
def images():
    return check_images(DatasetImages(open_dataset("digits")), PREPROCESSING)


@pytest.fixture
def check(model, images, monkeypatch):
    """A function that lets a doctored file through the check.

    It takes a function of images and the number of threads that returns probabilities, and a mode.
    """

    def run(predict, mode, dataset=None, examples=None, model=model):
        def open_doctored(self, path, model, card, threads=None):
            return lambda images: predict(images, threads)

        monkeypatch.setattr(type(mode), "predictor", open_doctored)
        return ExportCheck(model, CARD, images, dataset, examples, trained=dataset is not None)(
            types.SimpleNamespace(name="doctored.tflite"), mode
        )

    return run


def _with_noise(probabilities, snr_db, seed=0):
    """Probabilities whose centered logarithms have white noise of a given level."""
    logarithms = centered_log_probabilities(probabilities)
    noise = np.random.default_rng(seed).standard_normal(logarithms.shape)
    noise -= noise.mean(axis=-1, keepdims=True)
    noise *= np.sqrt(np.square(logarithms).sum() / np.square(noise).sum()) * 10 ** (-snr_db / 20)
    return _softmax(logarithms + noise)


def _softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(("mode", "passing", "failing"), [("float16", 61, 59), ("dynamic", 21, 19), ("int8", 21, 19)])
def test_the_thresholds_of_noise(check, model, mode, passing, failing):
    predict = keras_predict(model, CARD)
    comparison, accuracy = check(lambda images, _: _with_noise(predict(images), passing), TFLITE[mode])
    assert comparison.snr_db == pytest.approx(passing, abs=0.1)
    assert accuracy is None
    with pytest.raises(UserError, match=rf"doctored\.tflite .* SNR {failing}\.\d dB \(at least"):
        check(lambda images, _: _with_noise(predict(images), failing), TFLITE[mode])


def test_what_rounding_alone_costs_is_no_failure(check, model):
    """A network may be so sensitive that float16 weights keep less than 60 dB, in Keras as in any file."""
    sensitive = keras.models.clone_model(model)
    sensitive.set_weights(model.get_weights())
    for variable in sensitive.layers[1].weights:  # below 2^-14 float16 has fewer and fewer bits
        variable.assign(variable * 2.0**-16)
    bank = sensitive.get_layer("mixed").bank
    bank.assign(bank * 2.0**16)
    before = sensitive.get_weights()
    predict = keras_predict(sensitive, CARD)
    comparison, _ = check(lambda images, _: _with_noise(predict(images), 54), TFLITE["float16"], model=sensitive)
    assert comparison.snr_db == pytest.approx(54, abs=0.1)
    with pytest.raises(UserError, match=r"SNR 20\.0 dB \(at least [45]\d\)"):
        check(lambda images, _: _with_noise(predict(images), 20), TFLITE["float16"], model=sensitive)
    for received, expected in zip(sensitive.get_weights(), before, strict=True):
        np.testing.assert_array_equal(received, expected)


def test_weights_that_float16_cannot_hold_are_refused(check, model):
    large = keras.models.clone_model(model)
    large.set_weights([w * 1e6 if w.ndim == 4 else w for w in model.get_weights()])
    predict = keras_predict(large, CARD)
    for answers in (np.full((16, 10), np.nan), np.roll(predict(np.zeros((16, 8, 8, 1), np.float32)), 1, axis=-1)):
        with pytest.raises(UserError, match=r"\(at least 20\)"):
            check(lambda images, _, answers=answers: answers, TFLITE["float16"], model=large)


def _first_kernels(model):
    """A predictor that mixes every image's kernel by the first image's routing weights."""
    routing = model.get_layer("routing")
    head = keras.Sequential(model.layers[model.layers.index(model.get_layer("mixed")) + 1 :])
    features = keras.Model(model.input, routing.input)

    def predict(images, threads):
        maps = features(PREPROCESSING.scale_images(images))
        weights = np.repeat(routing(maps[:1]), len(images), axis=0)
        return keras.ops.softmax(head(model.get_layer("mixed")(maps, weights))).numpy()

    return predict


@pytest.mark.parametrize("mode", [FLOAT32, DYNAMIC, INT8])
@pytest.mark.parametrize("sabotage", ["first kernels", "nan", "one nan", "permuted", "four threads", "uniform"])
def test_a_broken_file_is_caught(check, model, mode, sabotage):
    honest = keras_predict(model, CARD)
    one_nan = np.zeros((16, 10))
    one_nan[15, 9] = np.nan
    predict = {
        "first kernels": _first_kernels(model),
        "nan": lambda images, threads: np.full((len(images), 10), np.nan, np.float32),
        "one nan": lambda images, threads: honest(images) + one_nan,
        "permuted": lambda images, threads: np.roll(honest(images), 1, axis=-1),
        "four threads": lambda images, threads: honest(images if threads == 1 else images[::-1]),
        "uniform": lambda images, threads: np.full((len(images), 10), 0.1, np.float32),
    }[sabotage]
    with pytest.raises(UserError, match=r"doctored\.tflite differs from the Keras model") as error:
        check(predict, mode)
    assert ("with num_threads=4" in str(error.value)) == (sabotage == "four threads")
    assert "\n" not in str(error.value)


def test_the_honest_answers_pass(check, model):
    for mode in (SAVED_MODEL, *TFLITE.values()):
        comparison, _ = check(lambda images, _: keras_predict(model, CARD)(images), mode)
        assert comparison == Comparison(16, 0.0, EQUAL_DB, 16, 0.0)


def _forgetful(predict, wrong):
    """A predictor that gives its first `wrong` images in all but the check's 16 to the class after their own."""
    seen = 0

    def forget(images, threads):
        nonlocal seen
        answers = predict(images)
        if len(images) == 16:
            return answers
        rows = slice(0, max(wrong - seen, 0))
        seen += len(images)
        answers[rows] = np.roll(answers[rows], 1, axis=-1)
        return answers

    return forget


def test_the_accuracy_may_fall_by_one_point(check, model):
    dataset = open_dataset("digits")
    predict = keras_predict(model, CARD)
    _, accuracy = check(_forgetful(predict, 3), INT8, dataset)
    assert accuracy.examples == 360
    assert 0.9 < accuracy.keras_top_1 <= 1
    assert 1 / 360 <= accuracy.keras_top_1 - accuracy.top_1 <= 3 / 360 + 1e-9
    with pytest.raises(UserError, match=r"top-1 0\.\d+ on 360 held-out images \(Keras 0\.\d+, at most 0.0100 more\)"):
        check(_forgetful(predict, 20), INT8, dataset)
    assert check(_forgetful(predict, 0), INT8, dataset, examples=40)[1].examples == 40


def test_one_of_few_examples_may_be_lost(check, model):
    predict = keras_predict(model, CARD)
    assert check(_forgetful(predict, 1), INT8, open_dataset("digits"), examples=20)[1].examples == 20
    with pytest.raises(UserError, match=r"at most 0\.0500 more"):
        check(_forgetful(predict, 5), INT8, open_dataset("digits"), examples=20)


def test_a_measured_accuracy_takes_the_place_of_ten_decibels(check, model):
    predict = keras_predict(model, CARD)

    def noisy(images, threads):
        return _with_noise(predict(images), 15) if len(images) == 16 else predict(images)

    check(noisy, INT8, open_dataset("digits"))
    with pytest.raises(UserError, match="at least 20"):
        check(noisy, INT8)


def test_the_images_tell_the_kernels_apart(model, images):
    """The check is worth something only if kernels of the first image would show on the others."""
    weights = keras.Model(model.input, model.get_layer("routing").output)(PREPROCESSING.scale_images(images))
    assert np.asarray(weights).std(axis=0).max() > 0.05


def test_a_saved_model_passes_and_another_models_does_not(model, images, tmp_path):
    path = tmp_path / "saved_model"
    write_saved_model(model, CARD, path)
    write_cards(tmp_path, CARD)
    comparison, _ = ExportCheck(model, CARD, images)(path, SAVED_MODEL)
    assert comparison.relative_error < 1e-5
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    bank = other.get_layer("mixed").bank
    bank.assign(np.asarray(bank)[::-1])
    with pytest.raises(UserError, match="saved_model differs from the Keras model: "):
        ExportCheck(other, CARD, images)(path, SAVED_MODEL)


def test_what_a_card_says_is_not_believed(images, monkeypatch):
    """The reference is what the model itself returns, however the probabilities that files are to answer are made."""
    model, card = model_with(HEADS["softmax layer"]), dataclasses.replace(OF_HEADS, returns="logits")
    colors = np.repeat(IMAGES, 2, axis=0)
    assert ExportCheck(model, OF_HEADS, colors)
    with pytest.raises(UserError, match="the card of the model 'mine' says that it returns logits, and it ends in a s"):
        ExportCheck(model, card, colors)
    # Where the graph does not show it, the numbers do.
    monkeypatch.setattr(predictor, "check_logits", lambda outputs, card: None)
    with pytest.raises(UserError, match="says that it returns logits, and it returns numbers that sum to 1 for every"):
        ExportCheck(model, card, colors)
    # Nobody looks.
    monkeypatch.setattr(predictor, "check_rows_of_logits", lambda rows, card: None)
    with pytest.raises(UserError, match=r"the card of the model 'mine' does not say what it returns: .* error of \d"):
        ExportCheck(model, card, colors)


def test_a_file_that_litert_refuses(model, images, tmp_path):
    write_cards(tmp_path, CARD)
    (tmp_path / "model.tflite").write_bytes(b"TFL3" * 100)
    with pytest.raises(UserError, match="LiteRT cannot load"):
        ExportCheck(model, CARD, images)(tmp_path / "model.tflite", FLOAT32)
