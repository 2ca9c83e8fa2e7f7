"""Every pair of flags of a training run is accepted by the checks before the work or refused by one line."""

import itertools
import random
import types

import pytest
from absl import flags

from condconv_keras.commands import train
from condconv_keras.commands.train_flags import define_flags
from condconv_keras.data import Preprocessing
from condconv_keras.facts import old_names
from condconv_keras.models.blocks import LayerFactory
from condconv_keras.training.optimization import make_schedule
from condconv_keras.training.plan import TrainingPlan
from condconv_keras.utils.errors import UserError

MODELS = ("mobilenet_v2", "condconv_mobilenet_v2", "condconv_resnet50", "condconv_ssd300_mobilenet_v1")
BOOLEAN = ("true", "false")
NUMBERS = ("0", "1", "0.5", "-1", "1e300", "1e-300", "inf", "nan")
# Values of every flag, usual ones and ends of the range; IMAGES is an empty folder.
VALUES = {
    "width_multiplier": ("0.25", "0.01", "16", "0", "nan"),
    "num_experts": ("1", "3", "0", "x"),
    "start_block": ("1", "13", "14", "18", "99"),
    "start_stage": ("1", "4", "8", "99"),
    **dict.fromkeys(("condconv_head", "condconv_shortcut", "condconv_classifier", "condconv_predictors"), BOOLEAN),
    "routing_per": ("block", "layer", "network"),
    "routing_activation": ("sigmoid", "softmax"),
    "weights": ("imagenet", "x.keras", "x.weights.h5", "x.h5", ""),
    "layers": ("conv_*", "a,b", ""),
    "classifier_layer": ("fc", ""),
    **dict.fromkeys(("mean", "std"), ("127.5", "1,2,3", "0", "x", "")),
    "interpolation": ("bicubic", "bilinear"),
    "dataset": ("digits", "digit_scenes", "fashion_mnist", "coco/2017", "IMAGES", "IMAGES/none", ""),
    "data_dir": ("IMAGES", "none", ""),
    "validation_fraction": ("0.2", "0", "1", "2", "nan"),
    "skip_bad_images": BOOLEAN,
    "check_images": BOOLEAN,
    "apply_orientation": BOOLEAN,
    "class_weights": ("none", "balanced"),
    "recipe": ("small", "efficientnet", "finetune", "ssd", "digit_scenes", "none", ""),
    "epochs": ("1", "300", "0", str(10**30)),
    "batch_size": ("1", "32", "0", str(10**30)),
    "input_size": ("32", "96", "31", "0"),
    "optimizer": ("sgd", "rmsprop", "adamw"),
    "nesterov": BOOLEAN,
    "schedule": ("cosine", "exponential", "staircase"),
    "augmentation": ("none", "pad_crop", "inception", "ssd", "ssd_no_flip", "x"),
    "policy": ("none", "autoaugment", "randaugment"),
    "policy_layers": ("1", "3", "0"),
    "freeze_epochs": ("0", "1", "-1"),
    "synchronized_bn": BOOLEAN,
    "router_normalization": BOOLEAN,
    "expert_start": ("independent", "alike", "anchored"),
    **dict.fromkeys(
        (
            "learning_rate",
            "momentum",
            "decay_rate",
            "decay_epochs",
            "warmup_epochs",
            "warmup_start",
            "weight_decay",
            "clip_norm",
            "label_smoothing",
            "dropout_rate",
            "stochastic_depth_rate",
            "ema_decay",
            "bn_momentum",
            "policy_magnitude",
            "random_erasing",
            "mixup_alpha",
            "cutmix_alpha",
            "crop_fraction",
            "routing_temperature",
            "temperature_epochs",
            "router_scale",
            "router_learning_rate",
            "expert_dropout",
            "expert_diversity",
            "expert_balance",
        ),
        NUMBERS,
    ),
    "strategy": ("none", "mirrored", "multi_worker_mirrored", "tpu"),
    "tpu": ("pod", ""),
    "logical_cpus": ("1", "2", "0"),
    "data_service": ("grpc://host:1", "host", ""),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
    "jit_compile": BOOLEAN,
    "steps_per_execution": ("1", "2", "0"),
    "checkpoint_every": ("1", "100", "0"),
    "log_routing": BOOLEAN,
    "deterministic": BOOLEAN,
    "seed": ("1", "0", str(2**32 - 1), str(2**32)),
}
# What is decided before or beside the run.
OTHERS = {"model", "model_dir", "dry_run", "json", *old_names.TRAIN_FLAGS}


class _Built(Exception):
    """The arguments of a network are right; building it would take a second."""


@pytest.fixture
def parser():
    """Flags, to be parsed as often as one likes."""
    values = flags.FlagValues()
    define_flags(values)
    return values


def test_every_flag_has_values(parser):
    assert {*VALUES, *OTHERS} == set(parser)


def test_every_pair_of_flags_is_accepted_or_refused_by_one_line(parser, monkeypatch, tmp_path):
    def of(options, check=LayerFactory.of, **arguments):
        check(options, **arguments)
        raise _Built

    monkeypatch.setattr(LayerFactory, "of", of)
    monkeypatch.chdir(tmp_path)
    choice, accepted, refused = random.Random(0), 0, 0
    for pair in itertools.combinations(VALUES, 2):
        given = [f"--{name}={choice.choice(VALUES[name]).replace('IMAGES', str(tmp_path))}" for name in pair]
        command = [f"--model={choice.choice(MODELS)}", *given]
        try:
            _check(parser, command)
            accepted += 1
        except (UserError, flags.Error) as refusal:
            refused += 1
            assert "\n" not in str(refusal), command
        except Exception as error:
            raise AssertionError(f"no line refuses {' '.join(command)}") from error
    assert accepted > 100
    assert refused > 100


def _check(parser, command):
    """What `train.py` does before it opens the data and, short of building the network, before the first step."""
    parser.unparse_flags()
    parser(["train.py", *command])
    config, _ = train.config_from_flags(parser)
    plan = TrainingPlan(config, types.SimpleNamespace(class_names=("a", "b")))
    size = config.recipe.input_size
    plan.card = types.SimpleNamespace(preprocessing=Preprocessing((size, size), 3, 127.5, 127.5))
    with pytest.raises(_Built):
        plan.build_network()
    schedule = make_schedule(config.recipe, steps_per_epoch=2)
    for step in (0, 1):
        schedule(step)
