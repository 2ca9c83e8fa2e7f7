"""Ends of classifiers: found, and made to return logits of the classes that are trained."""

import keras
import numpy as np
import pytest

from condconv_keras import create_model, to_condconv
from condconv_keras.models.heads import trained_alone, with_logits
from condconv_keras.models.network_text import build_network, network_text, put_weights
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import all_layers
from tests.seeds import set_seed

_IMAGES = np.random.default_rng(0).uniform(-1, 1, (3, 32, 32, 3)).astype("float32")
_L = keras.layers


def _features(x):
    return _L.GlobalAveragePooling2D(name="pool")(_L.Conv2D(6, 3, activation="relu", name="conv")(x))


def _functional(end):
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, end(_features(inputs)), name="functional")


def _dense_softmax():
    return _functional(lambda x: _L.Dense(5, activation="softmax", name="fc")(_L.Dropout(0.5, name="drop")(x)))


def _softmax_layer():
    return _functional(lambda x: _L.Softmax(name="softmax")(_L.Dense(5, name="fc")(x)))


def _softmax_operation():
    return _functional(lambda x: keras.ops.softmax(_L.Dense(5, name="fc")(x)))


def _pooled_convolution():
    inputs = keras.Input((32, 32, 3))
    x = _L.Conv2D(5, 1, name="fc")(_L.Conv2D(6, 3, name="conv")(inputs))
    x = _L.Activation("softmax")(_L.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, x, name="pooled")


def _reshaped():
    inputs = keras.Input((32, 32, 3))
    x = _L.Conv2D(5, 1, name="fc")(_L.GlobalAveragePooling2D(keepdims=True)(_L.Conv2D(6, 3, name="conv")(inputs)))
    return keras.Model(inputs, _L.Softmax()(_L.Reshape((5,))(x)), name="reshaped")


def _sequential():
    return keras.Sequential(
        [keras.Input((32, 32, 3)), _L.Conv2D(6, 3), _L.Flatten(), _L.Dense(5, activation="softmax", name="fc")]
    )


def _nested_head():
    inputs = keras.Input((32, 32, 3))
    head = keras.Sequential([keras.Input((6,)), _L.Dense(4), _L.Dense(5, activation="softmax", name="fc")], name="top")
    return keras.Model(inputs, head(_features(inputs)), name="nested")


def _twin():
    return to_condconv(_dense_softmax(), 2, layers=["conv", "fc"], verbose=False)


def _of_the_zoo():
    return create_model(
        "condconv_mobilenet_v1", width_multiplier=0.25, num_experts=2, classes=5, input_shape=(32,) * 2 + (3,)
    )


_MODELS = {
    "softmax_of_a_dense_layer": (_dense_softmax, "fc"),
    "softmax_layer": (_softmax_layer, "fc"),
    "softmax_operation": (_softmax_operation, "fc"),
    "pooled_convolution": (_pooled_convolution, "fc"),
    "reshaped": (_reshaped, "fc"),
    "sequential": (_sequential, "fc"),
    "nested_head": (_nested_head, "top/fc"),
    "twin": (_twin, "fc_condconv"),
    "zoo": (_of_the_zoo, "classifier"),
}


@pytest.mark.parametrize("name", _MODELS)
def test_a_kept_classifier_returns_the_logits_of_its_probabilities(name):
    set_seed(0)
    make, classifier = _MODELS[name]
    model = make()
    expected = np.asarray(model(_IMAGES))
    result = with_logits(model, 5, renew=False)
    logits = np.asarray(result.model(_IMAGES))
    assert result.classifier == classifier
    if name == "zoo":
        np.testing.assert_array_equal(logits, expected)
    else:
        np.testing.assert_allclose(np.asarray(keras.ops.softmax(logits)), expected, rtol=1e-5)
        assert np.abs(logits.sum(axis=-1) - 1).min() > 1e-3  # none of them is a softmax any more
    # The given model still computes what it did.
    np.testing.assert_array_equal(np.asarray(model(_IMAGES)), expected)


