"""What `train.py` makes of its flags, in this process: nothing here trains."""

import dataclasses
import json
import re
import shlex

import keras
import pytest
from absl import flags

from condconv_keras.commands import cli, train
from condconv_keras.commands.train_flags import RECIPE_FLAGS, define_flags
from condconv_keras.models import build_model, list_models, model_entry
from condconv_keras.models.blocks import LayerFactory
from condconv_keras.tasks.table import all_tasks
from condconv_keras.training.config import Execution
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import UserError
from tests import processes

# Few CondConv layers, for the time that tracing takes.
SMALL = ("--model=condconv_mobilenet_v1", "--width_multiplier=0.25", "--num_experts=2", "--start_block=13")


def _parse(*arguments):
    values = flags.FlagValues()
    define_flags(values)
    values(["train.py", *arguments])
    return values


def _config(*arguments):
    return train.config_from_flags(_parse(*arguments))[0]


def _refusal(*arguments):
    """What is printed for flags that are refused."""
    values = _parse(*arguments)
    with pytest.raises(UserError) as refusal:
        train.config_from_flags(values)
    return cli.as_flags(str(refusal.value), values)


@pytest.mark.parametrize(
    ("name", "dataset", "recipe"),
    [
        ("tests/", str(processes.ROOT / "tests"), "small"),
        ("digits", "digits", "digits"),
        ("fashion_mnist:3.0.1", "fashion_mnist:3.0.1", "fashion_mnist"),
        ("imagenet2012", "imagenet2012", "mobilenet"),
    ],
)
def test_a_folder_is_the_same_from_every_folder(monkeypatch, name, dataset, recipe):
    """A relative path is stored as an absolute one, except where it names the embedded data set."""
    monkeypatch.chdir(processes.ROOT)
    config = _config("--model=mobilenet_v1", f"--dataset={name}")
    assert (config.dataset, config.recipe_name) == (dataset, recipe)


def test_every_field_of_a_recipe_has_a_flag():
    assert set(RECIPE_FLAGS) == {field.name for task in all_tasks() for field in dataclasses.fields(task.recipe)}


def test_flags_change_the_recipe():
    changes = {
        "epochs": 7,
        "batch_size": 64,
        "input_size": 48,
        "optimizer": "rmsprop",
        "learning_rate": 0.3,
        "momentum": 0.0,
        "nesterov": False,
        "warmup_start": 0.5,
        "schedule": "staircase",
        "decay_rate": 0.5,
        "decay_epochs": 1.5,
        "warmup_epochs": 0.0,
        "weight_decay": 0.0,
        "clip_norm": 2.0,
        "label_smoothing": 0.0,
        "class_weights": "balanced",
        "dropout_rate": 0.4,
        "stochastic_depth_rate": 0.1,
        "ema_decay": 0.99,
        "freeze_epochs": 3,
        "bn_momentum": 0.0,
        "synchronized_bn": False,
        "augmentation": "inception",
        "policy": "randaugment",
        "policy_layers": 3,
        "policy_magnitude": 0.0,
        "random_erasing": 0.25,
        "mixup_alpha": 0.2,
        "cutmix_alpha": 1.0,
        "crop_fraction": 0.9,
        "routing_temperature": 30.0,
        "temperature_epochs": 1.5,
        "router_normalization": True,
        "expert_start": "anchored",
        "router_scale": 0.5,
        "router_learning_rate": 0.1,
        "expert_dropout": 0.2,
        "expert_diversity": 0.3,
        "expert_balance": 0.4,
    }
    given = [f"--{name}={value}" for name, value in changes.items()]
    common = ("--model=condconv_mobilenet_v2", "--weights=x.keras", "--strategy=mirrored", "--logical_cpus=2")
    config = _config(*common, *given)
    assert dataclasses.asdict(config.recipe) == changes


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], (0.0, 0.1)),
        (["--router_learning_rate=0.5"], (0.0, 0.5)),
        (["--expert_start=alike"], (1.0, 1.0)),
        (["--weights=x.keras"], (1.0, 1.0)),
        (["--weights=x.keras", "--router_scale=0.5"], (0.5, 1.0)),
        (["--recipe=mobilenet"], (1.0, 1.0)),
    ],
)
def test_the_routers_of_a_recipe_are_for_experts_that_start_with_values_of_their_own(flags, expected):
    recipe = _config("--model=condconv_mobilenet_v1", *flags).recipe
    assert (recipe.router_scale, recipe.router_learning_rate) == expected


