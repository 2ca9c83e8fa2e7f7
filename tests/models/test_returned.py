"""What a classifier returns, wherever its softmax is."""

import dataclasses

import keras
import numpy as np
import pytest

from condconv_keras.data import Preprocessing
from condconv_keras.facts.model_card import LOGITS, PROBABILITIES
from condconv_keras.models import returned
from condconv_keras.models.returned import are_probabilities, with_returns
from condconv_keras.models.saving import save_model
from condconv_keras.stored import StoredModel
from condconv_keras.tasks.classification.predictor import keras_predict
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.softmax import softmax
from tests.heads import BIAS, CARD, HEADS, IMAGES, KERNEL, LOGITS_OF_IMAGES, average, model_with


@pytest.mark.parametrize("head", HEADS)
def test_probabilities_stay_as_they_are(head):
    model = model_with(HEADS[head])
    assert with_returns(model, CARD).returns == PROBABILITIES
    tolerance = 5e-3 if "bfloat16" in head else 1e-5
    np.testing.assert_allclose(keras_predict(model, CARD)(IMAGES), softmax(LOGITS_OF_IMAGES), atol=tolerance)


def test_the_activation_of_the_last_layer_is_a_softmax():
    model = model_with(lambda x: x, activation="softmax")
    assert with_returns(model, CARD).returns == PROBABILITIES
    np.testing.assert_allclose(keras_predict(model, CARD)(IMAGES), softmax(LOGITS_OF_IMAGES), atol=1e-5)


@pytest.mark.parametrize(
    ("head", "kernel", "bias"),
    [
        (lambda x: x, KERNEL, BIAS),
        (lambda x: keras.layers.Flatten()(keras.layers.Reshape((1, 1, 3))(x)), KERNEL, BIAS),
        (keras.ops.log_softmax, KERNEL, BIAS),
        (keras.layers.Activation("tanh"), KERNEL, BIAS),
        # All in 0..1, with a sum that is not 1: the graph ends in a sum, or a ReLU.
        (lambda x: x, 0.01 * KERNEL, BIAS + 0.5),
        (keras.layers.ReLU(), 0.01 * KERNEL, BIAS + 0.5),
        # What a training that diverged leaves.
        (lambda x: x, KERNEL, BIAS * np.nan),
    ],
)
def test_logits_get_a_softmax(head, kernel, bias):
    model = model_with(head, kernel, bias)
    assert with_returns(model, CARD).returns == LOGITS
    received = keras_predict(model, CARD)(IMAGES)
    np.testing.assert_allclose(received, softmax(model(IMAGES / 255)), atol=1e-5)


def test_a_diverged_model_with_a_softmax():
    assert with_returns(model_with(keras.layers.Softmax(), bias=BIAS * np.nan), CARD).returns == PROBABILITIES


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (keras.layers.Activation("sigmoid"), "ends in a sigmoid, whose numbers are neither logits nor sum to 1"),
        (lambda x: keras.layers.Dropout(0.1)(keras.ops.sigmoid(x)), "ends in a sigmoid"),
        (lambda x: 0.9 * keras.ops.sigmoid(x) + 0.05, "ends in a sigmoid"),
        (lambda x: 100 * keras.ops.sigmoid(x), "ends in a sigmoid"),
        # Every one is 0 or 1, and by chance one of three is 1.
        (
            lambda x: keras.ops.sigmoid(1e4 * (keras.ops.one_hot(keras.ops.argmax(x, axis=-1), 3) - 0.5)),
            "ends in a sigmoid",
        ),
        (lambda x: average(x, "sigmoid"), "ends in a sigmoid"),
        (
            lambda x: keras.ops.sqrt(keras.ops.softmax(x)),
            r"returns numbers in 0\.\.1 that do not sum to 1, and ends in Sqrt",
        ),
        (lambda x: keras.ops.softmax(x) / 2, "returns numbers that sum to 0.5 for every image"),
        (lambda x: 100 * keras.ops.softmax(x), "returns numbers that sum to 100 for every image"),
    ],
)
def test_what_is_neither_is_refused(head, message, tmp_path):
    model = model_with(head)
    with pytest.raises(UserError, match=f"^the model {message}.*in logits .* or in a softmax") as refusal:
        with_returns(model, CARD)
    assert "\n" not in str(refusal.value)
    with pytest.raises(UserError, match=rf"^the model for '.*m\.keras' .*{message[-30:]}"):
        save_model(model, CARD, tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


def test_one_class_with_a_sigmoid_is_not_certain():
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(keras.layers.Flatten()(inputs)))
    with pytest.raises(UserError, match="ends in a sigmoid"):
        with_returns(model, dataclasses.replace(CARD, class_names=("cat",)))