@pytest.mark.parametrize("name", _MODELS)
@pytest.mark.parametrize("classes", [3, 5])
def test_a_renewed_classifier_has_other_weights_and_the_same_features(name, classes):
    set_seed(0)
    make, _ = _MODELS[name]
    model = make()
    result = with_logits(model, classes, renew=True)
    again = build_network(network_text(result.model), "the text")
    put_weights(again, result.model.get_weights())
    logits = np.asarray(again(_IMAGES))
    assert logits.shape == (3, classes)
    np.testing.assert_array_equal(logits, np.asarray(result.model(_IMAGES)))
    old, new = ({tuple(w.path.split("/")[-2:]): np.asarray(w) for w in each.weights} for each in (model, result.model))
    changed = {
        key[0] for key in new if key not in old or old[key].shape != new[key].shape or (old[key] != new[key]).any()
    }
    assert changed <= {"fc", "fc_condconv", "router", "classifier"} and changed
    assert not np.allclose(logits.sum(axis=-1), 1)


def _names_alone(model):
    return [layer.name for layer in trained_alone(model)]


def test_what_is_trained_alone():
    assert _names_alone(_dense_softmax()) == ["fc", "drop"]
    assert _names_alone(_nested_head()) == ["fc"]
    zoo = create_model(
        "condconv_mobilenet_v1",
        **{"width_multiplier": 0.25, "num_experts": 2, "classes": 5, "condconv_classifier": True},
    )
    assert _names_alone(zoo) == ["classifier", "classifier_routing", "dropout", "predictions", "logits"]


@pytest.mark.parametrize("name", _MODELS)
def test_a_dropout_before_the_classifier_has_the_rate(name):
    result = with_logits(_MODELS[name][0](), 3, renew=True, dropout_rate=0.25).model
    rates = [layer.rate for layer in all_layers(result) if isinstance(layer, _L.Dropout)]
    assert rates == [0.25]
    assert np.ptp([np.asarray(result(_IMAGES, training=True)) for _ in range(2)], axis=0).max() > 0
    np.testing.assert_array_equal(np.asarray(result(_IMAGES)), np.asarray(result(_IMAGES)))


def test_a_frozen_classifier_stays_frozen():
    model = _dense_softmax()
    model.get_layer("fc").trainable = False
    assert not with_logits(model, 5, renew=False).model.get_layer("fc").trainable


def test_a_new_classifier_of_a_frozen_network_is_trained():
    model = _dense_softmax()
    model.trainable = False
    result = with_logits(model, 3, renew=True).model
    assert {weight.path.split("/")[-2] for weight in result.trainable_weights} == {"fc"}


@pytest.mark.parametrize(
    "end",
    [
        lambda x: keras.ops.clip(keras.ops.softmax(_L.Dense(5)(x)), 1e-7, 1.0),
        lambda x: keras.ops.log(keras.ops.softmax(_L.Dense(5)(x))),
        lambda x: keras.ops.softmax(_L.Dense(5)(x)) * 100,
        lambda x: keras.ops.exp(keras.ops.log_softmax(_L.Dense(5)(x))),
        lambda x: _L.ReLU()(_L.Dense(5)(x)),
        lambda x: _L.LeakyReLU()(_L.Dense(5)(x)),
        lambda x: _L.Dense(5, activation=_L.LeakyReLU())(x),
        lambda x: _L.GlobalAveragePooling2D()(_L.Conv2D(5, 1, activation="softmax")(_L.Reshape((1, 1, 6))(x))),
        lambda x: _L.GlobalAveragePooling2D()(_L.Softmax()(_L.Conv2D(5, 1)(_L.Reshape((1, 1, 6))(x)))),
    ],
)
def test_what_makes_something_else_of_logits_is_refused(end):
    with pytest.raises(UserError, match="expected a classifier that ends in logits or a softmax") as error:
        with_logits(_functional(end), 5, renew=False)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("activation", [_L.Softmax(), keras.ops.softmax, keras.activations.softmax])
