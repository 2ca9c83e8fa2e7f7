"""Settings that cannot work together, asked for in Python: the errors name them as Python does."""

import dataclasses

import pytest

from condconv_keras.training.config import Execution
from condconv_keras.training.fit import train
from condconv_keras.training.recipes import get_recipe
from condconv_keras.training.rules import check_config, check_devices
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import UserError
from tests.training.configs import CONFIG


def _config(recipe=None, execution=None, **changes):
    recipe = dataclasses.replace(CONFIG.recipe, **recipe or {})
    return dataclasses.replace(CONFIG, recipe=recipe, execution=Execution(**execution or {}), **changes)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        _config({"freeze_epochs": 2}, weights="x.keras"),
        _config({"stochastic_depth_rate": 0.1}, model="condconv_mobilenet_v2"),
        _config({"expert_start": "anchored"}, model_arguments={"num_experts": 2}),
        _config({"router_normalization": True}, weights="x.keras"),
        _config({"router_normalization": True}, weights="x.weights.h5", model="mobilenet_v1"),
        # A recipe serves the plain network, too.
        _config({"expert_start": "anchored", "routing_temperature": 30.0}, model="mobilenet_v1"),
        _config(execution={"strategy": "mirrored", "logical_cpus": 2}, precision="mixed_float16"),
        _config(execution={"deterministic": True, "jit_compile": True}, precision="mixed_float16"),
        _config(execution={"log_routing": True}, model_arguments={"start_block": 13}),
        _config(execution={"log_routing": True}, model_arguments={"start_block": 14, "condconv_classifier": True}),
        dataclasses.replace(
            _config(execution={"log_routing": True}, model_arguments={"start_block": 14}),
            model="condconv_ssd300_mobilenet_v1",
            task="detection",
            recipe=get_recipe("digit_scenes"),
        ),
    ],
)
def test_what_works_is_taken(config):
    check_config(config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            _config({"stochastic_depth_rate": 0.1}),
            "`stochastic_depth_rate` is not for `model='condconv_mobilenet_v1'`, which has no residual blocks: "
            "it must be 0",
        ),
        (
            dataclasses.replace(CONFIG, recipe=get_recipe("digit_scenes")),
            "`recipe` of a classifier is a ClassificationRecipe. Received: a DetectionRecipe",
        ),
        (
            _config({"expert_start": "anchored"}, model_arguments={"routing_activation": "softmax"}),
            "`expert_start='anchored'` is for `routing_activation='sigmoid'`. Received: 'softmax'",
        ),
        (
            _config({"expert_start": "anchored"}, weights="x.weights.h5"),
            "`expert_start='anchored'` is for a new network or one from a plain .keras file, not .weights.h5",
        ),
        (
            _config({"router_normalization": True}, weights="x.weights.h5"),
            "`router_normalization` is for a new network or one from a .keras file, not .weights.h5",
        ),
        (_config(execution={"tpu": "pod"}), "`tpu` is for `strategy='tpu'`"),
        (
            _config(execution={"data_service": "grpc://host:1"}, dataset="digit_scenes"),
            "`data_service` is not for digit_scenes, which this process makes",
        ),
        (
            _config(model_arguments={"start_block": 3, "start_stage": 2}),
            "`start_block` and `start_stage` exclude each other",
        ),
        (
            _config({"freeze_epochs": 2}),
            "`freeze_epochs` trains the classifier on features that must have been learned: give `weights`, or "
            "`freeze_epochs=0`",
        ),
        (
            _config(execution={"log_routing": True}, model_arguments={"start_block": 14, "condconv_classifier": False}),
            "`log_routing` is for networks with CondConv layers: `model='condconv_mobilenet_v1'` has none with these "
            "arguments",
        ),
        (
            _config(execution={"log_routing": True}, model="mobilenet_v2", model_arguments={}),
            "`log_routing` is for networks with CondConv layers: `model='mobilenet_v2'` has none with these arguments",
        ),
        (
            _config(execution={"log_routing": True}, model_arguments={"start_block": 20}),
            "`start_block` must be between 1 and 14 for 13 blocks. Received: start_block=20",
        ),
        (
            _config(execution={"deterministic": True, "data_service": "grpc://host:1"}),
            "`deterministic` cannot hold with `data_service`, which delivers batches as they get ready",
        ),
        (
            _config(execution={"strategy": "mirrored", "jit_compile": True}, precision="mixed_float16"),
            "`jit_compile` crashes TensorFlow with `precision='mixed_float16'` on mirrored devices: "
            "take mixed_bfloat16",
        ),
        (
            _config(execution={"strategy": "mirrored", "logical_cpus": 2, "jit_compile": True}),
            "`jit_compile` does not work on `logical_cpus`: TensorFlow compiles for one of them",
        ),
        (
            _config({"schedule": "staircase"}),
            "`schedule='exponential'` and `schedule='staircase'` need a `decay_rate` other than 1",
        ),
        (
            _config({"cutmix_alpha": 1.0, "batch_size": 1}),
            "`mixup_alpha` and `cutmix_alpha` mix the images of a batch: `batch_size` must be more than 1",
        ),
        (
            _config(execution={"strategy": "tpu"}, precision="mixed_float16"),
            "`precision='mixed_float16'` is not for `strategy='tpu'`: take mixed_bfloat16",
        ),
    ],
)
def test_what_cannot_work_is_refused(config, message):
    with pytest.raises(UserError) as refusal:
        check_config(config)
    assert str(refusal.value) == message


@pytest.mark.parametrize("strategy", ["none", "multi_worker_mirrored", "tpu"])
def test_logical_cpus_are_for_one_strategy(strategy):
    with pytest.raises(UserError, match=r"^`logical_cpus` is for `strategy='mirrored'`$"):
        check_devices(Execution(strategy=strategy, logical_cpus=2))


def test_training_refuses_what_cannot_work_before_it_begins(tmp_path):
    config = _config({"freeze_epochs": 2})
    with pytest.raises(UserError, match=r"^`freeze_epochs` trains the classifier"):
        train(config, RunFolder(tmp_path / "run"), None, None, "", {})
    assert not (tmp_path / "run").exists()