@pytest.mark.parametrize("structure", ["list", "dict"])
def test_an_output_in_a_list_or_a_dict(structure):
    model = model_with(keras.layers.Softmax())
    output = model.outputs[0]
    model = keras.Model(model.input, {"list": [output], "dict": {"classes": output}}[structure])
    assert with_returns(model, CARD).returns == PROBABILITIES
    np.testing.assert_allclose(keras_predict(model, CARD)(IMAGES), softmax(LOGITS_OF_IMAGES), atol=1e-5)


def test_a_model_of_several_outputs_is_refused(tmp_path):
    model = model_with(keras.layers.Softmax())
    model = keras.Model(model.input, [model.layers[-2].output, model.outputs[0]])
    save_model(model, CARD, tmp_path / "m.keras")
    with pytest.raises(UserError, match=r"for classification with 3 classes, the model in .* \[\(None, 3\), \(None, 3"):
        StoredModel.open(tmp_path / "m.keras").predictor()


def test_a_card_for_other_images_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^the model does not take images of the shape \(4, 4, 1\): .*expected"):
        with_returns(
            model_with(lambda x: x), dataclasses.replace(CARD, preprocessing=Preprocessing((4, 4), 1, 0.0, 1.0))
        )


def test_it_is_found_out_once_and_kept_in_the_file(tmp_path, monkeypatch):
    for name, head in (("p", keras.layers.Softmax()), ("l", lambda x: x)):
        save_model(model_with(head), CARD, tmp_path / f"{name}.keras")
    # Of version 0.1, which kept nothing of the kind.
    old = tmp_path / "old.keras"
    model_with(keras.layers.Softmax()).save(old)
    CARD.put_into(old)
    assert StoredModel.open(old).load()[1].returns is None
    assert StoredModel.open(old).load_to_answer()[1].returns == PROBABILITIES
    monkeypatch.setattr(returned, "_returned", None)  # is not asked again
    for name, expected in (("p", PROBABILITIES), ("l", LOGITS)):
        stored = StoredModel.open(tmp_path / f"{name}.keras")
        assert stored.load()[1].returns == expected
        received = stored.predictor().predict(IMAGES)
        np.testing.assert_allclose(received, softmax(LOGITS_OF_IMAGES), atol=1e-5)


def test_a_card_that_contradicts_its_model_is_refused():
    with pytest.raises(UserError, match="says that it returns logits, and it ends in a softmax"):
        keras_predict(model_with(keras.layers.Softmax()), dataclasses.replace(CARD, returns=LOGITS))(IMAGES)
    hidden = model_with(HEADS["softmax of exponentials"])
    with pytest.raises(
        UserError, match=r"says that it returns logits, and it returns numbers that sum to 1 for every image"
    ):
        keras_predict(hidden, dataclasses.replace(CARD, returns=LOGITS))(IMAGES)
    predict = keras_predict(model_with(lambda x: x), dataclasses.replace(CARD, returns=PROBABILITIES))
    with pytest.raises(UserError, match=r"expected probabilities of the model 'mine', it returns numbers from -"):
        predict(IMAGES)
    with pytest.raises(ValueError, match="`returns` is 'logits', 'probabilities' or None"):
        dataclasses.replace(CARD, returns="softmax")


def test_a_model_that_is_no_graph_is_refused(tmp_path):
    @keras.saving.register_keras_serializable("test_returned")
    class Subclassed(keras.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.dense = keras.layers.Dense(3)

        def call(self, inputs):
            return self.dense(keras.ops.mean(inputs, axis=(1, 2)))

    model = Subclassed()
    model(IMAGES)
    save_model(model, CARD, tmp_path / "m.keras")
    with pytest.raises(UserError, match=r"expected a functional or sequential model in '.*m\.keras'"):
        StoredModel.open(tmp_path / "m.keras").predictor()


def test_rows_of_probabilities():
    assert are_probabilities([[0.2, 0.8], [1.0, 0.0]]) and are_probabilities(np.zeros((0, 3)))
    for rows in ([[0.2, 0.7]], [[0.2, 0.8], [1.2, -0.2]], [[np.nan, 1.0]]):
        assert not are_probabilities(rows)
