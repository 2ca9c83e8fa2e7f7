import dataclasses
import subprocess
import sys

import pytest

from condconv_keras.models import CondConvPlacement, list_models, model_entry
from condconv_keras.models.entry import PaperFigures
from condconv_keras.training.recipes import RECIPES


def test_names_by_pattern():
    assert {"mobilenet_v1", "condconv_mobilenet_v1"} <= set(list_models())
    assert list_models() == sorted(list_models())
    assert all(name.startswith("condconv_") for name in list_models("condconv_*"))
    assert list_models("no such*") == []


def test_names_by_task():
    detectors = ["condconv_ssd300_mobilenet_v1", "ssd300_mobilenet_v1"]
    assert list_models(task="detection") == detectors
    assert list_models("condconv_*", task="detection") == detectors[:1]
    assert sorted(list_models(task="classification") + detectors) == list_models()
    with pytest.raises(ValueError, match=r"`task` must be None or one of .* Received: task='segmentation'"):
        list_models(task="segmentation")


def test_entry_of_mobilenet():
    plain, twin = model_entry("mobilenet_v1"), model_entry("condconv_mobilenet_v1")
    assert plain.paper == (PaperFigures(567, 71.9),)
    assert twin.paper == (PaperFigures(600, 73.7),)
    assert plain.placement is None
    assert twin.placement == CondConvPlacement(num_experts=8, start_block=6, condconv_classifier=True)
    for entry in (plain, twin):
        assert entry.recipe == "mobilenet"
        assert [(x - entry.input_mean) / entry.input_std for x in (0, 255)] == [-1, 1]
        assert (entry.input_size, entry.crop_fraction, entry.interpolation) == (224, 0.875, "bicubic")
    assert plain.default_input_shape("channels_last") == (224, 224, 3)
    assert plain.default_input_shape("channels_first") == (3, 224, 224)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plain.name = "other"


@pytest.mark.parametrize("name", list_models())
def test_every_twin_is_a_plain_model_with_a_placement(name):
    entry = model_entry(name)
    assert entry.name == name
    assert (entry.placement is not None) == name.startswith("condconv_")


def test_every_family_is_registered_plain_and_as_its_twin():
    plain = ["mobilenet_v1", "mobilenet_v2", "mnasnet_a1", "resnet50", "efficientnet_b0", "efficientnet_b0_depth"]
    plain += [f"efficientnet_lite{i}" for i in range(3)]
    assert {*plain, *(f"condconv_{name}" for name in plain)} <= set(list_models())


def test_entry_of_the_detector():
    plain, twin = model_entry("ssd300_mobilenet_v1"), model_entry("condconv_ssd300_mobilenet_v1")
    assert [(f.width_multiplier, f.multiply_adds, f.accuracy) for f in (*plain.paper, *twin.paper)] == [
        *((1.0, 1230, 20.3), (0.75, 730, 18.2), (0.5, 352, 14.4)),
        *((1.0, 1280, 22.4), (0.75, 755, 21.0), (0.5, 363, 18.0)),
    ]
    assert twin.placement == CondConvPlacement(num_experts=8, start_block=6)
    for entry in (plain, twin):
        assert (entry.task, entry.backbone) == ("detection", "mobilenet_v1")
        assert entry.stage_sizes == model_entry("mobilenet_v1").stage_sizes
        preprocessing = entry.preprocessing()
        assert [(x - preprocessing.mean) / preprocessing.std for x in (0, 255)] == [-1, 1]
        assert (preprocessing.input_shape, preprocessing.crop_fraction) == ((300, 300, 3), 1)


def test_every_entry_names_a_recipe_and_a_preprocessing():
    for name in list_models():
        entry = model_entry(name)
        assert entry.recipe in RECIPES
        preprocessing = entry.preprocessing(channels=1, input_size=None)
        assert preprocessing.input_size == (entry.input_size, entry.input_size)
        assert (preprocessing.channels, preprocessing.mean) == (1, entry.input_mean)


def test_names_and_entries_need_no_keras():
    program = """
import sys
import models
assert models.list_models()
models.model_entry("condconv_mobilenet_v1")
for call in (models.model_entry, models.create_model):
    try:
        call("nothing")
    except ValueError as error:
        assert "nothing" in str(error)
    else:
        raise AssertionError
assert not {"keras", "tensorflow", "numpy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
