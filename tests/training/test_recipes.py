import dataclasses
import math

import pytest

from condconv_keras.data.augment.augmentation import AugmentationOptions
from condconv_keras.training.recipes import RECIPES, default_recipe_name, get_recipe
from condconv_keras.utils.errors import UserError

# Independent of the code: the published values, as the project's specification lists them.
EFFICIENTNET = {
    "epochs": 350,
    "batch_size": 2048,
    "optimizer": "rmsprop",
    "momentum": 0.9,
    "learning_rate": 0.128,
    "schedule": "staircase",
    "decay_rate": 0.97,
    "decay_epochs": 2.4,
    "warmup_epochs": 5,
    "weight_decay": 1e-5,
    "label_smoothing": 0.1,
    "dropout_rate": 0.2,
    "stochastic_depth_rate": 0.2,
    "augmentation": "inception",
    "ema_decay": 0.9999,
}
PUBLISHED = {
    "efficientnet": EFFICIENTNET,
    "efficientnet_condconv": EFFICIENTNET | {"dropout_rate": 0.25},
    "mnasnet": EFFICIENTNET | {"batch_size": 1024, "learning_rate": 0.064, "stochastic_depth_rate": 0.0},
    "mobilenet": {
        "batch_size": 4096,
        "optimizer": "sgd",
        "momentum": 0.9,
        "learning_rate": 1.6,
        "schedule": "exponential",
        "decay_rate": 0.975,
        "decay_epochs": 1.0,
        "warmup_epochs": 10,
        "weight_decay": 8e-5,
        "label_smoothing": 0.1,
        "dropout_rate": 0.0,
        "stochastic_depth_rate": 0.0,
        "augmentation": "inception",
        "ema_decay": 0.0,
    },
    "ssd": {
        "batch_size": 1024,
        "optimizer": "sgd",
        "momentum": 0.9,
        "nesterov": False,
        "learning_rate": 0.9,
        "schedule": "cosine",
        "warmup_start": 0.3 / 0.9,
        "weight_decay": 4e-5,
        "ema_decay": 0.0,
        "augmentation": "ssd",
    },
}


def test_the_steps_of_the_detection_recipe():
    """20,000 steps, 1,000 of them warm-up, on the 82,783 training images of COCO 2014."""
    recipe = get_recipe("ssd")
    steps = 82_783 // recipe.batch_size
    assert (recipe.epochs * steps, recipe.warmup_epochs * steps) == (20_000, 1_000)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_recipes(name):
    recipe = get_recipe(name)
    assert {field: getattr(recipe, field) for field in PUBLISHED[name]} == pytest.approx(PUBLISHED[name])
    # What the paper adds for larger models only is a matter of flags.
    assert (recipe.policy, recipe.mixes_images) == (None, False)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("epochs", [0, -1, math.nan]),
        ("batch_size", [0, math.nan]),
        ("optimizer", ["adam", None]),
        ("schedule", ["linear"]),
        ("learning_rate", [-0.1, math.nan, math.inf]),
        ("decay_rate", [0.0, math.nan]),
        ("decay_epochs", [0.0, math.inf]),
        ("warmup_epochs", [-1.0, math.nan]),
        ("weight_decay", [-1e-5, math.nan]),
        ("momentum", [-0.1, 1.0, math.nan]),
        ("label_smoothing", [1.0, -0.1]),
        ("dropout_rate", [1.0, math.nan]),
        ("stochastic_depth_rate", [1.0, -0.2]),
        ("ema_decay", [1.0, -0.5]),
        ("freeze_epochs", [-1, 20, 21]),
        ("clip_norm", [0.0, math.nan]),
        ("crop_fraction", [0.0, 1.1, math.nan]),
        ("bn_momentum", [1.0, -0.1]),
        ("input_size", [31, 0]),
    ],
)
def test_a_value_out_of_range_is_named(name, values):
    for value in values:
        with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}="):
            dataclasses.replace(get_recipe("digits"), **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("augmentation", "ssd"),
        ("policy", "trivialaugment"),
        ("policy_layers", 0),
        ("policy_magnitude", 10.5),
        ("random_erasing", math.nan),
        ("mixup_alpha", -0.2),
        ("cutmix_alpha", math.nan),
    ],
)
def test_an_augmentation_out_of_range_is_named(name, value):
    with pytest.raises(UserError, match=f"{name.replace('_', '.')}.*{value}"):
        dataclasses.replace(get_recipe("digits"), **{name: value})


