"""Routing weights as outputs of `.tflite` files: those of the Keras model's routers, in every mode."""

import json

import numpy as np
import pytest

from condconv_keras.export.check import representative
from condconv_keras.export.check.export_check import Differs, ExportCheck
from condconv_keras.export.check.routing import RoutingCheck
from condconv_keras.export.format import WriteOptions
from condconv_keras.export.formats import TFLITE
from condconv_keras.export.manifest import write_cards
from condconv_keras.export.tflite.conversion import tflite_bytes
from condconv_keras.layers.routers import recorded_routing
from condconv_keras.models.saving import save_model
from condconv_keras.serving.litert import LiteRTFile
from condconv_keras.serving.tflite_graph import TFLiteGraph
from condconv_keras.stored import StoredModel
from condconv_keras.stored.untrained import untrained_model
from condconv_keras.utils.errors import UserError
from tests import detectors
from tests.export.test_main import export, parsed  # noqa: F401 - fixtures
from tests.heads import CARD, HEADS, model_with

# One router for the layers of a block, and one in every layer.
ROUTING_PER = ("block", "layer")


@pytest.fixture(scope="module", params=ROUTING_PER)
def classifier(request):
    arguments = {"width_multiplier": 0.25, "num_experts": 3, "classes": 5, "routing_per": request.param}
    return untrained_model("condconv_mobilenet_v1", input_shape=(48, 48, 3), start_block=11, **arguments)


@pytest.fixture(scope="module")
def given():
    """A function of a card that returns the images to calibrate on and those to check on."""
    photographs = representative.Photographs(trained=False)
    return lambda card: (
        card.preprocessing.evaluation_images(photographs.calibration()),
        representative.check_images(photographs, card.preprocessing),
    )


def routing_of(model, card, images):
    with recorded_routing(model) as routing:
        model(card.preprocessing.scale_images(images), training=False)
    return {name: np.array(weights) for name, weights in routing}


@pytest.mark.parametrize("mode", list(TFLITE))
def test_a_file_returns_the_routing_weights(classifier, given, tmp_path, mode):
    (model, card), file_format = classifier, TFLITE[mode]
    calibration, images = given(card)
    path = tmp_path / file_format.file_name
    options = WriteOptions(calibration if file_format.is_calibrated else None, routing_outputs=True)
    file_format.write(path, model, card, options)
    expected = routing_of(model, card, images)
    assert len(expected) >= 3
    received = file_format.routing_weights(path, images, threads=2)
    assert received.keys() == expected.keys()
    for name, weights in expected.items():
        np.testing.assert_allclose(received[name], weights, atol=1e-6 if mode == "none" else 0.03)
    assert file_format.routers(path) == dict.fromkeys(expected, 3)
    write_cards(tmp_path, card)
    comparison, _ = ExportCheck(model, card, images, routing_outputs=True)(path, file_format)
    assert comparison.images == len(images)


def test_without_them_nothing_is_returned_besides(classifier, given, tmp_path):
    (model, card), path = classifier, tmp_path / "model.tflite"
    TFLITE["none"].write(path, model, card, WriteOptions())
    assert list(LiteRTFile(path).outputs) == ["probabilities"]
    assert TFLITE["none"].routers(path) == {}
    found = RoutingCheck(model, card, given(card)[1]).failures(TFLITE["none"], path, None)
    assert len(found) == 1
    assert found[0].startswith("routing weights of no router in the place of those of ")


@pytest.mark.parametrize("mode", ["none", "dynamic"])
def test_the_weights_of_another_router_are_refused(classifier, given, tmp_path, mode):
    (model, card), path = classifier, tmp_path / TFLITE[mode].file_name
    _, images = given(card)
    graph = TFLiteGraph(tflite_bytes(model, card, mode, routing_outputs=True))
    outputs = graph.outputs
    first, second, *_ = (name for name in outputs if name.startswith("routing/"))
    graph.set_outputs({**outputs, first: outputs[second], second: outputs[first]})
    path.write_bytes(graph.to_bytes())
    write_cards(tmp_path, card)
    ExportCheck(model, card, images)(path, TFLITE[mode])
    with pytest.raises(Differs, match=rf"{path.name} differs from the Keras model .*: routing weights of \w+ by "):
        ExportCheck(model, card, images, routing_outputs=True)(path, TFLITE[mode])


@pytest.mark.parametrize("raw_outputs", [False, True])
def test_a_detector_returns_them_as_well(detector, detector_images, tmp_path, raw_outputs):
    model, card = detector
    path = tmp_path / "model.tflite"
    TFLITE["none"].write(path, model, card, WriteOptions(raw_outputs=raw_outputs, routing_outputs=True))
    write_cards(tmp_path, card)
    ExportCheck(model, card, detector_images, routing_outputs=True)(path, TFLITE["none"])
    found = detectors.found_in_keras(StoredModel.open(path).predictor().predict, card, detector_images[0])
    assert found.keys() == {"boxes", "classes", "scores", "count"}


def test_the_flag_and_the_card(export, trained_run, tmp_path):  # noqa: F811
    for name, flags in (("with", ["--routing_outputs"]), ("without", [])):
        results = export(f"--model={trained_run}", f"--output_dir={tmp_path / name}", "--formats=tflite", *flags)
        (facts,) = results["files"]
        routers = LiteRTFile(tmp_path / name / "model.tflite").outputs.keys() - {"probabilities"}
        assert {f"routing/{router}" for router in facts.get("routing_outputs", {})} == routers
        assert bool(routers) == (name == "with")
        card = json.loads((tmp_path / name / "model.json").read_text())
        assert card["files"] == results["files"]


def test_a_plain_model_has_none(export, tmp_path):  # noqa: F811
    save_model(model_with(HEADS["softmax layer"]), CARD, tmp_path / "plain.keras")
    flags = ("--formats=tflite", "--routing_outputs")
    with pytest.raises(UserError, match="--routing_outputs is for CondConv models, this one is plain"):
        export(f"--model={tmp_path / 'plain.keras'}", f"--output_dir={tmp_path / 'out'}", *flags)
    assert not (tmp_path / "out").exists()
