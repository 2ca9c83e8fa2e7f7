"""What a name means, and what is known of a stored model before it is loaded."""

import hashlib
import json
import shutil

import keras
import numpy as np
import pytest

from condconv_keras.data import Preprocessing
from condconv_keras.data.sources.photographs import photographs
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.layers import with_routing
from condconv_keras.layers.folding import has_options
from condconv_keras.models.saving import save_model
from condconv_keras.pretrained import create_model
from condconv_keras.routing_statistics.routing_model import RoutingModel
from condconv_keras.stored import StoredModel
from condconv_keras.stored.loading import load_model
from condconv_keras.stored.registered import Untrained
from condconv_keras.utils.errors import UserError
from tests.seeds import set_seed


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A `.keras` file with a card."""
    set_seed(0)
    model = create_model("mobilenet_v1", width_multiplier=0.1, input_shape=(32, 32, 1), classes=10)
    path = tmp_path_factory.mktemp("saved") / "m.keras"
    save_model(model, ModelCard("mobilenet_v1", tuple("0123456789"), Preprocessing((32, 32), 1, 127.5, 127.5)), path)
    return path


def facts(stored):
    return stored.kind, stored.task, stored.is_trained, stored.has_layers, stored.is_plain


def test_what_a_name_means(trained_run, exported, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    classification = "classification"
    for name, options, expected in (
        (trained_run, {}, ("run", classification, True, True, False)),
        (saved, {}, ("keras", classification, True, True, False)),
        (exported / "saved_model", {}, ("savedmodel", classification, True, True, False)),
        (exported / "model.tflite", {}, ("tflite", classification, True, False, False)),
        ("mobilenet_v1", {"weights": "imagenet"}, ("imagenet", classification, True, True, True)),
        ("ssd300_mobilenet_v1", {"untrained": True}, ("untrained", "detection", False, True, True)),
        ("condconv_ssd300_mobilenet_v1", {"untrained": True}, ("untrained", "detection", False, True, False)),
    ):
        stored = StoredModel.open(name, **options)
        assert facts(stored) == expected
        assert stored.name == str(name)
    # A path that exists comes before a registered model.
    shutil.copytree(exported / "saved_model", "mobilenet_v1")
    assert StoredModel.open("mobilenet_v1", untrained=True).kind == "savedmodel"
    assert StoredModel.open("mobilenet_v1", weights="imagenet").kind == "imagenet"


def test_where_a_model_comes_from(trained_run, saved):
    digest = hashlib.sha256((trained_run / "model.keras").read_bytes()).hexdigest()
    assert StoredModel.open(trained_run).to_dict() == {"name": str(trained_run), "kind": "run", "sha256": digest}
    assert StoredModel.open(trained_run).config.dataset == "digits"
    assert StoredModel.open(saved).config is None
    untrained = StoredModel.open("mobilenet_v2", untrained=True, seed=3, input_size=None, width_multiplier=0.5)
    assert untrained.to_dict() == {
        "name": "mobilenet_v2",
        "kind": "untrained",
        "arguments": {"width_multiplier": 0.5},
        "seed": 3,
    }


def test_the_last_weights_of_a_run(trained_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    with pytest.raises(UserError, match="does not average the weights"):
        StoredModel.open(run, raw=True)
    (run / "model_raw.keras").write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"model_raw\.keras' is damaged"):
        StoredModel.open(run, raw=True)
    (run / "model.keras").rename(run / "model_raw.keras")
    with pytest.raises(UserError, match=r"has no model\.keras yet"):
        StoredModel.open(run)
    shutil.copy(run / "model_raw.keras", run / "model.keras")
    assert StoredModel.open(run, raw=True).file == run / "model_raw.keras"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("{saved}", {"raw": True}, "only a run folder keeps the weights before averaging"),
        ("{saved}", {"weights": "imagenet"}, r"`weights` is for registered models, '.*m\.keras' is a path"),
        ("{saved}", {"num_experts": 2}, r"`num_experts` is for registered models, '.*m\.keras' is none"),
        ("{saved}", {"seed": 2}, "`seed` is for registered models"),
        ("mobilenet_v1", {"weights": "imagenet", "seed": 2}, "`seed` is for registered models without `weights`"),
        ("mobilenet_v1", {"untrained": True, "num_experts": 2}, "unexpected keyword argument 'num_experts'"),
        ("mobilenet_v9", {}, "nothing lies at 'mobilenet_v9'$"),
        ("mobilenet_v9", {"untrained": True}, "unknown model 'mobilenet_v9'. Did you mean 'mobilenet_v"),
        ("mobilenet_v1", {}, "the name of a registered model, which has no weights of its own"),
        ("mobilenet_v1", {"weights": "noisy-student"}, "`weights` is 'imagenet', or left out"),
        ("condconv_mobilenet_v2", {"weights": "imagenet"}, "condconv_mobilenet_v2"),
        ("{exported}", {}, "holds exports; give one of them: .*model.tflite.*saved_model$"),
        ("{folder}", {}, "is none of them"),
        ("{folder}/text.keras", {}, "damaged or none"),
        ("{folder}/text.txt", {}, "is none of them"),
    ],
)
def test_what_means_nothing_is_one_line(saved, exported, tmp_path, name, options, message):
    for file in ("text.keras", "text.txt"):
        (tmp_path / file).write_text("text")
    with pytest.raises(UserError, match=message) as refusal:
        StoredModel.open(name.format(saved=saved, exported=exported, folder=tmp_path), **options)
    assert "\n" not in str(refusal.value)


def test_the_card_beside_an_export(exported, tmp_path):
    file = shutil.copy(exported / "model.tflite", tmp_path)
    with pytest.raises(
        UserError, match=r"classes and preprocessing of the model in '.*model.json', which does not exist"
    ):
        _ = StoredModel.open(file).task
    (tmp_path / "model.json").write_text(json.dumps({"model": "m"}))
    with pytest.raises(UserError, match="expected a model card in"):
        _ = StoredModel.open(file).task
    # An editor may begin it with a byte order mark.
    (tmp_path / "model.json").write_text((exported / "model.json").read_text(), encoding="utf-8-sig")
    assert StoredModel.open(file).card == StoredModel.open(exported / "model.tflite").card


def test_the_card_of_another_export(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "exported")
    facts = json.loads((folder / "model.json").read_text())
    # Of another training of the same model: nothing but the content tells them apart.
    other = folder / "model_float16.tflite"
    content = other.read_bytes()
    other.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    message = r"the card of '.*model_float16\.tflite' in '.*model\.json', it is the card of other files .*model\.tflite"
    with pytest.raises(UserError, match=message) as refusal:
        _ = StoredModel.open(other).task
    assert "\n" not in str(refusal.value)
    # A file may be called otherwise, and a card that names no files is taken.
    renamed = (folder / "model.tflite").rename(folder / "digits.tflite")
    assert StoredModel.open(renamed).card.class_names == tuple("0123456789")
    (folder / "model.json").write_text(json.dumps({name: value for name, value in facts.items() if name != "files"}))
    assert StoredModel.open(other).task == "classification"
    for files in ([{"file": "model.tflite"}], 3, ["model.tflite"]):
        (folder / "model.json").write_text(json.dumps({**facts, "files": files}))
        with pytest.raises(UserError, match="expected a model card in"):
            _ = StoredModel.open(renamed).task


def test_the_card_in_another_saved_model(exported, tmp_path):
    folder = shutil.copytree(exported / "saved_model", tmp_path / "saved_model")
    (folder / "assets.extra/tf_serving_warmup_requests").touch()  # no part of the model
    assert StoredModel.open(folder).task == "classification"
    card = folder / "assets.extra/model.json"
    facts = json.loads(card.read_text())
    (folder / "assets/labels.txt").write_text("ten\n" * 10)
    with pytest.raises(UserError, match="it is the card of other files"):
        _ = StoredModel.open(folder).task
    del facts["files"]
    card.write_text(json.dumps({**facts, "class_names": ["a", "b"]}))
    message = r"returns \(None, 10\), its model\.json is of a file that takes \(None, .*\) and returns \(None, 2\)"
    with pytest.raises(UserError, match=message):
        StoredModel.open(folder).predictor()


def test_a_file_whose_card_is_of_other_outputs(saved, tmp_path):
    model = create_model("mobilenet_v1", width_multiplier=0.1, input_shape=(32, 32, 1), classes=4)
    save_model(model, StoredModel.open(saved).load()[1], tmp_path / "m.keras")
    with pytest.raises(UserError, match=r"for classification with 10 classes, the model in .* the output \(None, 4\)"):
        StoredModel.open(tmp_path / "m.keras").predictor()


def test_arguments_out_of_range():
    with pytest.raises(UserError, match=r"the model 'mobilenet_v1' cannot be built: .*width_multiplier"):
        StoredModel.open("mobilenet_v1", untrained=True, width_multiplier=-1.0).load()


def test_an_untrained_model_tells_images_apart():
    """As initialized, this network's logits are all within 1e-4 of each other."""
    stored = Untrained("condconv_efficientnet_b0", input_size=64, num_experts=2)
    model, card = stored.load()
    assert len(card.class_names) == 1000
    assert card.preprocessing.input_size == (64, 64)
    images = np.random.default_rng(0).standard_normal((4, 64, 64, 3)).astype(np.float32)
    before = [np.asarray(variable) for variable in model.non_trainable_variables]
    logits = np.asarray(model(images))
    assert 5e-4 < logits.std() < 5
    assert (logits.std(axis=0) / logits.std()).max() > 0.05
    for variable, value in zip(model.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_the_normalizations_of_an_untrained_model_put_out_small_values():
    """On the photographs' windows their root mean square is 0.01, where activations are nearly linear."""
    model, card = Untrained("mobilenet_v1", input_size=32, width_multiplier=0.25).load()
    outputs = [layer.output for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    images = card.preprocessing.evaluation_images(photographs())
    for values in keras.Model(model.input, outputs)(card.preprocessing.scale_images(images)):
        assert np.sqrt(np.mean(np.square(values))) == pytest.approx(0.01, rel=1e-2)


def test_the_routers_of_an_untrained_model_tell_the_photographs_apart():
    """What their sigmoids are given has mean 0 and a deviation of 0.05 over the photographs' windows."""
    model, card = Untrained("condconv_mobilenet_v1", input_size=32, width_multiplier=0.25, num_experts=2).load()
    images = card.preprocessing.evaluation_images(photographs())
    for weights in RoutingModel(model, card.preprocessing)(images):
        logits = np.log(weights / (1 - np.asarray(weights, np.float64)))
        np.testing.assert_allclose(logits.mean(axis=0), 0, atol=1e-3)
        np.testing.assert_allclose(logits.std(axis=0), 0.05, rtol=1e-2)


def test_an_untrained_model_is_that_of_its_seed():
    settings = {"width_multiplier": 0.1, "input_size": 32}
    first, again, other = (
        Untrained("mobilenet_v1", seed=seed, **settings).load()[0].get_weights() for seed in (1, 1, 2)
    )
    for mine, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert np.abs(first[0] - other[0]).max() > 0


def test_whether_a_model_s_images_are_turned(saved, tmp_path):
    """As its card says, without loading it; registered models and files without a card turn them."""
    model, card = load_model(saved)
    assert card.with_orientation(False).with_orientation(True) == card
    save_model(model, card.with_orientation(False), tmp_path / "stored.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(tmp_path / "bare.keras")
    (tmp_path / "x.tflite").touch()
    (tmp_path / "model.json").write_text(card.with_orientation(False).to_json())
    for name, options, expected in (
        (saved, {}, True),
        (tmp_path / "stored.keras", {}, False),
        (tmp_path / "bare.keras", {}, True),
        (tmp_path / "x.tflite", {}, False),
        ("mobilenet_v1", {"weights": "imagenet"}, True),
        ("mobilenet_v1", {"untrained": True}, True),
    ):
        assert StoredModel.open(name, **options).applies_orientation is expected


def test_routers_answer_without_what_they_have_for_training(tmp_path):
    set_seed(0)
    model = create_model(
        "condconv_mobilenet_v1", width_multiplier=0.1, num_experts=2, start_block=13, input_shape=(32, 32, 1), classes=3
    )
    model = with_routing(model, temperature=3.0, normalize_inputs=True, anchored=True, expert_dropout=0.5)
    card = ModelCard("condconv_mobilenet_v1", tuple("012"), Preprocessing((32, 32), 1, 127.5, 127.5), returns="logits")
    save_model(model, card, tmp_path / "m.keras")
    predictor = StoredModel.open(tmp_path / "m.keras").predictor()
    assert not has_options(predictor.model) and has_options(load_model(tmp_path / "m.keras")[0])
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 1)).astype("float32")
    expected = keras.ops.softmax(model(card.preprocessing.scale_images(images)))
    np.testing.assert_allclose(predictor.predict(images), expected, rtol=1e-4, atol=1e-5)