def test_flags_of_the_execution():
    changes = {
        "strategy": "mirrored",
        "tpu": None,
        "logical_cpus": 2,
        "data_service": "grpc://host:5000",
        "jit_compile": False,
        "steps_per_execution": 4,
        "checkpoint_every": 100,
        "deterministic": False,
        "log_routing": False,
    }
    given = [f"--{name}={value}" for name, value in changes.items() if value is not None]
    assert _config("--model=mobilenet_v2", *given).execution == Execution(**changes)
    assert _config("--model=mobilenet_v2", "--jit_compile").execution == Execution(jit_compile=True)
    assert _config("--model=mobilenet_v2", "--strategy=tpu", "--tpu=pod", "--deterministic").execution == Execution(
        strategy="tpu", tpu="pod", deterministic=True
    )


def test_images_are_turned_unless_a_flag_keeps_them():
    data = ("--model=mobilenet_v2", "--dataset=imagenet2012")
    for flags_, applied in (((), True), (("--apply_orientation",), True), (("--noapply_orientation",), False)):
        assert _config(*data, *flags_).apply_orientation is applied


def test_a_policy_is_switched_off_by_none():
    assert _config("--model=mobilenet_v2", "--policy=none").recipe.policy is None


def test_the_learning_rate_follows_the_batch_size_unless_it_is_given():
    imagenet = ("--model=efficientnet_b0", "--dataset=imagenet2012")
    assert _config(*imagenet).recipe.learning_rate == pytest.approx(0.128)
    assert _config(*imagenet, "--batch_size=256").recipe.learning_rate == pytest.approx(0.016)
    assert _config(*imagenet, "--batch_size=256", "--learning_rate=0.128").recipe.learning_rate == 0.128


