import dataclasses

import keras
import numpy as np
import pytest

from condconv_keras.data import Preprocessing
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.models.saving import save_model
from condconv_keras.pretrained import create_model
from condconv_keras.training.initial_weights import open_initial_model
from condconv_keras.utils.errors import UserError
from tests.models.randomize import images, randomize
from tests.training.configs import CONFIG

SMALL = {"width_multiplier": 0.25, "input_shape": (32, 32, 3), "classes": 4}


def plain_model(**kwargs):
    model = create_model("mobilenet_v1", **{**SMALL, **kwargs})
    randomize(model)
    return model


def opened(model, path, card=None):
    if card is None:
        model.save(path)
    else:
        save_model(model, card, path)
    return open_initial_model(dataclasses.replace(CONFIG, weights=str(path)))


def test_scaling_and_settings_are_inherited(tmp_path):
    preprocessing = Preprocessing((32, 32), 3, (1.0, 2.0, 3.0), 4.0, "bilinear", 0.5)
    model = plain_model(padding="symmetric", bn_epsilon=1e-5)
    initial = opened(model, tmp_path / "x.keras", ModelCard("mobilenet_v1", tuple("abcd"), preprocessing))
    assert initial.inherited == {
        "model_arguments": {"padding": "symmetric", "bn_epsilon": 1e-5},
        "preprocessing": {"channels": 3, "mean": [1.0, 2.0, 3.0], "std": 4.0, "interpolation": "bilinear"},
    }


def test_without_a_card_the_scaling_is_the_registered_one(tmp_path):
    initial = opened(plain_model(input_shape=(32, 32, 1)), tmp_path / "x.keras")
    scaling = {"mean": 127.5, "std": 127.5, "interpolation": "bicubic"}
    assert initial.inherited["preprocessing"] == {"channels": 1, **scaling}
    initial = opened(plain_model(include_top=False), tmp_path / "x.keras")
    assert initial.inherited["preprocessing"] == {"channels": 3}


@pytest.mark.parametrize("name", ["mobilenet_v1", "condconv_mobilenet_v1"])
def test_the_new_model_computes_the_logits_of_the_trained_one(name, tmp_path, capsys):
    plain = plain_model(classifier_activation="softmax")
    model = create_model(name, **SMALL)
    opened(plain, tmp_path / "x.keras").put_into(model, images(32))
    expected = np.array(keras.Model(plain.input, plain.get_layer("logits").output)(images(32)))
    np.testing.assert_allclose(model(images(32)), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("source", [{"classes": 9}, {"include_top": False}])
def test_a_classifier_of_other_classes_starts_anew(source, tmp_path, capsys):
    plain = plain_model(**source)
    model = create_model("mobilenet_v1", **SMALL)
    classifier = np.array(model.get_layer("classifier").kernel)
    opened(plain, tmp_path / "x.keras").put_into(model, images(32))
    np.testing.assert_array_equal(model.get_layer("classifier").kernel, classifier)
    np.testing.assert_array_equal(model.get_layer("stem").kernel, plain.get_layer("stem").kernel)
    assert f"anew: 4 classes, {str(tmp_path / 'x.keras')!r} has {source.get('classes')}" in capsys.readouterr().err


def test_a_classifier_of_as_many_other_classes_is_said(tmp_path, capsys):
    card = ModelCard("mobilenet_v1", tuple("abcd"), Preprocessing((32, 32), 3, 127.5, 127.5))
    initial = opened(plain_model(), tmp_path / "x.keras", card)
    model = create_model("mobilenet_v1", **SMALL)
    for names, is_said in (
        (tuple("abcd"), False),
        (tuple("ABCD"), False),
        (tuple("abdc"), True),
        (tuple("abcx"), True),
    ):
        initial.put_into(model, images(32), names)
        assert ("x.keras', whose classes have other names or another order" in capsys.readouterr().err) == is_said


def test_a_detector_starts_from_its_backbone_and_from_a_detector(tmp_path, capsys):
    arguments = {**SMALL, "input_shape": (96, 96, 3)}
    plain, path = plain_model(), tmp_path / "x.keras"
    model = create_model("ssd300_mobilenet_v1", **arguments)
    opened(plain, path).put_into(model, images(96))
    assert capsys.readouterr().err == f"all but the backbone starts anew: {str(path)!r} is for classification\n"
    np.testing.assert_array_equal(
        model.get_layer("block_13_pointwise").kernel, plain.get_layer("block_13_pointwise").kernel
    )
    initial = opened(model, path)
    assert initial.inherited["preprocessing"]["interpolation"] == "bilinear"
    for classes, message in ((4, ""), (6, f"the classifier starts anew: 6 classes, {str(path)!r} has 4\n")):
        other = create_model("ssd300_mobilenet_v1", **{**arguments, "classes": classes})
        initial.put_into(other, images(96))
        assert capsys.readouterr().err == message
        for name in ("extra_4", "box_head_6"):
            np.testing.assert_array_equal(other.get_layer(name).kernel, model.get_layer(name).kernel)


def test_what_is_no_network_of_the_zoo_is_refused(tmp_path):
    inputs = keras.Input((8, 8, 3))
    with pytest.raises(UserError, match=r"x.keras' do not fit: .* no layer 'stem_bn'"):
        opened(keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs)), tmp_path / "x.keras")
    (tmp_path / "x.keras").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UserError, match=r"x.keras"):
        open_initial_model(dataclasses.replace(CONFIG, weights=str(tmp_path / "x.keras")))
    small = opened(plain_model(), tmp_path / "x.keras")
    with pytest.raises(UserError, match=r"the initial weights '.*x.keras' do not fit: .*'stem/kernel'"):
        small.put_into(create_model("mobilenet_v1", **{**SMALL, "width_multiplier": 0.5}), images(32))
