import dataclasses
import json

import pytest

from condconv_keras.data import open_dataset
from condconv_keras.training.config import Execution, TrainConfig
from condconv_keras.training.plan import TrainingPlan
from condconv_keras.training.recipes import get_recipe
from condconv_keras.training.run_data import open_run_dataset
from condconv_keras.utils.errors import UserError
from tests.images import encoded, exif, smooth_photo
from tests.training import configs

CONFIG = dataclasses.replace(
    configs.CONFIG,
    recipe_name="efficientnet",
    recipe=dataclasses.replace(get_recipe("efficientnet"), policy="randaugment", clip_norm=1.5),
    precision="mixed_bfloat16",
    seed=3,
    execution=Execution(strategy="mirrored", logical_cpus=2, checkpoint_every=10, deterministic=True),
)


def test_json_keeps_everything():
    assert TrainConfig.from_json(CONFIG.to_json()) == CONFIG


def test_what_a_run_of_0_1_inherited_is_read():
    inherited = {"model_arguments": {"padding": "symmetric"}, "preprocessing": {"channels": 3, "mean": 127, "std": 128}}
    config = dataclasses.replace(CONFIG, inherited=inherited)
    fields = json.loads(config.to_json())
    fields["inherited"]["preprocessing"] = {"channels": 3, "offset": 127, "scale": 128}
    assert TrainConfig.from_json(json.dumps(fields)) == config


def test_model_arguments_of_0_1_are_read():
    fields = json.loads(CONFIG.to_json())
    fields["model_arguments"] = {"num_experts": 4, "start_group": 3, "condconv_heads": True}
    received = TrainConfig.from_json(json.dumps(fields))
    today = {"num_experts": 4, "start_stage": 3, "condconv_predictors": True}
    assert received.model_arguments == today
    asked_for = dataclasses.replace(CONFIG, model_arguments=today)
    assert asked_for.differences(received) == []


def test_the_weights_of_a_run_of_0_1_are_read():
    fields = json.loads(CONFIG.to_json())
    del fields["weights"]
    for weights in (None, "/x.keras", "imagenet"):
        received = TrainConfig.from_json(json.dumps({**fields, "initial_weights": weights}))
        assert received == dataclasses.replace(CONFIG, weights=weights)


@pytest.mark.parametrize("text", ["", "[]", '["model"]', '"model"', "1", "null", "{}", '{"model_arguments": []}'])
def test_other_json_is_one_clear_line(text):
    with pytest.raises(UserError, match=r"expected the config\.json of a training run: ") as refusal:
        TrainConfig.from_json(text)
    assert "\n" not in str(refusal.value)


def test_a_run_may_go_on_in_another_way_but_not_as_another_run():
    elsewhere = dataclasses.replace(CONFIG, execution=Execution(), inherited={"model_arguments": {}})
    assert CONFIG.differences(elsewhere) == []
    recipe = dataclasses.replace(CONFIG.recipe, policy=None)
    assert CONFIG.differences(dataclasses.replace(CONFIG, precision="float32", recipe=recipe)) == [
        "precision",
        "recipe.policy",
    ]


@pytest.mark.parametrize(("field", "value"), [("epochs", 0), ("policy", "unheard_of"), ("unheard_of", 1)])
def test_a_recipe_that_is_none_is_one_clear_line(field, value):
    fields = json.loads(CONFIG.to_json())
    fields["recipe"][field] = value
    with pytest.raises(UserError, match=r"expected the config\.json of a training run: .*" + field) as refusal:
        TrainConfig.from_json(json.dumps(fields))
    assert "\n" not in str(refusal.value)


def test_a_run_of_0_1_left_images_as_they_were_stored():
    fields = json.loads(CONFIG.to_json())
    assert fields.pop("apply_orientation") is True
    received = TrainConfig.from_json(json.dumps(fields))
    assert received == dataclasses.replace(CONFIG, apply_orientation=False)


def test_the_data_of_a_run_are_opened_as_its_model_was_trained(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a/0.png").write_bytes(encoded(smooth_photo(4, 6), "PNG", exif=exif(6)))
    for own in (True, False):
        config = dataclasses.replace(CONFIG, dataset=str(tmp_path), apply_orientation=own)
        for given in (None, True, False):
            dataset, _ = open_run_dataset(config, None, None, None, False, CONFIG.task, given, own)
            applied = own if given is None else given
            assert dataset.image_shape == ((6, 4, 3) if applied else (4, 6, 3))
    for given in (True, False):
        with pytest.raises(UserError, match="`apply_orientation` is for image files"):
            open_run_dataset(CONFIG, "digits", None, None, False, CONFIG.task, given)


def test_the_card_of_a_run_says_what_was_done():
    for applied in (True, False):
        plan = TrainingPlan(dataclasses.replace(configs.CONFIG, apply_orientation=applied), open_dataset("digits"))
        assert plan.card.preprocessing.apply_orientation is applied


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": None},
        {"model": 1},
        {"seed": "3"},
        {"model_arguments": None},
        {"extensions": [[1.5]]},
        {"execution": {"strategy": 1}},
        {"recipe": {**json.loads(CONFIG.to_json())["recipe"], "learning_rate": 10**400}},
        {"recipe": {**json.loads(CONFIG.to_json())["recipe"], "nesterov": None}},
    ],
)
def test_a_field_of_another_form_is_one_clear_line(changes):
    with pytest.raises(UserError, match=r"expected the config\.json of a training run: ") as refusal:
        TrainConfig.from_json(json.dumps({**json.loads(CONFIG.to_json()), **changes}))
    assert "\n" not in str(refusal.value)