V1, RESNET, B0 = "--model=condconv_mobilenet_v1", "--model=condconv_resnet50", "--model=condconv_efficientnet_b0"


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        # What the model has no use for.
        (["--model=mobilenet_v1", "--num_experts=4"], "--num_experts is for condconv_ models"),
        (["--model=mobilenet_v1", "--log_routing"], "--log_routing is for condconv_ models"),
        (["--model=mobilenet_v1", "--routing_per=layer"], "--routing_per is for condconv_ models"),
        (["--model=mobilenet_v1", "--expert_start=alike"], "--expert_start is for condconv_ models"),
        (
            ["--model=condconv_mobilenet_v1", "--temperature_epochs=2"],
            "--temperature_epochs is for a --routing_temperature of more than 1",
        ),
        (["--model=mobilenet_v1", "--nocondconv_classifier"], "--condconv_classifier is for condconv_ models"),
        ([RESNET, "--width_multiplier=0.5"], "--width_multiplier is not for --model=condconv_resnet50"),
        ([B0, "--width_multiplier=0.5"], "--width_multiplier is not for --model=condconv_efficientnet_b0"),
        ([V1, "--stochastic_depth_rate=0.1"], "no residual blocks"),
        ([V1, "--recipe=efficientnet"], "no residual blocks: it must be 0"),
        ([V1, "--condconv_head"], "no convolution after its blocks"),
        ([RESNET, "--condconv_head"], "no convolution after its blocks"),
        ([B0, "--condconv_shortcut"], "no projection shortcuts"),
        ([V1, "--start_block=3", "--start_stage=2"], "--start_block and --start_stage exclude each other"),
        # What the data have no use for.
        ([V1, "--data_dir=data"], "--data_dir is for data sets of TFDS"),
        ([V1, "--dataset=IMAGES", "--data_dir=data"], "--data_dir is for data sets of TFDS"),
        ([V1, "--validation_fraction=0.2"], "--validation_fraction is for data without a held-out split"),
        ([V1, "--dataset=IMAGES", "--validation_fraction=0.1"], "--validation_fraction is for data without"),
        ([V1, "--skip_bad_images"], "--skip_bad_images is for a folder"),
        ([V1, "--noapply_orientation"], "--apply_orientation is for image files"),
        ([V1, "--dataset=fashion_mnist", "--skip_bad_images"], "--skip_bad_images is for a folder"),
        ([V1, "--nocheck_images"], "--check_images is for a folder of images by class"),
        # What the recipe has no use for.
        ([V1, "--optimizer=adamw", "--momentum=0.8"], "--momentum is for sgd and rmsprop"),
        ([V1, "--decay_rate=0.9"], "--decay_rate is for --schedule=exponential"),
        ([V1, "--schedule=cosine", "--decay_epochs=2"], "--decay_epochs is for --schedule=exponential"),
        ([V1, "--policy_layers=3"], "--policy_layers is for --policy=randaugment"),
        ([V1, "--policy=autoaugment", "--policy_magnitude=3"], "--policy_magnitude is for --policy=randaugment"),
        ([V1, "--freeze_epochs=1"], "give --weights"),
        ([V1, "--recipe=finetune"], "give --weights, or --freeze_epochs=0"),
        # What the execution has no use for, or cannot do.
        ([V1, "--tpu=pod"], "--tpu is for --strategy=tpu"),
        ([V1, "--logical_cpus=2"], "--logical_cpus is for --strategy=mirrored"),
        ([V1, "--strategy=multi_worker_mirrored", "--logical_cpus=2"], "--logical_cpus is for --strategy=mirrored"),
        ([V1, "--synchronized_bn"], "--synchronized_bn is for a --strategy"),
        ([V1, "--strategy=tpu", "--jit_compile"], "--jit_compile is not for --strategy=tpu"),
        ([V1, "--strategy=tpu", "--precision=mixed_float16"], "take mixed_bfloat16"),
        ([V1, "--strategy=mirrored", "--jit_compile", "--precision=mixed_float16"], "take mixed_bfloat16"),
        ([V1, "--deterministic", "--data_service=grpc://host:1"], "--deterministic cannot hold with --data_service"),
        (
            [V1, "--weights=coco"],
            "--weights is 'imagenet', a .keras or a .weights.h5 file, or the folder of a SavedModel. Received: 'coco'",
        ),
        ([V1, "--strategy=mirrored", "--logical_cpus=2", "--jit_compile"], "--jit_compile does not work on"),
        ([V1, "--schedule=staircase", "--decay_epochs=3"], "need a --decay_rate other than 1"),
        ([V1, "--batch_size=1", "--mixup_alpha=0.2"], "--batch_size must be more than 1"),
        # Values out of range.
        ([V1, "--mixup_alpha=inf"], "mixup_alpha"),
        ([V1, "--epochs=0"], "epochs=0"),
        ([V1, "--learning_rate=nan"], "learning_rate=nan"),
        ([V1, "--augmentation=inceptoin"], "Did you mean 'inception'"),
        ([V1, "--recipe=finetune", "--epochs=2", "--weights=imagenet"], "--freeze_epochs must be less than --epochs"),
    ],
)
def test_what_would_be_ignored_or_cannot_work_is_refused(tmp_path, arguments, contains):
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
    refusal = _refusal(*(argument.replace("IMAGES", str(tmp_path)) for argument in arguments))
    assert contains in refusal
    assert "\n" not in refusal