def test_the_augmentation_of_a_recipe():
    recipe = dataclasses.replace(get_recipe("digits"), policy="randaugment", policy_layers=3, mixup_alpha=0.2)
    assert recipe.augmentation_options == AugmentationOptions(
        augmentation="pad_crop", policy="randaugment", policy_layers=3, mixup_alpha=0.2
    )


def test_the_ends_of_the_ranges_are_allowed():
    ends = {"warmup_epochs": 0, "weight_decay": 0.0, "momentum": 0.0, "random_erasing": 1.0, "crop_fraction": 1.0}
    dataclasses.replace(get_recipe("digits"), freeze_epochs=19, clip_norm=None, input_size=32, bn_momentum=0.0, **ends)


@pytest.mark.parametrize(("name", "value"), [("crop_fraction", 0.9), ("epochs", 0), ("epochs", 2.5)])
def test_a_value_out_of_range_of_a_detector_is_named(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}="):
        dataclasses.replace(get_recipe("ssd"), **{name: value})


def test_the_augmentation_of_a_detector():
    dataclasses.replace(get_recipe("ssd"), augmentation="ssd_no_flip", crop_fraction=1.0)
    with pytest.raises(UserError, match=r"unknown augmentation 'ssd_noflip'\. Did you mean 'ssd_no_flip'"):
        dataclasses.replace(get_recipe("ssd"), augmentation="ssd_noflip")


def test_a_recipe_that_0_1_stored():
    """It held what only classifiers have with those of detectors, too."""
    recipe = get_recipe("ssd")
    of_classifiers = {"label_smoothing": 0.0, "policy": None, "policy_layers": 2, "freeze_epochs": 0}
    assert type(recipe).from_dict({**dataclasses.asdict(recipe), **of_classifiers}) == recipe
    for unexpected in ({"momentums": 0.0}, {"label_smoothing": 0.1}):
        with pytest.raises(TypeError):
            type(recipe).from_dict({**dataclasses.asdict(recipe), **unexpected})


def test_a_recipe_of_another_task():
    expected = "`recipe` of a detector is one of ssd, ssd_small, digit_scenes, scenes. Received: 'small'"
    with pytest.raises(UserError, match=f"^{expected}$"):
        get_recipe("small", "detection")


def test_an_unknown_recipe():
    with pytest.raises(UserError, match=r"unknown recipe 'mobilnet'\. Did you mean 'mobilenet'"):
        get_recipe("mobilnet")


def test_the_recipe_of_a_run_that_names_none():
    assert default_recipe_name("digits", "mobilenet") == "digits"
    assert default_recipe_name("fashion_mnist:3.0.1", "mobilenet") == "fashion_mnist"
    assert default_recipe_name("imagenet2012", "efficientnet") == "efficientnet"
    assert default_recipe_name("/photos", "efficientnet") == "small"
    assert default_recipe_name("digit_scenes", "ssd", "detection") == "digit_scenes"
    assert default_recipe_name("scenes", "ssd", "detection") == "scenes"
    assert default_recipe_name("coco/2014", "ssd", "detection") == "ssd"
    assert default_recipe_name("voc/2007", "ssd", "detection") == "ssd_small"


def test_the_rates_of_our_recipes_for_their_batches():
    """Their results in docs/results were measured with these."""
    expected = {"digits": (0.02, 32), "small": (0.02, 32), "digit_scenes": (0.015, 16), "ssd_small": (0.05, 32)}
    recipes = {name: RECIPES[name] for name in expected}
    assert {name: (recipe.learning_rate, recipe.batch_size) for name, recipe in recipes.items()} == expected


def test_every_recipe_is_valid():
    classifiers = {"digits", "fashion_mnist", "glyphs", "instruments", "finetune", "small"}
    ours = {*classifiers, "digit_scenes", "scenes", "ssd_small"}
    assert {*ours, *PUBLISHED} == RECIPES.keys()
