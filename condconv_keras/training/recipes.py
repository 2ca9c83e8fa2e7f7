"""Training recipes as data: what a run does unless a flag says otherwise."""

import dataclasses
import math
import re

from condconv_keras.data.augment.augmentation import AugmentationOptions
from condconv_keras.data.augment.box_augmentation import AUGMENTATIONS as BOX_AUGMENTATIONS
from condconv_keras.facts.model_card import CLASSIFICATION, DETECTION
from condconv_keras.utils.errors import unknown_name

OPTIMIZERS = ("sgd", "rmsprop", "adamw")
SCHEDULES = ("cosine", "exponential", "staircase")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        epochs, batch_size: positive integers.
        optimizer: `"sgd"`, `"rmsprop"` (rho 0.9, epsilon 1e-3) or `"adamw"`.
        momentum: of SGD and RMSProp, in [0, 1).
        nesterov: whether the momentum of SGD is Nesterov's.
        learning_rate: at least 0, the peak learning rate at `batch_size`; another batch size scales it in proportion.
        schedule: after the warm-up, `"cosine"` to zero at the last step, `"exponential"` or `"staircase"`, times
            `decay_rate` every `decay_epochs` epochs: continuously from the warm-up on, or in steps from the start.
        decay_rate, decay_epochs: positive, of the exponential schedules.
        warmup_epochs: epochs of linear warm-up, at least 0; may be a fraction.
        warmup_start: where the warm-up starts, as a part of the peak, in [0, 1).
        weight_decay: factor of half the sum of squares of all variables but batch normalization's, added to the loss;
            of AdamW its decoupled weight decay of the same variables.
        label_smoothing: in [0, 1).
        dropout_rate: before the classifier, in [0, 1).
        stochastic_depth_rate: probability of dropping the last residual block in training, in [0, 1).
        augmentation, policy, policy_layers, policy_magnitude, random_erasing, mixup_alpha, cutmix_alpha: of the
            training images, as in `condconv_keras.data.AugmentationOptions`; of a detector's the augmentation alone, as
            in `condconv_keras.data.augment.box_augmentation`.
        ema_decay: of the moving average of weights and batch normalization statistics that is evaluated and exported
            in place of the last weights, in [0, 1); 0 for none. See `condconv_keras.training.averaging`.
        clip_norm: positive, the largest global norm of the gradients, which longer ones are scaled to, or None.
        freeze_epochs: epochs at the start that train the classifier alone, with everything before it as it is in
            inference; less than `epochs`.
        synchronized_bn: whether the replicas of a distributed run share their batch normalization statistics.
        crop_fraction: of the evaluation's center crop, in (0, 1], or None for the model's own.
        bn_momentum: of batch normalization, in [0, 1), or None for the model's own.
        input_size: height and width in pixels, at least 32, or None for the model's own.

    Raises:
        ValueError: a value out of range.
    """

    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    schedule: str
    warmup_epochs: float
    weight_decay: float
    label_smoothing: float
    augmentation: str
    momentum: float = 0.9
    nesterov: bool = True
    warmup_start: float = 0.0
    decay_rate: float = 1.0
    decay_epochs: float = 1.0
    dropout_rate: float = 0.0
    stochastic_depth_rate: float = 0.0
    policy: str | None = AugmentationOptions.policy
    policy_layers: int = AugmentationOptions.policy_layers
    policy_magnitude: float = AugmentationOptions.policy_magnitude
    random_erasing: float = AugmentationOptions.random_erasing
    mixup_alpha: float = AugmentationOptions.mixup_alpha
    cutmix_alpha: float = AugmentationOptions.cutmix_alpha
    ema_decay: float = 0.0
    clip_norm: float | None = None
    freeze_epochs: int = 0
    synchronized_bn: bool = True
    crop_fraction: float | None = None
    bn_momentum: float | None = None
    input_size: int | None = None

    def __post_init__(self):
        for names, expected, holds in _CHECKS:
            for name in names:
                value = getattr(self, name)
                if not holds(value):
                    raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")
        if self.freeze_epochs >= self.epochs:
            raise ValueError(
                "`freeze_epochs` must be less than `epochs`. "
                f"Received: freeze_epochs={self.freeze_epochs}, epochs={self.epochs}"
            )
        self.augmentation_options  # noqa: B018 (checks the fields that are its own)

    @property
    def augmentation_options(self):
        """The recipe's `AugmentationOptions`."""
        fields = dataclasses.fields(AugmentationOptions)
        return AugmentationOptions(**{field.name: getattr(self, field.name) for field in fields})


def _one_of(choices):
    return f"one of {', '.join(choices)}", lambda value: value in choices


def _or_none(expected, holds):
    return f"{expected}, or None", lambda value: value is None or holds(value)


# A comparison with NaN is false, so none passes.
_COUNT = ("an integer of at least 1", lambda value: value >= 1)
_POSITIVE = ("a positive number", lambda value: 0 < value < math.inf)
_AT_LEAST_0 = ("a number of at least 0", lambda value: 0 <= value < math.inf)
_RATE = ("in [0, 1)", lambda value: 0 <= value < 1)
_FRACTION = ("in (0, 1]", lambda value: 0 < value <= 1)
_CHECKS = (
    (("epochs", "batch_size"), *_COUNT),
    (("optimizer",), *_one_of(OPTIMIZERS)),
    (("schedule",), *_one_of(SCHEDULES)),
    (("decay_rate", "decay_epochs"), *_POSITIVE),
    (("learning_rate", "warmup_epochs", "weight_decay"), *_AT_LEAST_0),
    (("momentum", "warmup_start", "label_smoothing", "dropout_rate", "stochastic_depth_rate", "ema_decay"), *_RATE),
    (("freeze_epochs",), "an integer of at least 0", lambda value: value >= 0),
    (("clip_norm",), *_or_none(*_POSITIVE)),
    (("crop_fraction",), *_or_none(*_FRACTION)),
    (("bn_momentum",), *_or_none(*_RATE)),
    (("input_size",), *_or_none("an integer of at least 32", lambda value: value >= 32)),
)