@pytest.mark.parametrize(
    ("old", "new", "model"),
    [
        ("start_group=4", "start_stage=4", "resnet50"),
        ("condconv_heads", "condconv_predictors", "ssd300_mobilenet_v1"),
        ("nocondconv_heads", "nocondconv_predictors", "ssd300_mobilenet_v1"),
        ("initial_weights=/x.keras", "weights=/x.keras", "resnet50"),
        ("initial_weights=/x.keras", "weights=imagenet", "resnet50"),
    ],
)
def test_a_flag_is_taken_under_its_old_name(old, new, model):
    model = f"--model=condconv_{model}"
    config = _config(model, f"--{old}")
    if old.partition("=")[2] == new.partition("=")[2]:
        assert config == _config(model, f"--{new}")
    assert config != _config(model)
    names = [flag.partition("=")[0].removeprefix("no") for flag in (new, old)]
    with pytest.raises(flags.Error) as refusal:
        _config(model, f"--{old}", f"--{new}")
    assert f"--{names[0]} and --{names[1]}, its old name, exclude each other" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_old_name_is_refused_under_the_new_one():
    with pytest.raises(UserError, match="--start_stage is for condconv_ models"):
        _config("--model=resnet50", "--start_group=4")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model=efficientnet_lite0", "--width_multiplier=0.5"],
        [V1, "--recipe=efficientnet", "--stochastic_depth_rate=0"],
        [V1, "--dataset=fashion_mnist", "--data_dir=data", "--validation_fraction=0.1"],
        [V1, "--dataset=IMAGES", "--validation_fraction=0.1", "--skip_bad_images", "--noapply_orientation"],
        [V1, "--schedule=exponential", "--decay_rate=0.9"],
        [V1, "--policy=randaugment", "--policy_layers=3"],
        [V1, "--recipe=finetune", "--weights=imagenet"],
        [V1, "--recipe=finetune", "--freeze_epochs=0"],
        [V1, "--strategy=mirrored", "--synchronized_bn", "--logical_cpus=2"],
        [V1, "--deterministic", "--policy=autoaugment"],
        [V1, "--noskip_bad_images", "--check_images", "--strategy=none", "--nodeterministic"],
        [V1, "--dataset=IMAGES", "--nocheck_images"],
    ],
)
def test_what_has_a_use_is_taken(tmp_path, arguments):
    _config(*(argument.replace("IMAGES", str(tmp_path)) for argument in arguments))


def _main(monkeypatch, *arguments):
    monkeypatch.setattr(train, "FLAGS", _parse(*arguments))
    return train.main(["train.py"])


def test_a_dry_run_describes_the_run_and_writes_nothing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    arguments = [*SMALL, "--dry_run", "--batch_size=64"]
    description = json.loads(_main(monkeypatch, *arguments, "--json", "--model_dir=run"))
    assert description["config"]["recipe"]["learning_rate"] == pytest.approx(0.04)
    assert description["data"]["steps_per_epoch"] == 1437 // 64
    assert description["data"]["input_shape"] == [64, 64, 1]
    # Described once: the speed is measured each time.
    monkeypatch.setattr(train, "describe_run", lambda *_: description)
    lines = dict(line.split(maxsplit=1) for line in _main(monkeypatch, *arguments).splitlines())
    assert lines["parameters"].startswith(f"{description['model']['parameters']:,} (")
    assert lines["recipe.batch_size"] == "64"
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_checks_the_run_folder_too(monkeypatch, tmp_path):
    RunFolder(tmp_path).start(_config(*SMALL, "--epochs=30"))
    with pytest.raises(UserError, match=r"another configuration \(different: recipe\.epochs\)"):
        _main(monkeypatch, *SMALL, "--dry_run", f"--model_dir={tmp_path}")


def test_only_a_dry_run_does_without_a_folder(monkeypatch):
    with pytest.raises(UserError, match="--model_dir is needed"):
        _main(monkeypatch, *SMALL)


