"""The facts about published weights: well-formed, chosen by the arguments of a model, read without Keras."""

import subprocess
import sys

import pytest

from condconv_keras.models.registry import list_models, model_entry, published_models, starting_model
from condconv_keras.utils.errors import UserError
from condconv_keras.weights.published import published_for

PUBLISHED_WEIGHTS = {name: model_entry(name).published for name in published_models()}


@pytest.mark.parametrize("name", PUBLISHED_WEIGHTS)
def test_what_is_registered_is_well_formed(name):
    assert name in list_models()
    for weights in PUBLISHED_WEIGHTS[name]:
        assert weights.url.startswith("https://")
        assert weights.file_hash is None or (len(weights.file_hash) in (32, 64) and int(weights.file_hash, 16))
        assert weights.top_1 is None or (70 < weights.top_1 < 85 and weights.top_1_input_size)
        if "num_experts" in weights.arguments:
            assert model_entry(name).placement is not None


def test_every_file_has_a_name_of_its_own():
    files = {(weights.file_name, weights.url) for weights in sum(PUBLISHED_WEIGHTS.values(), ())}
    assert len(files) == len(dict(files))


def test_the_first_entry_is_of_the_registered_setting():
    for name, (default, *_) in PUBLISHED_WEIGHTS.items():
        for argument in ("width_multiplier", "depth_multiplier"):
            assert default.arguments.get(argument, 1.0) == model_entry(name).arguments.get(argument, 1.0)
        if model_entry(name).placement is not None:
            assert default.arguments["num_experts"] == model_entry(name).placement.num_experts


def test_chooses_by_the_arguments_given():
    assert "cc_b0_8e" in published_for("condconv_efficientnet_b0", {}).url
    assert "cc_b0_4e" in published_for("condconv_efficientnet_b0", {"num_experts": 4, "classes": 5}).url
    assert "mobilenet_5_0_224" in published_for("mobilenet_v1", {"width_multiplier": 0.5}).url


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("mobilenet_v1", "mobilenet_v1"),
        ("condconv_mobilenet_v1", "mobilenet_v1"),
        ("condconv_efficientnet_b0", "condconv_efficientnet_b0"),
        ("condconv_ssd300_mobilenet_v1", "mobilenet_v1"),
        ("efficientnet_b0_depth", "efficientnet_b0_depth"),
    ],
)
def test_what_training_starts_from(name, source):
    assert starting_model(name) == source


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("condconv_efficientnet_b0", {"num_experts": 3}, "num_experts=8, num_experts=4. Received: num_experts=3"),
        ("mobilenet_v2", {"width_multiplier": 0.3}, "width_multiplier=0.35. Received: width_multiplier=0.3$"),
        ("condconv_resnet50", {}, "no ImageNet weights are published for the model 'condconv_resnet50'"),
    ],
)
def test_says_what_is_published_instead(name, arguments, message):
    with pytest.raises(UserError, match=message):
        published_for(name, arguments)


def test_the_facts_need_no_keras():
    code = "import sys, condconv_keras.weights.published; print(sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