def test_a_softmax_in_any_form_is_one(activation):
    model = _functional(lambda x: _L.Dense(5, activation=activation, name="fc")(x))
    logits = with_logits(model, 5, renew=False).model(_IMAGES)
    np.testing.assert_allclose(keras.ops.softmax(logits), model(_IMAGES), rtol=1e-5)
    assert np.abs(np.asarray(logits).sum(axis=-1) - 1).min() > 1e-3


def test_an_operation_that_reshapes_does_so_for_the_new_classes():
    inputs = keras.Input((32, 32, 3))
    x = _L.Conv2D(5, 1, name="fc")(_L.GlobalAveragePooling2D(keepdims=True)(_L.Conv2D(6, 3)(inputs)))
    model = keras.Model(inputs, keras.ops.softmax(keras.ops.reshape(x, (-1, 5))))
    assert with_logits(model, 3, renew=True).model.output_shape == (None, 3)


def test_names_of_a_dropout_and_ends_that_cannot_be_renewed():
    model = _functional(lambda x: _L.Dense(5, name="fc")(_L.ReLU(name="fc_dropout")(x)))
    assert with_logits(model, 3, renew=True, dropout_rate=0.1).model.get_layer("fc_dropout_2").rate == 0.1
    grouped = _functional(lambda x: _L.Flatten()(_L.Conv2D(6, 1, groups=2)(_L.Reshape((1, 1, 6))(x))))
    with pytest.raises(UserError, match=r"met 'conv2d.*', a Conv2D"):
        with_logits(grouped, 3, renew=True)
    inputs = keras.Input((4,))
    inner = keras.Model(inputs, [_L.Dense(5)(inputs), _L.Dense(5)(inputs)], name="inner")
    outer = keras.Input((4,))
    with pytest.raises(UserError, match="the model 'inner' has more"):
        with_logits(keras.Model(outer, inner(outer)[1]), 5, renew=True)


def test_a_named_layer_classifies():
    model = _functional(lambda x: _L.BatchNormalization(name="norm")(_L.Dense(5, name="fc")(x)))
    with pytest.raises(UserError, match=r"met 'norm', a BatchNormalization: `classifier_layer` names the layer"):
        with_logits(model, 3, renew=True)
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, _L.Dense(5, name="scale")(_L.Dense(5, name="fc")(_features(inputs))))
    assert with_logits(model, 5, renew=True, layer_name="fc").classifier == "fc"
    with pytest.raises(UserError, match=r"expected the layer 'nothing' at the end"):
        with_logits(model, 5, renew=True, layer_name="nothing")
    with pytest.raises(UserError, match=r"a Dense layer or a 1x1 convolution in `classifier_layer`, 'pool' is a"):
        with_logits(model, 5, renew=True, layer_name="pool")


@pytest.mark.parametrize(
    "end",
    [
        lambda x: _L.Dense(5, activation="sigmoid", name="fc")(x),
        lambda x: _L.Activation("sigmoid", name="fc")(_L.Dense(5)(x)),
        lambda x: _L.Dense(5, activation="relu", name="fc")(x),
    ],
)
def test_what_is_no_softmax_is_trained_with_a_new_classifier_alone(end):
    with pytest.raises(UserError, match=r"ends in logits or a softmax to train on, its layer 'fc' ends in "):
        with_logits(_functional(end), 5, renew=False)


def test_a_sigmoid_is_left_out_of_a_renewed_classifier():
    model = _functional(lambda x: _L.Dense(1, activation="sigmoid", name="fc")(x))
    assert (np.asarray(with_logits(model, 2, renew=False).model(_IMAGES)) < 0).any()


def test_other_outputs_are_one_clear_line():
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, _L.Conv2D(5, 1, name="fc")(inputs))
    with pytest.raises(UserError, match=r"expected a classifier that returns \[images, 5\]"):
        with_logits(model, 5, renew=False)