def _documented_commands(page):
    """The training commands in the code blocks of a page, as lists of arguments."""
    text = (processes.ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    text = "\n".join(blocks).replace("\\\n", " ")
    for name, value in re.findall(r'^(\w+)="(.*)"$', text, re.MULTILINE):
        text = text.replace(f"${name}", value)
    return [shlex.split(arguments) for arguments in re.findall(r"python train\.py (.*)", text)]


# Pages with commands, and how many at least: more are welcome, none would mean that they are no longer found.
PAGES = {
    "README.md": 2,
    "docs/detection.md": 7,
    "docs/evaluation.md": 1,
    "docs/pretrained.md": 3,
    "docs/training.md": 17,
}


@pytest.mark.parametrize("page", PAGES)
def test_the_documented_commands_are_accepted(page, tmp_path, monkeypatch):
    """A reader's own files are there as a plain network of one layer."""
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    for name in ("plain.keras", "mine.keras"):
        network.save(tmp_path / name)
    documented = _documented_commands(page)
    assert len(documented) >= PAGES[page]
    monkeypatch.chdir(tmp_path)
    for arguments in documented:
        _config(*arguments)


def test_the_commands_for_imagenet_are_those_of_the_papers_models():
    configs = [
        _config(*arguments)
        for arguments in _documented_commands("docs/training.md")
        if "imagenet2012" in str(arguments)
    ]
    plain = ["efficientnet_b0", "mnasnet_a1", "mobilenet_v1", "mobilenet_v2", "resnet50"]
    assert sorted(config.model for config in configs) == [*(f"condconv_{name}" for name in plain), *plain]
    assert all(config.recipe_name == model_entry(config.model).recipe for config in configs)


def test_the_commands_for_coco_are_those_of_the_papers_detectors():
    configs = [
        _config(*arguments) for arguments in _documented_commands("docs/detection.md") if "coco/2014" in str(arguments)
    ]
    detectors = {(config.model, config.model_arguments["width_multiplier"]) for config in configs}
    names = ("ssd300_mobilenet_v1", "condconv_ssd300_mobilenet_v1")
    assert len(configs) == 6
    assert detectors == {(name, width) for name in names for width in (0.5, 0.75, 1.0)}
    assert {config.recipe_name for config in configs} == {"ssd"}


ONE_TWIN_OF_EACH_FAMILY = {model_entry(name).builder: name for name in list_models("condconv_*")}.values()
FAMILY_FLAGS = ("--width_multiplier=0.5", "--stochastic_depth_rate=0.1")
PARTS = ("--condconv_head", "--condconv_shortcut", "--condconv_classifier", "--condconv_predictors")


@pytest.mark.parametrize("given", FAMILY_FLAGS + PARTS)
@pytest.mark.parametrize("name", ONE_TWIN_OF_EACH_FAMILY)
def test_a_model_takes_the_flags_that_its_network_can_be_built_with(name, given, monkeypatch):
    flag, _, number = given.removeprefix("--").partition("=")
    if _is_taken(name, flag, float(number) if number else True, monkeypatch):
        _config(f"--model={name}", given)
    else:
        refusal = _refusal(f"--model={name}", given)
        assert f"--{flag} is not for --model={name}, wh" in refusal or f"--{flag} is for classifiers, the " in refusal


class _Accepted(Exception):
    """The arguments of a network are right; building it would take a second."""


def _is_taken(name, flag, value, monkeypatch):
    def of(options, check=LayerFactory.of, **arguments):
        check(options, **arguments)
        raise _Accepted

    monkeypatch.setattr(LayerFactory, "of", of)
    with pytest.raises((TypeError, ValueError, _Accepted)) as raised:
        build_model(name, **{flag: value})
    assert raised.type is _Accepted or flag in str(raised.value)
    return raised.type is _Accepted