# Chosen on the embedded digits: at 64x64 the network learns several times faster than at 32x32, and SGD than AdamW,
# whose steps of equal size push the routers of a CondConv model to 0 or 1 early.
_DIGITS = Recipe(
    epochs=20,
    batch_size=32,
    optimizer="sgd",
    learning_rate=0.02,
    schedule="cosine",
    warmup_epochs=2,
    weight_decay=1e-4,
    label_smoothing=0.1,
    augmentation="pad_crop",
    crop_fraction=1.0,
    bn_momentum=0.9,
    input_size=64,
)

# CondConv paper, section 4.2: 20,000 steps of 1,024 images, the rate from 0.3 to 0.9 over the first 1,000, then a
# cosine to 0. Given as epochs of COCO 2014's 82,783 training images, 80 steps each.
_SSD = Recipe(
    epochs=250,
    batch_size=1024,
    optimizer="sgd",
    learning_rate=0.9,
    schedule="cosine",
    warmup_epochs=12.5,
    weight_decay=4e-5,
    label_smoothing=0.0,
    augmentation="ssd",
    nesterov=False,
    warmup_start=1 / 3,
)

_SSD_SMALL = dataclasses.replace(
    _SSD, epochs=30, batch_size=32, learning_rate=0.05, warmup_epochs=1, warmup_start=0.0, bn_momentum=0.9
)

# The authors' code (efficientnet/condconv, mnasnet in tensorflow/tpu).
_MNASNET = Recipe(
    epochs=350,
    batch_size=1024,
    optimizer="rmsprop",
    learning_rate=0.016 * 1024 / 256,
    schedule="staircase",
    decay_rate=0.97,
    decay_epochs=2.4,
    warmup_epochs=5,
    weight_decay=1e-5,
    label_smoothing=0.1,
    augmentation="inception",
    dropout_rate=0.2,
    ema_decay=0.9999,
)
_EFFICIENTNET = dataclasses.replace(
    _MNASNET, batch_size=2048, learning_rate=0.016 * 2048 / 256, stochastic_depth_rate=0.2
)

RECIPES = {
    # Kornblith, Shlens, Le (arXiv 1805.08974), appendix; the number of epochs is not published, this is our choice.
    "mobilenet": Recipe(
        epochs=200,
        batch_size=4096,
        optimizer="sgd",
        learning_rate=1.6,
        schedule="exponential",
        decay_rate=0.975,
        warmup_epochs=10,
        weight_decay=8e-5,
        label_smoothing=0.1,
        augmentation="inception",
    ),
    "efficientnet": _EFFICIENTNET,
    "efficientnet_condconv": dataclasses.replace(_EFFICIENTNET, dropout_rate=0.25),
    "mnasnet": _MNASNET,
    # A data set without a recipe of its own: color photographs at the model's own size, on one small machine.
    "small": dataclasses.replace(_DIGITS, augmentation="inception", crop_fraction=None, input_size=None),
    # Ours: photographs of few classes, from trained weights. The first epochs train the new classifier alone, whose
    # first gradients would otherwise undo what the backbone knows. In a few hundred steps the statistics of a slower
    # batch normalization do not come to follow the weights: on 320 images of ten classes 54 % with momentum 0.99, 74 %
    # with 0.9.
    "finetune": Recipe(
        epochs=15,
        batch_size=32,
        optimizer="sgd",
        learning_rate=0.01,
        schedule="cosine",
        warmup_epochs=1,
        weight_decay=1e-4,
        label_smoothing=0.1,
        augmentation="inception",
        dropout_rate=0.2,
        freeze_epochs=2,
        bn_momentum=0.9,
    ),
    # No flip: it turns one digit or shoe into another.
    "digits": _DIGITS,
    "fashion_mnist": dataclasses.replace(_DIGITS, batch_size=128, learning_rate=0.1, input_size=32),
    "ssd": _SSD,
    # Ours: a data set of boxes without a recipe of its own, on one small machine.
    "ssd_small": _SSD_SMALL,
    # Ours, tuned on the validation scenes. From random weights and in few steps AdamW learns what SGD has not begun to.
    # No augmentation: the scenes are many, and with random crops they are learned far more slowly.
    "digit_scenes": dataclasses.replace(
        _SSD_SMALL,
        epochs=8,
        batch_size=16,
        optimizer="adamw",
        learning_rate=0.015,
        warmup_epochs=0.5,
        augmentation="none",
        input_size=160,
    ),
}


def get_recipe(name):
    """Returns the recipe of this name; raises a `UserError` with close names if there is none."""
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


def default_recipe_name(dataset, model_recipe, task=CLASSIFICATION):
    """The recipe of a run that names none: that of the data set's name; the model's for the paper's data, ImageNet and
    COCO; else `"small"`, of a detector `"ssd_small"`."""
    name = re.split("[/:]", dataset)[0]
    if name in RECIPES and (RECIPES[name].augmentation in BOX_AUGMENTATIONS) == (task == DETECTION):
        return name
    published, small = {CLASSIFICATION: ("imagenet", "small"), DETECTION: ("coco", "ssd_small")}[task]
    return model_recipe if name.startswith(published) else small
