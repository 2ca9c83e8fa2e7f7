import pytest

from condconv_keras.models import build_model, list_models, model_entry
from condconv_keras.utils.errors import UserError


def test_build_model_applies_the_entry_and_the_keywords():
    model = build_model("condconv_mobilenet_v1", num_experts=3, width_multiplier=0.25, start_block=13, classes=7)
    assert model.name == "condconv_mobilenet_v1"
    assert model.input.shape == (None, 224, 224, 3)
    assert model.output.shape == (None, 7)
    assert model.get_layer("block_13_routing").output.shape == (None, 3)
    assert model.get_layer("stem_bn").momentum == 0.9
    other = build_model("mobilenet_v1", bn_momentum=0.99, bn_epsilon=1e-5, width_multiplier=0.25)
    assert (other.get_layer("stem_bn").momentum, other.get_layer("stem_bn").epsilon) == (0.99, 1e-5)


def test_unknown_name_suggests_a_close_one():
    with pytest.raises(UserError, match=r"unknown model 'mobilenet_v'. Did you mean .*'mobilenet_v1'"):
        build_model("mobilenet_v")


@pytest.mark.parametrize("keyword", ["widht", "placement", "num_experts"])
def test_unknown_keyword_lists_the_accepted_ones(keyword):
    with pytest.raises(TypeError, match=rf"unexpected keyword argument '{keyword}'. Accepted: .*width_multiplier"):
        build_model("mobilenet_v1", **{keyword: 2})
    with pytest.raises(TypeError, match=r"Accepted: .*num_experts.*start_block"):
        build_model("condconv_mobilenet_v1", widht=2)


def test_stage_sizes_are_those_of_the_networks(monkeypatch):
    class Asked(Exception):
        pass

    def of(options, *, stage_sizes, **_):
        raise Asked(*stage_sizes)

    monkeypatch.setattr("condconv_keras.models.blocks.LayerFactory.of", of)
    for name in list_models():
        with pytest.raises(Asked) as asked:
            build_model(name)
        assert asked.value.args == model_entry(name).stage_sizes, name
